"""Devices in Microsoft Entra and Intune, through Microsoft Graph.

A device of ours carries two entries in its physicalIds, the only property of a v1.0 device that holds text of ours and
that the SDK and Graph's contract know: the group tag `[OrderID]:<policy's name>`, as Autopilot has it, and
`[CloudPC]:<owner>`, which says whose it is. Without the latter, and not in state, no device is ever changed.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar
from uuid import UUID

from cloudpc.graph import odata
from cloudpc.graph.client import ANSWER_TIMEOUT, Graph, Session, pause
from cloudpc.graph.errors import SIGN_IN, GraphError
from cloudpc.graph.permissions import Call
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.devices import NewDevice, OwnedDevice, RegisteredDevice, TemporaryAccessPass
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.identity import Identity, installation_of

if TYPE_CHECKING:
    from kiota_abstractions.base_request_configuration import RequestConfiguration

log = logging.getLogger(__name__)

_T = TypeVar("_T")
Json = dict[str, Any]

GROUP_TAG: Final = "[OrderID]:"
OWNER: Final = "[CloudPC]:"
REMOVE_TIMEOUT: Final = 300.0
_ATTEMPTS: Final = 6
_DEVICE: Final = ["id", "deviceId", "displayName", "accountEnabled", "physicalIds"]
_NO_INTUNE: Final = "not applicable to target tenant"


class EntraDevices:
    """A tenant's devices; a DeviceRegistry.

    Args:
        graph: the tenant's Graph.
        mode: `record`: an entry in the directory is made, by a signed-in user. `adopt`: the guest joins by itself, and
            the device that appears is taken over.
        tell: is given what an admin should know though nothing failed, on the thread that called.
        poll: seconds between looks for a device that is to appear.
    """

    def __init__(
        self,
        graph: Graph,
        mode: Literal["record", "adopt"],
        tell: Callable[[str], None] = log.warning,
        poll: float = 5.0,
    ) -> None:
        self._graph = graph
        self._mode = mode
        self._tell = tell
        self._poll = poll
        self._passes: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def known(self, display_name: str) -> frozenset[str]:
        """See DeviceRegistry.known."""
        if self._mode == "record":
            return frozenset()
        try:
            devices = self._graph.run(lambda session: _by_name(session, display_name), REMOVE_TIMEOUT)
        except GraphError as error:
            raise _failed(ErrorCode.DEVICE_REGISTRATION_FAILED, display_name, error) from error
        return frozenset(_id(device) for device in devices)

    def register(
        self, device: NewDevice, timeout: float, cancel: Cancellation, besides: Set[str] = frozenset()
    ) -> RegisteredDevice:
        """See DeviceRegistry.register."""
        deadline = time.monotonic() + timeout
        try:
            if self._mode == "record":
                return self._record(device, deadline, cancel)
            return self._adopt(device, deadline, cancel, timeout, {id_.lower() for id_ in besides})
        except GraphError as error:
            raise _failed(ErrorCode.DEVICE_REGISTRATION_FAILED, device.display_name, error) from error

    def remove(self, display_name: str, device_id: UUID, recorded: RegisteredDevice | None) -> None:
        """See DeviceRegistry.remove."""
        try:
            with self._telling() as told:
                self._graph.run(
                    lambda session: self._remove(session, display_name, device_id, recorded, told), REMOVE_TIMEOUT
                )
        except GraphError as error:
            raise _failed(ErrorCode.DEVICE_REGISTRATION_FAILED, display_name, error) from error

    def issue_pass(self, user_id: str, lifetime_in_minutes: int, *, usable_once: bool) -> TemporaryAccessPass | None:
        """See DeviceRegistry.issue_pass. All Cloud PCs of a user are made by one process, so a lock is enough."""
        try:
            with self._passes[user_id]:
                return self._graph.run(
                    lambda session: _issue_pass(session, user_id, lifetime_in_minutes, usable_once), REMOVE_TIMEOUT
                )
        except GraphError as error:
            raise _failed(ErrorCode.CREDENTIALS_FAILED, f"user {user_id}", error) from error

    def owned(self, installation: str) -> Sequence[OwnedDevice]:
        """See DeviceRegistry.owned."""
        tag = f"{OWNER}{installation}/"
        try:
            devices = self._graph.run(lambda session: _tagged(session, tag), REMOVE_TIMEOUT)
        except GraphError as error:
            raise _failed(ErrorCode.DEVICE_REGISTRATION_FAILED, "devices", error) from error
        return [
            OwnedDevice(
                "Entra device", d.get("displayName") or "", _id(d), _owner(d), enabled=bool(d.get("accountEnabled"))
            )
            for d in devices
            if installation_of(_owner(d)) == installation
        ]

    def close(self) -> None:
        """See DeviceRegistry.close."""
        self._graph.close()

    # ---- record

    def _record(self, new: NewDevice, deadline: float, cancel: Cancellation) -> RegisteredDevice:
        device = self._found_or_created(new, deadline, cancel)
        if _owner(device) != new.owner:
            message = (
                f"Entra has a device with the id {new.device_id} already ({device.get('displayName')}), not of ours"
            )
            raise ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, message, retriable=False)
        if not device.get("accountEnabled"):
            # of an attempt before, whose deletion the tenant refused
            self._run(lambda session: _enable(session, _id(device), enabled=True), deadline)
        cancel.check()
        with self._telling() as told:
            self._run(lambda session: self._set_people(session, _id(device), new, told), deadline)
        return _registered("record", device, self._run(Session.tenant_id, deadline))

    def _found_or_created(self, new: NewDevice, deadline: float, cancel: Cancellation) -> Json:
        """Look, create, look again: whatever became of a request, no second device is made."""
        for attempt in range(_ATTEMPTS):
            cancel.check()
            found: Json | None = self._run(lambda session: _by_device_id(session, str(new.device_id)), deadline)
            if found is not None:
                return found
            try:
                created: Json = self._run(lambda session: _create(session, new), deadline)
            except GraphError as error:
                # "already exists": of a request before, whose device the look does not show yet
                again = error.is_transient or error.status == 401 or "already exists" in error.message
                if not again or attempt == _ATTEMPTS - 1:
                    raise
                if error.status == 401:
                    self._graph.forget_token()
                cancel.wait(min(pause(attempt, error), max(0.0, deadline - time.monotonic())))
            else:
                return created
        raise AssertionError  # pragma: no cover - the last attempt raises or returns

    async def _set_people(self, session: Session, id_: str, new: NewDevice, told: list[str]) -> None:
        """Owner and user. A refusal is told, not fatal: the device is there and will be removed all the same."""
        from msgraph.generated.models.reference_create import ReferenceCreate

        try:
            user_id = UUID(new.user_id)
        except ValueError:
            told.append(f"{new.display_name} has no registered owner in Entra: {new.user_id} is no user of a tenant")
            return
        user = ReferenceCreate(odata_id=f"{self._graph.config.endpoint}/v1.0/users/{user_id}")
        device = session.client.devices.by_device_id(id_)
        for what, builder in (("owner", device.registered_owners), ("user", device.registered_users)):
            try:
                await session.call(Call.SET_DEVICE_OWNER, lambda refs=builder: refs.ref.post(user))  # type: ignore[misc]
            except GraphError as error:
                if "already exist" in error.message:
                    continue
                if error.status not in (400, 403, 404):
                    raise
                told.append(f"{new.display_name} has no registered {what} in Entra: {error}")

    # ---- adopt

    def _adopt(
        self, new: NewDevice, deadline: float, cancel: Cancellation, timeout: float, besides: Set[str]
    ) -> RegisteredDevice:
        while True:
            cancel.check()
            joined = self._run(lambda session: _by_name(session, new.display_name), deadline)
            appeared = [d for d in joined if _id(d).lower() not in besides]
            if (said := new.joined_as()) is not None:
                appeared, of_others = _split(appeared, said)
            else:
                of_others = []
            # one that is somebody's already is not the guest's that has just joined
            mine = [d for d in appeared if _owner(d) == new.owner] or [d for d in appeared if not _owner(d)]
            if len(mine) > 1:
                message = f"Entra has {len(mine)} devices named {new.display_name}: {_device_ids(mine)}"
                hint = "Delete those that are not this Cloud PC's, then run `cloudpc retry`."
                raise ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, message, retriable=False, hint=hint)
            if mine:
                break
            if (left := deadline - time.monotonic()) <= 0:
                message = (
                    f"no device {new.display_name} appeared in Entra within {timeout:.0f} s: the guest did not join"
                )
                if of_others:
                    message = (
                        f"the guest says it has joined as {said}, and the devices {new.display_name} that appeared in "
                        f"Entra within {timeout:.0f} s are others: {_device_ids(of_others)}"
                    )
                raise ProvisioningError(ErrorCode.DEVICE_NOT_FOUND, message)
            cancel.wait(min(self._poll, left))
        device = mine[0]
        if _owner(device) != new.owner or not device.get("accountEnabled"):
            self._run(lambda session: _stamp(session, device, new), deadline)
        if older := [d for d in joined if _owner(d) == new.owner and _id(d) != _id(device)]:
            # of attempts before, whose machines are gone. If that fails, so does this one: what it leaves has our tag
            with self._telling() as told:
                self._run(lambda session: self._end_all(session, older, told), deadline)
        managed = self._run(lambda session: self._managed(session, device.get("deviceId") or ""), deadline)
        return _registered("adopt", device, self._run(Session.tenant_id, deadline), next(iter(managed), ""))

    # ---- the end

    async def _remove(
        self, session: Session, display_name: str, device_id: UUID, recorded: RegisteredDevice | None, told: list[str]
    ) -> None:
        if recorded is not None and recorded.tenant_id:
            signed_in = await session.tenant_id()
            if signed_in and signed_in.lower() != recorded.tenant_id.lower():
                # where it is not, whatever is looked for is "not found", which would count as removed
                message = f"registered in tenant {recorded.tenant_id}, but signed in to {signed_in}"
                raise GraphError(f"{message}: sign in to the former to have it removed", SIGN_IN)
        devices = await self._ours(session, display_name, device_id, recorded)
        await self._end_all(session, devices, told, recorded.device_id if recorded else "")

    async def _end_all(self, session: Session, devices: Sequence[Json], told: list[str], recorded: str = "") -> None:
        """Intune's devices of these and of the recorded deviceId, then these."""
        entra_ids = {recorded.lower(), *((d.get("deviceId") or "").lower() for d in devices)}
        for entra_id in sorted(entra_ids - {""}):
            # by Entra's id alone: a name may be that of somebody else's machine
            for managed_id in await self._managed(session, entra_id):
                builder = session.client.device_management.managed_devices.by_managed_device_id(managed_id)
                await _unless_gone(session.call(Call.DELETE_MANAGED_DEVICE, builder.delete))
        for device in devices:
            await self._end(session, device, told)

    async def _ours(
        self, session: Session, display_name: str, device_id: UUID, recorded: RegisteredDevice | None
    ) -> list[Json]:
        """What is to go: what state remembers, and what carries our tag where a run died before state knew."""
        if recorded is not None:
            builder = session.client.devices.by_device_id(recorded.id)
            found = await _unless_gone(session.json(Call.READ_DEVICES, builder, _select_device()))
            return [] if found is None else [found]
        by_id = await _by_device_id(session, str(device_id))
        # several, where each attempt's guest has joined by itself
        found_all = {_id(d): d for d in [*([by_id] if by_id else []), *await _by_name(session, display_name)]}
        return [d for d in found_all.values() if _is_of(_owner(d), device_id)]

    async def _managed(self, session: Session, entra_device_id: str) -> list[str]:
        """Ids of Intune's devices that are this one; none where the tenant has no Intune."""
        from kiota_abstractions.base_request_configuration import RequestConfiguration
        from msgraph.generated.device_management.managed_devices.managed_devices_request_builder import (
            ManagedDevicesRequestBuilder,
        )

        query = ManagedDevicesRequestBuilder.ManagedDevicesRequestBuilderGetQueryParameters(
            filter=f"azureADDeviceId eq {odata.text(entra_device_id)}", select=["id", "deviceName", "azureADDeviceId"]
        )
        builder = session.client.device_management.managed_devices
        pages = session.pages(Call.READ_MANAGED_DEVICES, builder, RequestConfiguration(query_parameters=query))
        try:
            return [_id(managed) async for page in pages for managed in page]
        except GraphError as error:
            if error.status == 400 and _NO_INTUNE in error.message:
                return []
            raise

    async def _end(self, session: Session, device: Json, told: list[str]) -> None:
        builder = session.client.devices.by_device_id(_id(device))
        if device.get("accountEnabled") is not False:
            try:
                await _enable(session, _id(device), enabled=False)
            except GraphError as error:
                if error.is_missing:
                    return
                raise
        try:
            await _unless_gone(session.call(Call.DELETE_DEVICE, builder.delete))
        except GraphError as error:
            if error.status != 403:
                raise
            told.append(
                f"Entra device {device.get('displayName')} is disabled; the tenant refuses to delete it ({error.code})"
            )

    @contextmanager
    def _telling(self) -> Iterator[list[str]]:
        """What is said on the client's loop is told here: whoever is told may block, or report by its thread."""
        told: list[str] = []
        try:
            yield told
        finally:  # what has been done has been done, whatever failed then
            for message in told:
                self._tell(message)

    def _run(self, work: Callable[[Session], Any], deadline: float) -> Any:
        # whoever is at the end of the time has one more answer waited for
        return self._graph.run(work, max(ANSWER_TIMEOUT, deadline - time.monotonic()))


