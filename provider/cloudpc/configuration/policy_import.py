"""A provisioning policy of Microsoft Graph becomes one of ours: what maps, what is lost, what somebody must decide.

Pure: JSON in, values and a file's text out. Source: Microsoft Graph `cloudPcProvisioningPolicy` with
`$expand=assignments`, v1.0 and beta, as Graph answers it or as PowerShell and Azure CLI export it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cloudpc.configuration.graph_policy import READ_ONLY, WHY_LOST, GraphPolicy, Join, asks_nothing, read, spelled
from cloudpc.configuration.imported import Imported, Remark
from cloudpc.model.policy import DomainJoinConfiguration, ProvisioningPolicy, WindowsSetting
from cloudpc.model.problems import InvalidConfigurationError, Problem, from_validation

_TO_DECIDE = "to-be-decided"
"""Stands for what a policy must have and can't be read."""


def stack_name(display_name: str, taken: Collection[str] = ()) -> str:
    """A valid stack's name like this displayName, and none of these."""
    plain = unicodedata.normalize("NFKD", display_name).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:80].rstrip("-") or "policy"
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def convert(values: object, file: str, image: str | None = None) -> Imported:
    """Ours from Graph's.

    Args:
        values: the policy as JSON.
        file: where it came from, for messages.
        image: the gallery image of ours that takes the place of its own.

    Raises:
        InvalidConfigurationError: it can't be one of ours; with all reasons.
    """
    graph, unread = read(values, file)
    return _Conversion(graph, file, image, unread).run()


