"""Microsoft Entra as the directory: groups, users and licences through Microsoft Graph.

An error anywhere means that who is entitled is *unknown*: an incomplete list is never returned.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Coroutine, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cloudpc.directory import catalogue
from cloudpc.directory.configuration import GraphDirectoryConfig
from cloudpc.graph import odata
from cloudpc.graph.client import AT_ONCE, Graph, Session
from cloudpc.graph.configuration import GraphConfig
from cloudpc.graph.errors import GraphError
from cloudpc.graph.permissions import Call
from cloudpc.model.directory import GUID, DirectoryError, Group, ServicePlan, Snapshot, User

if TYPE_CHECKING:
    from kiota_abstractions.base_request_configuration import RequestConfiguration

Json = dict[str, Any]
_T = TypeVar("_T")

TIMEOUT: Final = 1800.0
"""Seconds for one reading: 100,000 users under throttling take minutes."""
PAGE: Final = 999
"""Entries on a page: the most that Graph gives."""
_USER: Final = ["id", "userPrincipalName", "displayName", "accountEnabled", "assignedLicenses"]
_IN_USE: Final = ("enabled", "warning")
"""capabilityStatus, in small letters, of a subscription whose licences count; `Warning` is its own time of grace."""
_CLOUD_PC: Final = "CPC_"
"""How the names of all Cloud PC service plans begin."""
_SIZE: Final = re.compile(r"_(\d+)v?C(?:PU)?_(\d+)(?:GB|RAM)_(\d+)(GB|TB)", re.IGNORECASE)
_HIDDEN: Final = "hiddenmembership"
"""visibility, in small letters, of a group whose members are shown only to some: the others get fewer, and no error."""


class GraphDirectory:
    """A tenant.

    Args:
        config: further service plans that make a Cloud PC.
        graph: how the tenant is reached.
    """

    def __init__(self, config: GraphDirectoryConfig, graph: GraphConfig) -> None:
        self._config = config
        self._graph = graph

    def snapshot(self, group_references: Collection[str], user_ids: Collection[str] = ()) -> Snapshot:
        """See Directory.snapshot."""
        reading = _Reading(self._config)
        graph = Graph(self._graph)
        try:
            return graph.run(lambda session: reading.read(session, group_references, user_ids), TIMEOUT)
        except GraphError as error:
            raise DirectoryError(f"the directory can't be read: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:  # for JSON that is not as Graph documents it
            message = f"the directory can't be read: Graph gave an object that is not as documented ({error!r})"
            raise DirectoryError(message) from error
        finally:
            graph.close()


class _Reading:
    """One snapshot on its way."""

    def __init__(self, config: GraphDirectoryConfig) -> None:
        entries = (entry.as_plan() for entry in config.service_plans)
        self._own = {plan.id.lower(): replace(plan, id=plan.id.lower()) for plan in entries}
        self._plans: dict[str, ServicePlan] = catalogue.service_plans() | self._own
        self._plans_of_sku: dict[str, tuple[str, ...]] = {}
        self._without_size: dict[str, dict[str, str]] = {}
        """Plans of Cloud PCs whose size nobody knows: for each SKU what is to be said, by the plan's id."""
        self._licensed: dict[tuple[Any, ...], tuple[str, ...]] = {}
        self._users: dict[str, User] = {}
        self._groups: dict[str, Group] = {}
        self._hidden: dict[str, str] = {}
        self._warnings: list[str] = []

    async def read(self, session: Session, references: Collection[str], user_ids: Collection[str]) -> Snapshot:
        found = await _all([self._skus(session), *(self._find(session, r) for r in dict.fromkeys(references))])
        names = {id_: name for groups in found[1:] for id_, name in (groups or {}).items()}
        await _all([self._group(session, id_, name) for id_, name in sorted(names.items())])
        gone = [id_ for id_ in dict.fromkeys(user_ids) if id_ not in self._users]
        await _all([self._user(session, id_) for id_ in gone])
        # answers come in any order; what is made of them must not depend on it
        users, found_groups = dict(sorted(self._users.items())), dict(sorted(self._groups.items()))
        hidden = dict(sorted(self._hidden.items()))
        return Snapshot(users, found_groups, self._plans, tuple(sorted(self._warnings)), hidden)

    # ---- groups

    async def _find(self, session: Session, reference: str) -> dict[str, str]:
        """Groups of this id, else of this displayName: none, one or several. Those that are hidden are set aside."""
        from kiota_abstractions.base_request_configuration import RequestConfiguration
        from msgraph.generated.groups.groups_request_builder import GroupsRequestBuilder
        from msgraph.generated.groups.item.group_item_request_builder import GroupItemRequestBuilder

        fields = ["id", "displayName", "visibility"]
        if GUID.fullmatch(reference):
            one = GroupItemRequestBuilder.GroupItemRequestBuilderGetQueryParameters(select=fields)
            builder = session.client.groups.by_group_id(reference.lower())
            try:
                group = await session.json(Call.FIND_GROUP, builder, RequestConfiguration(query_parameters=one))
            except GraphError as error:
                if not error.is_missing:
                    raise
            else:
                return self._seen(group, group.get("displayName") or reference)
        many = GroupsRequestBuilder.GroupsRequestBuilderGetQueryParameters(
            filter=f"displayName eq {odata.text(reference)}", select=fields, top=PAGE
        )
        found: dict[str, str] = {}
        pages = session.pages(Call.FIND_GROUP, session.client.groups, RequestConfiguration(query_parameters=many))
        async for page in pages:
            # Graph compares without regard to case
            for group in page:
                if group.get("displayName") == reference:
                    found |= self._seen(group, reference)
        return found

    def _seen(self, group: Json, name: str) -> dict[str, str]:
        if str(group.get("visibility")).lower() != _HIDDEN:
            return {_id(group): name}
        self._hidden[_id(group)] = name
        return {}

    async def _group(self, session: Session, id_: str, name: str) -> None:
        members, _ = await _all([self._members(session, id_), self._nested(session, id_, name)])
        self._groups[id_] = Group(id_, name, members or frozenset())

    async def _members(self, session: Session, group_id: str) -> frozenset[str]:
        from msgraph.generated.groups.item.members.graph_user.graph_user_request_builder import GraphUserRequestBuilder

        query = GraphUserRequestBuilder.GraphUserRequestBuilderGetQueryParameters(select=_USER, top=PAGE, count=True)
        builder = session.client.groups.by_group_id(group_id).members.graph_user
        members: set[str] = set()
        async for page in session.pages(Call.LIST_MEMBERS, builder, _advanced(query)):
            for user in page:
                id_ = _id(user)
                # one text for all groups a user is in
                members.add(self._users[id_].id if id_ in self._users else self._add(user))
        return frozenset(members)

    async def _nested(self, session: Session, group_id: str, name: str) -> None:
        from msgraph.generated.groups.item.members.graph_group.graph_group_request_builder import (
            GraphGroupRequestBuilder,
        )

        query = GraphGroupRequestBuilder.GraphGroupRequestBuilderGetQueryParameters(
            select=["id", "displayName"], count=True
        )
        builder = session.client.groups.by_group_id(group_id).members.graph_group
        async for page in session.pages(Call.LIST_MEMBERS, builder, _advanced(query)):
            for group in page:
                inner = group.get("displayName") or _id(group)
                self._warnings.append(
                    f"the group {name!r} has the group {inner!r} in it: only direct members count, as in Windows 365, "
                    f"so assign the policy to {inner!r} too if its members should have Cloud PCs"
                )

    # ---- users

    async def _user(self, session: Session, id_: str) -> None:
        from kiota_abstractions.base_request_configuration import RequestConfiguration
        from msgraph.generated.users.item.user_item_request_builder import UserItemRequestBuilder

        if not GUID.fullmatch(id_):
            return  # of another directory; Graph would take it for a userPrincipalName
        query = UserItemRequestBuilder.UserItemRequestBuilderGetQueryParameters(select=_USER)
        builder = session.client.users.by_user_id(id_)
        try:
            user = await session.json(Call.READ_USERS, builder, RequestConfiguration(query_parameters=query))
        except GraphError as error:
            if not error.is_missing:
                raise
        else:
            self._add(user)

    def _add(self, user: Json) -> str:
        name, enabled, licences = (
            user.get(field) for field in ("userPrincipalName", "accountEnabled", "assignedLicenses")
        )
        if name is None or enabled is None or licences is None:
            # whoever may list members but not read users gets their ids, all else empty, and no error
            permission = Call.READ_USERS.value
            message = f"{permission.purpose} is refused: the permission {permission.least} is missing"
            raise GraphError(message, "Authorization_RequestDenied", 403, permission=permission)
        id_ = _id(user)
        self._users[id_] = User(
            id=id_,
            user_principal_name=name,
            display_name=user.get("displayName") or name,
            account_enabled=enabled,
            service_plans=self._service_plans(licences),
        )
        return id_

    # ---- licences

    async def _skus(self, session: Session) -> None:
        from kiota_abstractions.base_request_configuration import RequestConfiguration
        from msgraph.generated.subscribed_skus.subscribed_skus_request_builder import SubscribedSkusRequestBuilder

        query = SubscribedSkusRequestBuilder.SubscribedSkusRequestBuilderGetQueryParameters(
            select=["skuId", "skuPartNumber", "capabilityStatus", "servicePlans"]
        )
        builder = session.client.subscribed_skus
        async for page in session.pages(Call.READ_SKUS, builder, RequestConfiguration(query_parameters=query)):
            for sku in page:
                self._sku(sku)
        sold = {plan for plans in self._plans_of_sku.values() for plan in plans}
        for plan in self._own.keys() - sold:
            self._warnings.append(f"no subscription of the tenant has the service plan {plan} of cloudpc:directory")

    def _sku(self, sku: Json) -> None:
        listed = _required(sku, "servicePlans", list)
        plans = tuple(id_ for plan in listed if (id_ := plan["servicePlanId"].lower()) in self._plans)
        unknown = {
            plan["servicePlanId"].lower(): _without_size(plan, sku)
            for plan in listed
            if str(plan.get("servicePlanName")).upper().startswith(_CLOUD_PC)
            and plan["servicePlanId"].lower() not in self._plans
        }
        if not plans and not unknown:
            return
        status = _required(sku, "capabilityStatus", str)
        if status.lower() not in _IN_USE:
            self._warnings.append(
                f"the subscription {sku.get('skuPartNumber')} is {status}: its licences give no Cloud PC"
            )
            return
        id_ = _required(sku, "skuId", str).lower()
        self._without_size[id_] = unknown
        if plans:
            self._plans_of_sku[id_] = plans

    def _tell_without_size(self, assigned: list[Json]) -> None:
        for licence in assigned:
            disabled = [plan.lower() for plan in licence.get("disabledPlans") or ()]
            for plan, words in self._without_size.get(licence["skuId"].lower(), {}).items():
                if plan not in disabled and words not in self._warnings:
                    self._warnings.append(words)

    def _service_plans(self, assigned: list[Json]) -> tuple[str, ...]:
        """Plans of the user's licences, without the disabled ones. The same tuple for all with the same licences."""
        self._tell_without_size(assigned)
        licences = tuple(
            (sku_id, frozenset(plan.lower() for plan in licence.get("disabledPlans") or ()))
            for licence in assigned
            if (sku_id := licence["skuId"].lower()) in self._plans_of_sku
        )
        if licences not in self._licensed:
            self._licensed[licences] = tuple(
                dict.fromkeys(
                    plan for sku_id, disabled in licences for plan in self._plans_of_sku[sku_id] if plan not in disabled
                )
            )
        return self._licensed[licences]