async def _create(session: Session, new: NewDevice) -> Json:
    from msgraph.generated.models.alternative_security_id import AlternativeSecurityId
    from msgraph.generated.models.device import Device

    # Entra wants the hash of a device's key here, and unique. This one has no key: a hash of its id, for which nobody
    # can have one, so that nothing can sign in as this device.
    key = hashlib.sha256(b"cloudpc/" + new.device_id.bytes).digest()
    body = Device(
        account_enabled=True,
        alternative_security_ids=[AlternativeSecurityId(type=2, key=key)],
        device_id=str(new.device_id),
        display_name=new.display_name,
        operating_system=new.operating_system,
        operating_system_version=new.operating_system_version or "unknown",
        physical_ids=_physical_ids([], new),
    )
    created = await session.once(Call.CREATE_DEVICE, lambda: session.client.devices.post(body))
    if created is None or not created.id:
        raise GraphError("Graph answered the registration with nothing", "emptyAnswer")
    sent = {"deviceId": str(new.device_id), "displayName": new.display_name, "accountEnabled": True}
    return {**sent, "physicalIds": body.physical_ids, "id": created.id}


async def _stamp(session: Session, device: Json, new: NewDevice) -> None:
    from msgraph.generated.models.device import Device

    body = Device(account_enabled=True, physical_ids=_physical_ids(device.get("physicalIds") or [], new))
    builder = session.client.devices.by_device_id(_id(device))
    await session.call(Call.UPDATE_DEVICE, lambda: builder.patch(body))


