"""Groups, users, licences and the organisation."""

from __future__ import annotations

from tests.support.http_server import Answer
from tests.tenant import tokens
from tests.tenant.errors import not_found, unsupported
from tests.tenant.odata import Json, ResourceType
from tests.tenant.routing import Call, Routes, parameter

ROUTES = Routes()

USER = ResourceType(
    "user",
    directory=True,
    # neither accountEnabled nor assignedLicenses: whoever forgets $select gets none of them from Graph, either
    by_default=("displayName", "mail", "userPrincipalName"),
    filters={
        "id": ("eq", "in"),
        "userPrincipalName": ("eq", "in", "startswith"),
        "displayName": ("eq", "in", "startswith"),
        "mail": ("eq",),
        "accountEnabled": ("eq",),
    },
)
GROUP = ResourceType(
    "group",
    directory=True,
    filters={
        "id": ("eq", "in"),
        "displayName": ("eq", "in", "startswith"),
        "mailNickname": ("eq", "startswith"),
        "securityEnabled": ("eq",),
    },
)
OBJECT = ResourceType("directoryObject", directory=True)
SKU = ResourceType("subscribedSku")
ORGANIZATION = ResourceType("organization")


@ROUTES.add("GET", "/groups", tokens.GROUP_NAMES)
def groups(call: Call) -> Answer:
    return call.page(lambda: list(call.store.groups), call.store.groups.get, GROUP)


@ROUTES.add("GET", "/groups/{id}", tokens.GROUP_NAMES)
def group(call: Call) -> Answer:
    call.query.only("$select", "$expand")
    return call.one(_group(call), GROUP)


@ROUTES.add("GET", "/groups/{id}/members", tokens.MEMBERS)
@ROUTES.add("GET", "/groups/{id}/transitiveMembers", tokens.MEMBERS)
def members(call: Call) -> Answer:
    """Of all types, each with its own."""
    id_ = _group(call)["id"]
    transitive = call.path.endswith("transitiveMembers")
    known = call.known(OBJECT)

    def find(member: str) -> Json | None:
        found = call.store.users.get(member)
        type_ = USER if found is not None else GROUP
        found = found if found is not None else call.store.groups.get(member)
        return None if found is None else {"@odata.type": f"#microsoft.graph.{type_.name}", **_readable(call, found)}

    def shown(item: Json) -> Json:
        type_ = USER if item["@odata.type"].endswith("user") else GROUP
        return call.query.shown(item, type_, known)

    return call.page(lambda: _members(call, id_, transitive), find, OBJECT, shown)


def _check_cast(call: Call) -> None:
    if call.store.insists_on_advanced_casts and not (call.query.eventual and call.query.counts):
        raise unsupported("The request uses a cast, which needs $count=true and the header ConsistencyLevel: eventual.")


@ROUTES.add("GET", "/groups/{id}/members/graph.user", tokens.MEMBERS)
@ROUTES.add("GET", "/groups/{id}/transitiveMembers/graph.user", tokens.MEMBERS)
def member_users(call: Call) -> Answer:
    id_ = _group(call)["id"]
    _check_cast(call)
    transitive = "/transitiveMembers/" in call.path

    def find(member: str) -> Json | None:
        found = call.store.users.get(member)
        return None if found is None else _readable(call, found)

    return call.page(
        lambda: [m for m in _members(call, id_, transitive) if m in call.store.users],
        find,
        # a filter on a cast needs an advanced query; none is offered here
        ResourceType("user", USER.by_default, directory=True),
    )


@ROUTES.add("GET", "/groups/{id}/members/graph.group", tokens.MEMBERS)
def member_groups(call: Call) -> Answer:
    id_ = _group(call)["id"]
    _check_cast(call)

    def find(member: str) -> Json | None:
        found = call.store.groups.get(member)
        return None if found is None else _readable(call, found)

    return call.page(
        lambda: [m for m in _members(call, id_, False) if m in call.store.groups],
        find,
        ResourceType("group", directory=True),
    )


@ROUTES.add("GET", "/users", tokens.USERS)
def users(call: Call) -> Answer:
    return call.page(lambda: list(call.store.users), call.store.users.get, USER)


@ROUTES.add("GET", "/users/{id}", tokens.USERS)
def user(call: Call) -> Answer:
    call.query.only("$select", "$expand")
    return call.one(user_of(call), USER)


@ROUTES.add("GET", "/users/{id}/licenseDetails", (*tokens.SKUS, *tokens.USERS))
def license_details(call: Call) -> Answer:
    call.query.only("$select")
    details = []
    for assigned in user_of(call)["assignedLicenses"]:
        sku = call.store.skus[assigned["skuId"]]
        plans = [
            {**p, "provisioningStatus": "Disabled"} if p["servicePlanId"] in assigned["disabledPlans"] else p
            for p in sku["servicePlans"]
        ]
        details.append(
            {"id": sku["id"], "skuId": sku["skuId"], "skuPartNumber": sku["skuPartNumber"], "servicePlans": plans}
        )
    return Answer(200, {"value": details})


@ROUTES.add("GET", "/subscribedSkus", tokens.SKUS)
def subscribed_skus(call: Call) -> Answer:
    call.query.only("$select")
    consumed: dict[str, int] = {}
    for found in call.store.users.values():
        for assigned in found["assignedLicenses"]:
            consumed[assigned["skuId"]] = consumed.get(assigned["skuId"], 0) + 1
    value = [{**sku, "consumedUnits": consumed.get(id_, 0)} for id_, sku in call.store.skus.items()]
    known = call.known(SKU)
    return Answer(200, {"value": [call.query.shown(sku, SKU, known) for sku in value]})


@ROUTES.add("GET", "/organization", tokens.ORGANIZATION)
def organization(call: Call) -> Answer:
    call.query.only("$select")
    domains = dict.fromkeys(u["userPrincipalName"].rpartition("@")[2] for u in call.store.users.values())
    own = {
        "id": call.store.tenant_id,
        "displayName": "Contoso",
        "tenantType": "AAD",
        "verifiedDomains": [
            {"name": name, "isDefault": i == 0, "isInitial": i == 0, "type": "Managed", "capabilities": "Email"}
            for i, name in enumerate(domains)
        ],
    }
    return Answer(200, {"value": [call.query.shown(own, ORGANIZATION, call.known(ORGANIZATION))]})


def user_of(call: Call) -> Json:
    """The user in the path, by id or userPrincipalName."""
    reference = parameter(call, "id")
    found = call.store.users.get(reference)
    if found is None and "@" in reference:
        found = call.store.find_user(reference)
    if found is None:
        raise not_found(reference)
    return found


def _group(call: Call) -> Json:
    found = call.store.groups.get(parameter(call, "id"))
    if found is None:
        raise not_found(parameter(call, "id"))
    return found


def _members(call: Call, group_id: str, transitive: bool) -> list[str]:
    if not transitive:
        return list(call.store.members[group_id])
    seen: dict[str, None] = {}
    waiting = [group_id]
    while waiting:
        for member in call.store.members.get(waiting.pop(), ()):
            if member not in seen:
                seen[member] = None
                waiting.append(member)
    return list(seen)


def _readable(call: Call, item: Json) -> Json:
    """What the token lets through: who may list members but not read users gets their ids, all else empty, and 200."""
    allowed = tokens.USERS if "userPrincipalName" in item else tokens.GROUP_NAMES
    if call.token.permissions & set(allowed):
        return item
    return {name: value if name == "id" else [] if isinstance(value, list) else None for name, value in item.items()}
