"""Devices in Microsoft Entra and Intune, through Microsoft Graph."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Literal
from uuid import UUID

from cloudpc.devices import access_passes
from cloudpc.devices.entra_objects import (
    OWNER,
    Json,
    by_device_id,
    create,
    device_ids,
    enable,
    has_mark,
    id_of,
    is_of,
    managed_ids,
    named_or_marked,
    owner_of,
    select_device,
    split,
    stamp,
    tagged,
    unless_gone,
)
from cloudpc.graph.client import ANSWER_TIMEOUT, Graph, Session, pause
from cloudpc.graph.errors import GraphError
from cloudpc.graph.permissions import Call
from cloudpc.microsoft.sign_in import SIGN_IN
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.devices import NewDevice, OwnedDevice, RegisteredDevice, TemporaryAccessPass
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.identity import installation_of

log = logging.getLogger(__name__)

REMOVE_TIMEOUT: Final = 300.0
_ATTEMPTS: Final = 6


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

    def tenant(self) -> str:
        """See DeviceRegistry.tenant."""
        try:
            return self._graph.run(Session.tenant_id, REMOVE_TIMEOUT)
        except GraphError as error:
            raise _failed(ErrorCode.DEVICE_REGISTRATION_FAILED, "the tenant", error) from error

    def known(self, display_name: str, mark: str = "") -> frozenset[str]:
        """See DeviceRegistry.known."""
        if self._mode == "record":
            return frozenset()
        try:
            devices = self._graph.run(lambda session: named_or_marked(session, display_name, mark), REMOVE_TIMEOUT)
        except GraphError as error:
            raise _failed(ErrorCode.DEVICE_REGISTRATION_FAILED, display_name, error) from error
        return frozenset(id_of(device) for device in devices)

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

    def remove(self, display_name: str, device_id: UUID, recorded: RegisteredDevice | None, mark: str = "") -> None:
        """See DeviceRegistry.remove."""

        async def work(session: Session) -> None:
            await self._check_tenant(session, recorded)
            devices = await self._ours(session, display_name, device_id, recorded, mark)
            await self._end_all(session, devices, told, recorded.device_id if recorded else "")

        try:
            with self._telling() as told:
                self._graph.run(work, REMOVE_TIMEOUT)
        except GraphError as error:
            raise _failed(ErrorCode.DEVICE_REGISTRATION_FAILED, display_name, error) from error

    def issue_pass(self, user_id: str, lifetime_in_minutes: int, *, usable_once: bool) -> TemporaryAccessPass | None:
        """See DeviceRegistry.issue_pass. All Cloud PCs of a user are made by one process, so a lock is enough."""
        try:
            with self._passes[user_id]:
                return self._graph.run(
                    lambda session: access_passes.issue(session, user_id, lifetime_in_minutes, usable_once),
                    REMOVE_TIMEOUT,
                )
        except GraphError as error:
            raise _failed(ErrorCode.CREDENTIALS_FAILED, f"user {user_id}", error) from error

    def owned(self, installation: str) -> Sequence[OwnedDevice]:
        """See DeviceRegistry.owned."""
        tag = f"{OWNER}{installation}/"
        try:
            devices = self._graph.run(lambda session: tagged(session, tag), REMOVE_TIMEOUT)
        except GraphError as error:
            raise _failed(ErrorCode.DEVICE_REGISTRATION_FAILED, "devices", error) from error
        return [
            OwnedDevice(
                "Entra device", d.get("displayName") or "", id_of(d), owner_of(d), enabled=bool(d.get("accountEnabled"))
            )
            for d in devices
            if installation_of(owner_of(d)) == installation
        ]

    def close(self) -> None:
        """See DeviceRegistry.close."""
        self._graph.close()

    # ---- record

    def _record(self, new: NewDevice, deadline: float, cancel: Cancellation) -> RegisteredDevice:
        device = self._found_or_created(new, deadline, cancel)
        if owner_of(device) != new.owner:
            message = (
                f"Entra has a device with the id {new.device_id} already ({device.get('displayName')}), not of ours"
            )
            raise ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, message, retriable=False)
        if not device.get("accountEnabled"):
            # of an earlier attempt, whose deletion the tenant refused
            self._run(lambda session: enable(session, id_of(device), enabled=True), deadline)
        cancel.check()
        with self._telling() as told:
            self._run(lambda session: self._set_people(session, id_of(device), new, told), deadline)
        return _registered("record", device, self._run(Session.tenant_id, deadline))

    def _found_or_created(self, new: NewDevice, deadline: float, cancel: Cancellation) -> Json:
        """Look, create, look again: whatever became of a request, no second device is made."""
        for attempt in range(_ATTEMPTS):
            cancel.check()
            found: Json | None = self._run(lambda session: by_device_id(session, str(new.device_id)), deadline)
            if found is not None:
                return found
            try:
                created: Json = self._run(lambda session: create(session, new), deadline)
            except GraphError as error:
                # "already exists": made by an earlier request, whose device is not listed yet
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
        """Owner and user. A refusal is reported, not fatal: the device is there and is still removed at the end."""
        from msgraph.generated.models.reference_create import ReferenceCreate

        try:
            user_id = UUID(new.user_id)
        except ValueError:
            told.append(f"{new.display_name} has no registered owner in Entra: {new.user_id} is not a user of a tenant")
            return
        user = ReferenceCreate(odata_id=f"{self._graph.config.endpoint}/v1.0/users/{user_id}")
        device = session.client.devices.by_device_id(id_)
        for what, builder in (("owner", device.registered_owners), ("user", device.registered_users)):
            try:
                await session.call(Call.SET_DEVICE_OWNER, partial(builder.ref.post, user))
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
        device, joined = self._joined(new, deadline, cancel, timeout, besides)
        if owner_of(device) != new.owner or not device.get("accountEnabled"):
            self._run(lambda session: stamp(session, device, new), deadline)
        if older := [d for d in joined if _is_its(d, new) and id_of(d) != id_of(device)]:
            # of earlier attempts, whose machines are gone. If that fails, so does this one; what it leaves has our tag
            with self._telling() as told:
                self._run(lambda session: self._end_all(session, older, told), deadline)
        managed = self._run(lambda session: managed_ids(session, device.get("deviceId") or ""), deadline)
        return _registered("adopt", device, self._run(Session.tenant_id, deadline), next(iter(managed), ""))

    def _joined(
        self, new: NewDevice, deadline: float, cancel: Cancellation, timeout: float, besides: Set[str]
    ) -> tuple[Json, Sequence[Json]]:
        """The device that the guest has joined as, once it appears, and all others with its name or its mark."""
        while True:
            cancel.check()
            joined: list[Json] = self._run(
                lambda session: named_or_marked(session, new.display_name, new.mark), deadline
            )
            appeared = [d for d in joined if id_of(d).lower() not in besides]
            said = new.joined_as()
            of_it, of_others = (appeared, []) if said is None else split(appeared, said)
            if mine := _the_guests(new, of_it):
                return mine, joined
            if (left := deadline - time.monotonic()) <= 0:
                raise _not_found(new, timeout, said, of_others)
            cancel.wait(min(self._poll, left))

    # ---- the end

    async def _check_tenant(self, session: Session, recorded: RegisteredDevice | None) -> None:
        if recorded is not None and recorded.tenant_id:
            signed_in = await session.tenant_id()
            if signed_in and signed_in.lower() != recorded.tenant_id.lower():
                # in another tenant everything is "not found", which would count as removed
                message = f"registered in tenant {recorded.tenant_id}, but signed in to {signed_in}"
                raise GraphError(f"{message}; sign in to the former to have it removed", SIGN_IN)

    async def _end_all(self, session: Session, devices: Sequence[Json], told: list[str], recorded: str = "") -> None:
        """Intune's devices of these and of the recorded deviceId, then these."""
        entra_ids = {recorded.lower(), *((d.get("deviceId") or "").lower() for d in devices)}
        for entra_id in sorted(entra_ids - {""}):
            # by Entra's id alone: a name may be that of somebody else's machine
            for managed_id in await managed_ids(session, entra_id):
                builder = session.client.device_management.managed_devices.by_managed_device_id(managed_id)
                await unless_gone(session.call(Call.DELETE_MANAGED_DEVICE, builder.delete))
        for device in devices:
            await self._end(session, device, told)

    async def _ours(
        self, session: Session, display_name: str, device_id: UUID, recorded: RegisteredDevice | None, mark: str
    ) -> list[Json]:
        """What will be removed: what state remembers, and what carries our tag because a run died before state knew."""
        if recorded is not None:
            builder = session.client.devices.by_device_id(recorded.id)
            found = await unless_gone(session.json(Call.READ_DEVICES, builder, select_device()))
            return [] if found is None else [found]
        by_id = await by_device_id(session, str(device_id))
        # several, where each attempt's guest has joined by itself
        others = await named_or_marked(session, display_name, mark)
        found_all = {id_of(d): d for d in [*([by_id] if by_id else []), *others]}
        return [d for d in found_all.values() if is_of(owner_of(d), device_id) or _is_nobodys(d, mark)]

    async def _end(self, session: Session, device: Json, told: list[str]) -> None:
        builder = session.client.devices.by_device_id(id_of(device))
        if device.get("accountEnabled") is not False:
            try:
                await enable(session, id_of(device), enabled=False)
            except GraphError as error:
                if error.is_missing:
                    return
                raise
        try:
            await unless_gone(session.call(Call.DELETE_DEVICE, builder.delete))
        except GraphError as error:
            if error.status != 403 or not error.code:  # without one it is not the tenant that refuses
                raise
            told.append(
                f"Entra device {device.get('displayName')} is disabled; the tenant refuses to delete it ({error.code})"
            )

    @contextmanager
    def _telling(self) -> Iterator[list[str]]:
        """Reports here what is said on the client's loop: the listener may block, or report by its thread."""
        told: list[str] = []
        try:
            yield told
        finally:  # what was done stays done, whatever failed after it
            for message in told:
                self._tell(message)

    def _run(self, work: Callable[[Session], Any], deadline: float) -> Any:
        # when the time is over, one more answer is waited for
        return self._graph.run(work, max(ANSWER_TIMEOUT, deadline - time.monotonic()))