async def _enable(session: Session, id_: str, *, enabled: bool) -> None:
    from msgraph.generated.models.device import Device

    builder = session.client.devices.by_device_id(id_)
    await session.call(Call.UPDATE_DEVICE, lambda: builder.patch(Device(account_enabled=enabled)))


async def _by_device_id(session: Session, device_id: str) -> Json | None:
    from msgraph.generated.devices_with_device_id.devices_with_device_id_request_builder import (
        DevicesWithDeviceIdRequestBuilder,
    )

    # Not client.devices_with_device_id(): it writes the id into the one dict that all requests of the client share, so
    # that calls at the same time read each other's device. So do all generated builders of this kind, `…_with_…`.
    own = dict(session.client.path_parameters)
    builder = DevicesWithDeviceIdRequestBuilder(session.client.request_adapter, own, device_id)
    found: Json | None = await _unless_gone(session.json(Call.READ_DEVICES, builder, _select_device()))
    return found


async def _by_name(session: Session, display_name: str) -> list[Json]:
    devices = await _devices(session, f"displayName eq {odata.text(display_name)}", advanced=False)
    return [d for d in devices if d.get("displayName") == display_name]


async def _tagged(session: Session, tag: str) -> list[Json]:
    return await _devices(session, f"physicalIds/any(p:startswith(p,{odata.text(tag)}))", advanced=True)


