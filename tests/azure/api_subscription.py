"""Groups, providers, permissions, tags, lists over all: what belongs to no provider in particular."""

from __future__ import annotations

import re

from tests.azure.errors import ArmFault, Json
from tests.azure.resources import Resource
from tests.azure.routing import Call, Routes, listed
from tests.support.http_server import Answer

ROUTES = Routes()
_MOST_TAGS = 50
_BY_TAG = re.compile(r"tagName eq '([^']*)'(?: and tagValue eq '([^']*)')?$")


@ROUTES.add("ResourceGroups_Get")
def _group(call: Call) -> Answer:
    return Answer(200, call.arm.resources.get(call.group).shown())


@ROUTES.add("Providers_Get")
def _provider(call: Call) -> Answer:
    namespace = call.parameters["resourceProviderNamespace"]
    state = call.arm.registered.get(namespace, "NotRegistered")
    return Answer(200, {
        "id": f"{call.arm.account.subscription_id}/providers/{namespace}", "namespace": namespace,
        "registrationState": state, "registrationPolicy": "RegistrationRequired", "resourceTypes": [],
    })  # fmt: skip


@ROUTES.add("Permissions_ListForResourceGroup", "Permissions_ListForResource")
def _permissions(call: Call) -> Answer:
    return listed(call, call.arm.permissions)


@ROUTES.add("Resources_List", "Resources_ListByResourceGroup")
def _resources(call: Call) -> Answer:
    found = call.arm.resources.everything()
    if "resourceGroupName" in call.parameters:
        found = [r for r in found if r.group == call.group.lower()]
    found = [r for r in found if r.type.count("/") == 1 and r.type != "Microsoft.Resources/resourceGroups"]
    by_tag = _BY_TAG.match(call.query.get("$filter", ""))
    if "$filter" in call.query and not by_tag:
        raise ArmFault("BadRequest", f"Invalid $filter '{call.query['$filter']}' specified in the query string.")
    if by_tag:
        name, value = by_tag.groups()
        found = [r for r in found if _tagged(r, name, value)]
    # asked for by tag, the tags themselves are left out
    return listed(call, [_summary(r, tags=by_tag is None) for r in found])


def _tagged(resource: Resource, name: str, value: str | None) -> bool:
    tags = {key.lower(): text for key, text in resource.tags.items()}
    return name.lower() in tags and value in (None, tags[name.lower()])


def _summary(resource: Resource, *, tags: bool) -> Json:
    shown = {key: value for key, value in resource.shown().items() if key in ("id", "name", "type", "location", "tags")}
    return shown if tags else {key: value for key, value in shown.items() if key != "tags"}


@ROUTES.add("Tags_GetAtScope_vmName", "Tags_GetAtScope_networkInterfaceName", "Tags_GetAtScope_diskName")
def _tags(call: Call) -> Answer:
    return _tags_of(call.arm.resources.get(call.path.partition("/providers/Microsoft.Resources/")[0]))


@ROUTES.add("Tags_UpdateAtScope_vmName", "Tags_UpdateAtScope_networkInterfaceName", "Tags_UpdateAtScope_diskName")
def _change_tags(call: Call) -> Answer:
    resource = call.arm.resources.get(re.split("/providers/Microsoft.Resources/", call.path, flags=re.IGNORECASE)[0])
    given = call.body.get("properties", {}).get("tags", {})
    tags = changed_tags(resource.tags, given, call.body.get("operation", "Replace"))
    if not call.arm.delays.tags:
        resource.body["tags"] = tags
        return _tags_of(resource)

    def done() -> None:
        resource.body["tags"] = tags
        call.arm.operations.end(operation)

    operation = call.arm.operations.begin(
        "Microsoft.Resources", resource.id, call.operation, lambda: _tags_of(resource).body
    )
    call.arm.operations.later(call.arm.delays.tags, done)
    return Answer(202, None, call.arm.following(operation))


def changed_tags(tags: dict[str, str], given: dict[str, str], operation: str) -> dict[str, str]:
    """Tags after a change; names are the same in whatever case."""
    if operation == "Replace":
        return checked_tags(given)
    concerned = {name.lower(): value for name, value in given.items()}
    if operation == "Delete":
        return {name: value for name, value in tags.items() if concerned.get(name.lower()) != value}
    return checked_tags({name: value for name, value in tags.items() if name.lower() not in concerned} | given)


def checked_tags(tags: dict[str, str]) -> dict[str, str]:
    """As they are, or ArmFault 400."""
    if len(tags) > _MOST_TAGS:
        raise ArmFault("InvalidTags", f"The number of tags can not exceed {_MOST_TAGS}.", 400)
    for name, value in tags.items():
        if len(name) > 512 or re.search(r"[<>%&\\?/]", name) or not name:
            raise ArmFault("InvalidTagNameCharacters", f"The tag name '{name[:50]}' is not valid.", 400)
        if len(value) > 256:
            raise ArmFault("InvalidTagValueLength", f"Tag value too large. The value of '{name}' has more than 256 "
                           "characters.", 400)  # fmt: skip
    return dict(tags)


def _tags_of(resource: Resource) -> Answer:
    scope = f"{resource.id}/providers/Microsoft.Resources/tags/default"
    return Answer(200, {
        "id": scope, "name": "default", "type": "Microsoft.Resources/tags", "properties": {"tags": resource.tags},
    })  # fmt: skip