def _the_guests(new: NewDevice, appeared: Sequence[Json]) -> Json | None:
    """The one of these that is the guest's.

    Raises:
        ProvisioningError: DEVICE_REGISTRATION_FAILED, any of several may be.
    """
    # a device that somebody owns already is not that of the guest that has just joined
    mine = [d for d in appeared if owner_of(d) == new.owner] or [d for d in appeared if not owner_of(d)]
    if len(mine) > 1:
        message = f"Entra has {len(mine)} devices named {new.display_name}: {device_ids(mine)}"
        hint = "Delete those that are not this Cloud PC's, then run `cloudpc retry`."
        raise ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, message, retriable=False, hint=hint)
    return mine[0] if mine else None


def _is_its(device: Json, new: NewDevice) -> bool:
    """Whether its machine has joined as this device, in this attempt or an earlier one."""
    return owner_of(device) == new.owner or _is_nobodys(device, new.mark)


def _is_nobodys(device: Json, mark: str) -> bool:
    """Whether a host has made it for this machine, and no owner is recorded: a run died before it could write one."""
    return has_mark(device, mark) and not owner_of(device)


def _not_found(new: NewDevice, timeout: float, said: UUID | None, of_others: Sequence[Json]) -> ProvisioningError:
    message = f"no device {new.display_name} appeared in Entra within {timeout:.0f} s: the guest did not join"
    if of_others:
        message = (
            f"the guest says it has joined as {said}, and the devices {new.display_name} that appeared in "
            f"Entra within {timeout:.0f} s are others: {device_ids(of_others)}"
        )
    return ProvisioningError(ErrorCode.DEVICE_NOT_FOUND, message)


def _registered(mode: Literal["record", "adopt"], device: Json, tenant_id: str, managed: str = "") -> RegisteredDevice:
    return RegisteredDevice(
        registration=mode,
        display_name=device.get("displayName") or "",
        id=id_of(device),
        device_id=device.get("deviceId") or "",
        managed_device_id=managed,
        tenant_id=tenant_id,
    )


def _failed(code: ErrorCode, what: str, error: GraphError) -> ProvisioningError:
    hint = ""
    if error.permission is not None:
        hint = f"See docs/microsoft-graph.md: {error.permission.request} needs {error.permission.least}."
    return ProvisioningError(code, f"{what}: {error}", retriable=error.is_transient, hint=hint)