async def _devices(session: Session, condition: str, *, advanced: bool) -> list[Json]:
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph.generated.devices.devices_request_builder import DevicesRequestBuilder

    query = DevicesRequestBuilder.DevicesRequestBuilderGetQueryParameters(filter=condition, select=_DEVICE)
    configuration = RequestConfiguration(query_parameters=query)
    if advanced:
        query.count = True
        configuration.headers.add("ConsistencyLevel", "eventual")
    pages = session.pages(Call.READ_DEVICES, session.client.devices, configuration)
    return [device async for page in pages for device in page]


async def _unless_gone(answer: Awaitable[_T]) -> _T | None:
    """The answer; None where there is no such object."""
    try:
        return await answer
    except GraphError as error:
        if error.is_missing:
            return None
        raise


async def _issue_pass(session: Session, user_id: str, lifetime: int, usable_once: bool) -> TemporaryAccessPass | None:
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph.generated.models.temporary_access_pass_authentication_method import (
        TemporaryAccessPassAuthenticationMethod,
    )

    builder = session.client.users.by_user_id(user_id).authentication.temporary_access_pass_methods
    body = TemporaryAccessPassAuthenticationMethod(lifetime_in_minutes=lifetime, is_usable_once=usable_once)
    for attempt in range(_ATTEMPTS):
        # as pages, for an answer without a list is none: it does not say that there is no pass
        pages = session.pages(Call.READ_PASSES, builder, RequestConfiguration())
        for other in [method async for page in pages for method in page]:
            # after a request without an answer, one just like ours is ours: its value is lost, a new one replaces it
            alike = (other.get("lifetimeInMinutes"), bool(other.get("isUsableOnce"))) == (lifetime, usable_once)
            if _may_be_used(other) and not (attempt and alike):
                return None
        try:
            issued = await session.once(Call.CREATE_PASS, lambda: builder.post(body))
        except GraphError as error:
            if not error.is_transient or attempt == _ATTEMPTS - 1:
                raise
            await session.pause(attempt, error)
            continue
        if issued is None or not issued.temporary_access_pass:
            raise GraphError("Graph issued a Temporary Access Pass without a value", "emptyAnswer")
        start = issued.start_date_time
        return TemporaryAccessPass(
            issued.id or "",
            issued.temporary_access_pass,
            start.isoformat() if start else "",
            issued.lifetime_in_minutes or lifetime,
            bool(issued.is_usable_once),
        )
    raise AssertionError  # pragma: no cover - the last attempt raises or returns


