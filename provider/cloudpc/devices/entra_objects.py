"""Devices as Entra and Intune hold them: how they are found, made, marked and told apart.

A device of ours carries two entries in its physicalIds, the only property of a v1.0 device that holds text of ours and
that the SDK and Graph's contract know: the group tag `[OrderID]:<policy's name>`, as Autopilot has it, and
`[CloudPC]:<owner>`, which says whose it is. Without the latter, and not in state, no device is ever changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from cloudpc.graph import odata
from cloudpc.graph.client import Session
from cloudpc.graph.errors import GraphError
from cloudpc.graph.permissions import Call
from cloudpc.model.devices import NewDevice
from cloudpc.model.identity import Identity

if TYPE_CHECKING:
    from kiota_abstractions.base_request_configuration import RequestConfiguration

_T = TypeVar("_T")
Json = dict[str, Any]

GROUP_TAG: Final = "[OrderID]:"
OWNER: Final = "[CloudPC]:"
_DEVICE: Final = ["id", "deviceId", "displayName", "accountEnabled", "physicalIds"]
_NO_INTUNE: Final = "not applicable to target tenant"


async def create(session: Session, new: NewDevice) -> Json:
    """Make one. Raises GraphError: also where one of its deviceId is there already."""
    from msgraph.generated.models.alternative_security_id import AlternativeSecurityId
    from msgraph.generated.models.device import Device

    # Entra wants the hash of a device's key here, a unique one. This device has no key, so it gets the hash of its id:
    # nobody can have a key for that, so nothing can sign in as this device.
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


async def stamp(session: Session, device: Json, new: NewDevice) -> None:
    """Write whose it is, and enable it."""
    from msgraph.generated.models.device import Device

    body = Device(account_enabled=True, physical_ids=_physical_ids(device.get("physicalIds") or [], new))
    builder = session.client.devices.by_device_id(id_of(device))
    await session.call(Call.UPDATE_DEVICE, lambda: builder.patch(body))


async def enable(session: Session, id_: str, *, enabled: bool) -> None:
    """Let it sign in, or stop it from doing so."""
    from msgraph.generated.models.device import Device

    builder = session.client.devices.by_device_id(id_)
    await session.call(Call.UPDATE_DEVICE, lambda: builder.patch(Device(account_enabled=enabled)))


async def by_device_id(session: Session, device_id: str) -> Json | None:
    """The one of this deviceId, if there is one."""
    from msgraph.generated.devices_with_device_id.devices_with_device_id_request_builder import (
        DevicesWithDeviceIdRequestBuilder,
    )

    # Not client.devices_with_device_id(): it writes the id into the one dict that all requests of the client share, so
    # that calls at the same time read each other's device. So do all generated builders of this kind, `…_with_…`.
    own = dict(session.client.path_parameters)
    builder = DevicesWithDeviceIdRequestBuilder(session.client.request_adapter, own, device_id)
    found: Json | None = await unless_gone(session.json(Call.READ_DEVICES, builder, select_device()))
    return found


async def by_name(session: Session, display_name: str) -> list[Json]:
    """Those of just this displayName; there may be several."""
    devices = await _devices(session, f"displayName eq {odata.text(display_name)}", advanced=False)
    return [d for d in devices if d.get("displayName") == display_name]


async def named_or_marked(session: Session, display_name: str, mark: str) -> list[Json]:
    """Those of this name, and those with this mark: a host may have its guests join by other names."""
    named = await by_name(session, display_name)
    if not mark:
        return named
    known = {id_of(device) for device in named}
    marked = [device for device in await tagged(session, mark) if has_mark(device, mark)]
    return [*named, *(device for device in marked if id_of(device) not in known)]


def has_mark(device: Json, mark: str) -> bool:
    """Whether a host has made it join. Ids of resources know no case."""
    return bool(mark) and mark.lower() in (entry.lower() for entry in device.get("physicalIds") or ())


async def tagged(session: Session, tag: str) -> list[Json]:
    """Those with an entry in physicalIds that begins with this."""
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


async def managed_ids(session: Session, entra_device_id: str) -> list[str]:
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
        return [id_of(managed) async for page in pages for managed in page]
    except GraphError as error:
        if error.status == 400 and _NO_INTUNE in error.message:
            return []
        raise


async def unless_gone(answer: Awaitable[_T]) -> _T | None:
    """The answer; None where there is no such object."""
    try:
        return await answer
    except GraphError as error:
        if error.is_missing:
            return None
        raise


def select_device() -> RequestConfiguration[Any]:
    """What is asked of a device."""
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph.generated.devices.item.device_item_request_builder import DeviceItemRequestBuilder

    query = DeviceItemRequestBuilder.DeviceItemRequestBuilderGetQueryParameters(select=_DEVICE)
    return RequestConfiguration(query_parameters=query)


def id_of(item: Json) -> str:
    """Its object id. Raises GraphError: the answer has none."""
    id_ = item.get("id")
    if not isinstance(id_, str) or not id_:
        raise GraphError("Graph gave an object without an id", "emptyAnswer")
    return id_


def split(devices: Sequence[Json], device_id: UUID) -> tuple[list[Json], list[Json]]:
    """Those with this deviceId, and the others."""
    of_it = [d for d in devices if (d.get("deviceId") or "").lower() == str(device_id)]
    return of_it, [d for d in devices if d not in of_it]


def device_ids(devices: Sequence[Json]) -> str:
    """In words."""
    return ", ".join(sorted(d.get("deviceId") or "" for d in devices))


def _physical_ids(present: Sequence[str], new: NewDevice) -> list[str]:
    others = [entry for entry in present if not entry.startswith((GROUP_TAG, OWNER))]
    return [*others, f"{GROUP_TAG}{new.group_tag}", f"{OWNER}{new.owner}"]


def owner_of(device: Json) -> str:
    """Whose it says it is; nothing if it is none of ours."""
    return next((e.removeprefix(OWNER) for e in device.get("physicalIds") or () if e.startswith(OWNER)), "")


def is_of(owner: str, device_id: UUID) -> bool:
    """Whether the deviceId that this owner's Cloud PC is registered under is this one."""
    identity = Identity.of(owner, "")
    return identity is not None and identity.device_id == device_id