def _without_size(plan: Json, sku: Json) -> str:
    """What to do about a service plan that is a Cloud PC's by its name, but whose size is unknown."""
    id_, name = plan["servicePlanId"].lower(), plan["servicePlanName"]
    size = _SIZE.search(f"{name} {sku.get('skuPartNumber')}")
    entry = f"id: {id_}, displayName: {name}"
    if size is not None:
        storage = int(size[3]) * (1024 if size[4].upper() == "TB" else 1)
        entry += f", vCpuCount: {size[1]}, ramInGB: {size[2]}, storageInGB: {storage}"
    else:
        entry += ", vCpuCount: …, ramInGB: …, storageInGB: …"
    return (
        f"users have the licence {sku.get('skuPartNumber')}, whose service plan {name} ({id_}) is a Cloud PC's by its "
        f"name, but its size is not known here, so it gives none; add {{{entry}}} to servicePlans of cloudpc:directory"
    )


def _advanced(query: Any) -> RequestConfiguration[Any]:
    """With what Graph demands for lists that are cast to one type: this header, beside $count."""
    from kiota_abstractions.base_request_configuration import RequestConfiguration

    configuration: RequestConfiguration[Any] = RequestConfiguration(query_parameters=query)
    configuration.headers.add("ConsistencyLevel", "eventual")
    return configuration


def _id(item: Json) -> str:
    return _required(item, "id", str)


def _required(item: Json, name: str, kind: type[_T]) -> _T:
    """A property that Graph always returns; without it nothing is known, which differs from nothing being there."""
    value = item.get(name)
    if not isinstance(value, kind) or value == "":
        raise GraphError(f"Graph gave an object without {name}", "emptyAnswer")
    return value


async def _all(work: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """All results, a few at a time; the first failure ends the others and is raised as it is."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(coroutine: Coroutine[Any, Any, _T]) -> _T:
        async with at_once:
            return await coroutine

    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(one(coroutine)) for coroutine in work]
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    return [task.result() for task in running]