class _Conversion:
    def __init__(self, graph: GraphPolicy, file: str, image: str | None, unread: Sequence[Remark] = ()) -> None:
        self._graph = graph
        self._file = file
        self._image = image
        self._policy: dict[str, Any] = {}
        self._remarks: list[Remark] = list(unread)
        self._unread = {remark.field for remark in unread}
        self._problems: list[Problem] = []

    def run(self) -> Imported:
        graph = self._graph
        self._display_name()
        if graph.description:
            self._policy["description"] = graph.description
        if spelled(graph.provisioning_type) not in (None, "dedicated"):
            message = "can't be carried over: here a Cloud PC belongs to one user (dedicated)"
            self._refuse("provisioningType", message, graph.provisioning_type)
        self._joins()
        self._images()
        self._checked("cloudPcNamingTemplate", graph.cloud_pc_naming_template)
        self._locale()
        if graph.local_admin_enabled is not None:
            self._policy["localAdminEnabled"] = graph.local_admin_enabled
        self._checked("gracePeriodInHours", graph.grace_period_in_hours)
        self._assignments()
        for name, value in graph.others(*READ_ONLY):
            if not asks_nothing(name, value):
                self._lost(name, value, WHY_LOST.get(name, "is not known here"))
        if self._problems:
            raise InvalidConfigurationError(self._problems)
        try:
            ProvisioningPolicy.model_validate(self._policy)
        except ValidationError as error:
            raise InvalidConfigurationError(from_validation(self._file, "", ProvisioningPolicy, error)) from None
        return Imported(graph.id or "", self._policy, tuple(self._remarks))

    def _display_name(self) -> None:
        found = self._graph.display_name
        printable = "".join(c if c.isprintable() else " " for c in found or "")
        name = " ".join(re.sub(r'[<>&|"^]', " ", printable).split())[:120].rstrip()
        if not name and "displayName" in self._unread:
            name = _TO_DECIDE
            self._decide("displayName", None, "give it a name in the place of what can't be read")
        elif not name:
            self._refuse("displayName", "is required", found)
            return
        elif name != found:
            why = f'is written as {name!r}: one line of at most 120 characters, without < > & | " ^'
            self._lost("displayName", found, why)
        self._policy["displayName"] = name

    def _joins(self) -> None:
        graph = self._graph
        entries = list(graph.domain_join_configurations or ())
        name = "domainJoinConfigurations"
        if not entries and graph.domain_join_configuration is not None:
            entries, name = [graph.domain_join_configuration], "domainJoinConfiguration"
        if not entries and graph.on_premises_connection_id:
            # the beta of 2021: a policy with a connection was hybrid
            entries = [Join(domainJoinType="hybridAzureADJoin", onPremisesConnectionId=graph.on_premises_connection_id)]
            name = "onPremisesConnectionId"
        joins: list[dict[str, Any]] = []
        for index, entry in enumerate(entries):
            shown = f"{name}[{index}]" if name == "domainJoinConfigurations" else name
            if entry is not None and (join := self._join(shown, entry)) is not None and join not in joins:
                joins.append(join)
        if not joins and any(field.startswith("domainJoinConfiguration") for field in self._unread):
            joins = [{"domainJoinType": "azureADJoin", "regionName": "automatic"}]
            why = "the host's own network takes the place of what can't be read"
            self._decide("domainJoinConfigurations", None, why)
        if joins:
            self._policy["domainJoinConfigurations"] = joins
        else:
            self._refuse("domainJoinConfigurations", "has no entry that can be carried over", None)

    def _join(self, field: str, entry: Join) -> dict[str, Any] | None:
        kind = spelled(entry.domain_join_type or entry.type)
        for name, value in entry.others():
            self._lost(f"{field}.{name}", value, "is not known here")
        if kind not in ("azureADJoin", "hybridAzureADJoin"):
            self._lost(field, kind, "is left out: domainJoinType must be azureADJoin or hybridAzureADJoin")
            return None
        connection = entry.on_premises_connection_id
        if connection:
            if entry.region_name:
                self._lost(f"{field}.regionName", entry.region_name, "is left out: the connection says where")
            join = {"domainJoinType": kind, "onPremisesConnectionId": connection}
            try:
                DomainJoinConfiguration.model_validate(join)
            except ValidationError:
                self._lost(f"{field}.onPremisesConnectionId", connection, "is left out: it can't be a file's name")
                return None
            why = f"write connections/{connection}.yaml, or a better name here and there"
            self._decide(f"{field}.onPremisesConnectionId", connection, why)
            return join
        if kind == "hybridAzureADJoin":
            self._lost(field, kind, "is left out: without a connection there is no domain to join")
            return None
        for name, value in (("regionName", entry.region_name), ("regionGroup", entry.region_group)):
            if value and value.lower() not in ("automatic", "default"):
                why = "regions are Microsoft's; regionName: automatic is the host's own network"
                self._lost(f"{field}.{name}", value, why)
        return {"domainJoinType": kind, "regionName": "automatic"}

    def _images(self) -> None:
        graph = self._graph
        shown = f"{graph.image_id or ''} {graph.image_display_name or ''}".strip()
        if self._image is not None:
            self._policy |= {"imageType": "gallery", "imageId": self._image}
            if shown:
                self._lost("imageId", shown, f"{self._image} takes its place")
            return
        kind = spelled(graph.image_type)
        if kind not in (None, "gallery", "custom"):
            self._lost("imageType", graph.image_type, "is not known here; gallery takes its place")
        self._policy["imageType"] = "custom" if kind == "custom" else "gallery"
        if not graph.image_id and "imageId" in self._unread:
            self._policy["imageId"] = _TO_DECIDE
            self._decide("imageId", None, "name an image of ours in the place of what can't be read")
            return
        if not graph.image_id:
            self._refuse("imageId", "is required; --image names one of ours", None)
            return
        self._policy["imageId"] = graph.image_id
        where = "an entry of cloudpc:images" if kind == "custom" else "a recipe (`cloudpc image list`)"
        self._decide("imageId", shown, f"name an image of ours, {where}: Microsoft's are on hosts in Azure alone")

    def _locale(self) -> None:
        graph = self._graph
        for name, setting in (("windowsSetting", graph.windows_setting), ("windowsSettings", graph.windows_settings)):
            for other, value in setting.others() if setting else ():
                self._lost(f"{name}.{other}", value, "is not known here")
            for field in ("locale", "language"):
                value = getattr(setting, field) if setting else None
                if not value:
                    continue
                try:
                    WindowsSetting.model_validate({"locale": value})
                except ValidationError:
                    self._lost(f"{name}.{field}", value, "must be like en-US; en-US takes its place")
                    continue
                self._policy.setdefault("windowsSetting", {"locale": value})

    def _assignments(self) -> None:
        assignments = self._graph.assignments
        if assignments is None:
            if "assignments" not in self._unread:
                why = "Graph tells them only with ?$expand=assignments; write assignments here"
                self._decide("assignments", None, why)
            return
        groups: dict[str, None] = {}
        for index, assignment in enumerate(assignments):
            if assignment is None:
                continue  # which is reported already
            field, target = f"assignments[{index}].target", assignment.target
            group = target.group_id if target else None
            for name, value in target.others() if target else ():
                self._lost(f"{field}.{name}", value, "belongs to shared Cloud PCs, which are not known here")
            if target and target.service_plan_id:
                why = "is not carried over: here each licence of a member is served"
                self._lost(f"{field}.servicePlanId", target.service_plan_id, why)
            if group:
                groups[group] = None
            elif self._unread.isdisjoint((field, f"{field}.groupId")):
                self._lost(f"{field}.groupId", group, "is left out: it names no group")
        self._policy["assignments"] = [{"target": {"groupId": group}} for group in groups]

    def _checked(self, name: str, value: Any) -> None:
        """Carried over if ours may have it, else its default takes its place."""
        if value is None:
            return
        field = next(f for n, f in ProvisioningPolicy.model_fields.items() if name in (n, f.alias))
        try:
            TypeAdapter(field.rebuild_annotation()).validate_python(value)
        except ValidationError as error:
            [first, *_] = from_validation(self._file, name, ProvisioningPolicy, error)
            self._lost(name, value, f"{first.message}; {field.default} takes its place")
        else:
            self._policy[name] = value

    def _lost(self, field: str, value: Any, why: str) -> None:
        self._remarks.append(Remark(field, value, why))

    def _decide(self, field: str, value: Any, why: str) -> None:
        self._remarks.append(Remark(field, value, why, decide=True))

    def _refuse(self, field: str, message: str, found: Any) -> None:
        self._problems.append(Problem(self._file, field, message, found))
