"""Devices of Entra."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from tests.support.http_server import Answer
from tests.tenant import tokens
from tests.tenant.errors import invalid, not_found
from tests.tenant.odata import Json, ResourceType
from tests.tenant.routing import Call, Routes, parameter

ROUTES = Routes()

DEVICE = ResourceType(
    "device",
    directory=True,
    filters={
        "id": ("eq", "in"),
        "deviceId": ("eq", "in"),
        "displayName": ("eq", "in", "startswith"),
        "accountEnabled": ("eq",),
        "physicalIds": ("any eq", "any startswith"),
    },
    advanced=frozenset({("physicalIds", "any eq"), ("physicalIds", "any startswith")}),
)
OBJECT = ResourceType("directoryObject", by_default=("displayName", "userPrincipalName"), directory=True)

_REQUIRED = (
    "accountEnabled", "alternativeSecurityIds", "deviceId", "displayName", "operatingSystem", "operatingSystemVersion",
)  # fmt: skip
_WRITABLE = frozenset(
    {"accountEnabled", "displayName", "operatingSystem", "operatingSystemVersion", "physicalIds",
     "enrollmentProfileName", "deviceOwnership", "profileType", "isCompliant", "isManaged", "deviceVersion",
     "deviceMetadata", "deviceCategory"}
)  # fmt: skip


@ROUTES.add("GET", "/devices", tokens.DEVICES)
def devices(call: Call) -> Answer:
    return call.page(lambda: list(call.store.devices), call.store.devices.get, DEVICE)


@ROUTES.add("POST", "/devices", tokens.DEVICES_CREATE, delegated_only=True)
def create(call: Call) -> Answer:
    body = _plain(call.body)
    for name in _REQUIRED:
        if body.get(name) in (None, "", []):
            raise invalid(f"A value is required for property '{name}' of resource 'Device'.")
    _refuse(set(body) - _WRITABLE - set(_REQUIRED), body)
    try:
        UUID(body["deviceId"])
    except ValueError:
        raise invalid("Invalid value specified for property 'deviceId' of resource 'Device'.") from None
    keys = _keys(body)
    for other in call.store.devices.values():
        if other["deviceId"].casefold() == body["deviceId"].casefold():
            raise invalid("Another object with the same value for property deviceId already exists.")
        if keys & _keys(other):
            raise invalid("Another object with the same value for property alternativeSecurityIds already exists.")
    return call.one(call.store.add_device(body), ResourceType("device"), status=201)


@ROUTES.add("GET", "/devices/{id}", tokens.DEVICES)
@ROUTES.add("GET", "/devices(deviceId='{device_id}')", tokens.DEVICES)
def device(call: Call) -> Answer:
    call.query.only("$select", "$expand")
    found = _device(call)
    answer = call.one(found, DEVICE)
    for relation in call.query.expand:
        if relation not in _RELATIONS:
            raise invalid(f"Could not find a property named '{relation}' on type 'microsoft.graph.device'.")
        people = [call.store.users[i] for i in found[_RELATIONS[relation]] if i in call.store.users]
        assert answer.body is not None
        answer.body[relation] = [_person(call, person) for person in people]
    return answer


@ROUTES.add("PATCH", "/devices/{id}", tokens.DEVICES_WRITE)
@ROUTES.add("PATCH", "/devices(deviceId='{device_id}')", tokens.DEVICES_WRITE)
def update(call: Call) -> Answer:
    found = _device(call)
    body = _plain(call.body)
    _refuse(set(body) - _WRITABLE, body)
    found.update(body)
    call.store.changed()
    return Answer(204)


@ROUTES.add("DELETE", "/devices/{id}", tokens.DEVICES_WRITE)
@ROUTES.add("DELETE", "/devices(deviceId='{device_id}')", tokens.DEVICES_WRITE)
def delete(call: Call) -> Answer:
    call.store.delete_device(_device(call)["id"])
    return Answer(204)


@ROUTES.add("GET", "/devices/{id}/registeredOwners", tokens.DEVICES)
@ROUTES.add("GET", "/devices/{id}/registeredUsers", tokens.DEVICES)
def people(call: Call) -> Answer:
    found = _device(call)[_RELATIONS[call.path.rpartition("/")[2]]]
    return call.page(lambda: list(found), call.store.users.get, OBJECT, lambda user: _person(call, user))


@ROUTES.add("POST", "/devices/{id}/registeredOwners/$ref", tokens.DEVICES_CREATE, delegated_only=True)
@ROUTES.add("POST", "/devices/{id}/registeredUsers/$ref", tokens.DEVICES_CREATE, delegated_only=True)
def add_person(call: Call) -> Answer:
    relation = call.path.split("/")[-2]
    present = _device(call)[_RELATIONS[relation]]
    user_id = urlsplit(str(call.body.get("@odata.id", ""))).path.rpartition("/")[2].lower()
    if user_id not in call.store.users:
        raise not_found(user_id)
    if user_id in present:
        raise invalid(
            f"One or more added object references already exist for the following modified properties: '{relation}'."
        )
    if relation == "registeredOwners" and present:
        raise invalid("The device has an owner already; there can be only one.")
    present.append(user_id)
    call.store.changed()
    return Answer(204)


@ROUTES.add("DELETE", "/devices/{id}/registeredOwners/{user}/$ref", tokens.DEVICES_CREATE, delegated_only=True)
@ROUTES.add("DELETE", "/devices/{id}/registeredUsers/{user}/$ref", tokens.DEVICES_CREATE, delegated_only=True)
def remove_person(call: Call) -> Answer:
    present = _device(call)[_RELATIONS[call.path.split("/")[-3]]]
    user_id = parameter(call, "user")
    if user_id not in present:
        raise not_found(user_id)
    present.remove(user_id)
    call.store.changed()
    return Answer(204)


@ROUTES.add("GET", "/directory/deletedItems/graph.device", tokens.DEVICES)
def deleted(call: Call) -> Answer:
    call.store.forget_deleted()
    return call.page(lambda: list(call.store.deleted_devices), call.store.deleted_devices.get, DEVICE)


@ROUTES.add("GET", "/directory/deletedItems/{id}", tokens.DEVICES)
def deleted_item(call: Call) -> Answer:
    call.store.forget_deleted()
    found = call.store.deleted_devices.get(parameter(call, "id"))
    if found is None:
        raise not_found(parameter(call, "id"))
    return call.one({"@odata.type": "#microsoft.graph.device", **found}, ResourceType("directoryObject"))


@ROUTES.add("DELETE", "/directory/deletedItems/{id}", tokens.DEVICES_CREATE, delegated_only=True)
def delete_for_good(call: Call) -> Answer:
    if call.store.deleted_devices.pop(parameter(call, "id"), None) is None:
        raise not_found(parameter(call, "id"))
    call.store.changed()
    return Answer(204)


_RELATIONS = {"registeredOwners": "_owners", "registeredUsers": "_users"}


def _device(call: Call) -> Json:
    if device_id := call.parameters.get("device_id", "").lower():
        found = next((d for d in call.store.devices.values() if d["deviceId"].lower() == device_id), None)
    else:
        found = call.store.devices.get(parameter(call, "id"))
    if found is None:
        raise not_found(device_id or parameter(call, "id"))
    return found


def _plain(body: Json) -> Json:
    return {name: value for name, value in body.items() if "@" not in name}


def _refuse(names: set[str], body: Json) -> None:
    if names:
        raise invalid(f"Property '{min(names)}' is read-only and cannot be set.")
    for name in ("displayName", "deviceId"):
        if name in body and not isinstance(body[name], str):
            raise invalid(f"Invalid value specified for property '{name}' of resource 'Device'.")


def _keys(device: Json) -> set[Any]:
    return {entry.get("key") for entry in device["alternativeSecurityIds"]}


def _person(call: Call, user: Json) -> Json:
    shown = call.query.shown(user, OBJECT, call.known(OBJECT)) if not call.query.expand else {"id": user["id"]}
    return {"@odata.type": "#microsoft.graph.user", **shown}