def _may_be_used(method: Json) -> bool:
    return bool(method.get("isUsable")) or method.get("methodUsabilityReason") == "NotYetValid"


def _select_device() -> RequestConfiguration[Any]:
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph.generated.devices.item.device_item_request_builder import DeviceItemRequestBuilder

    query = DeviceItemRequestBuilder.DeviceItemRequestBuilderGetQueryParameters(select=_DEVICE)
    return RequestConfiguration(query_parameters=query)


def _id(item: Json) -> str:
    id_ = item.get("id")
    if not isinstance(id_, str) or not id_:
        raise GraphError("Graph gave an object without an id", "emptyAnswer")
    return id_


def _split(devices: Sequence[Json], device_id: UUID) -> tuple[list[Json], list[Json]]:
    """Those with this deviceId, and the others."""
    of_it = [d for d in devices if (d.get("deviceId") or "").lower() == str(device_id)]
    return of_it, [d for d in devices if d not in of_it]


def _device_ids(devices: Sequence[Json]) -> str:
    return ", ".join(sorted(d.get("deviceId") or "" for d in devices))


def _physical_ids(present: Sequence[str], new: NewDevice) -> list[str]:
    others = [entry for entry in present if not entry.startswith((GROUP_TAG, OWNER))]
    return [*others, f"{GROUP_TAG}{new.group_tag}", f"{OWNER}{new.owner}"]


def _owner(device: Json) -> str:
    return next((e.removeprefix(OWNER) for e in device.get("physicalIds") or () if e.startswith(OWNER)), "")


def _is_of(owner: str, device_id: UUID) -> bool:
    """Whether the deviceId that this owner's Cloud PC is registered under is this one."""
    identity = Identity.of(owner, "")
    return identity is not None and identity.device_id == device_id


def _registered(mode: Literal["record", "adopt"], device: Json, tenant_id: str, managed: str = "") -> RegisteredDevice:
    return RegisteredDevice(
        registration=mode,
        display_name=device.get("displayName") or "",
        id=_id(device),
        device_id=device.get("deviceId") or "",
        managed_device_id=managed,
        tenant_id=tenant_id,
    )


def _failed(code: ErrorCode, what: str, error: GraphError) -> ProvisioningError:
    hint = ""
    if error.permission is not None:
        hint = f"See docs/microsoft-graph.md: {error.permission.request} needs {error.permission.least}."
    return ProvisioningError(code, f"{what}: {error}", retriable=error.is_transient, hint=hint)
