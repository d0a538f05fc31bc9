"""A provisioning policy of Microsoft Graph becomes one of ours: what maps, what is lost, what somebody must decide.

Pure: JSON in, values and a file's text out. Source: Microsoft Graph `cloudPcProvisioningPolicy` with
`$expand=assignments`, v1.0 and beta.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from cloudpc import yaml_file
from cloudpc.policy import DomainJoinConfiguration, ProvisioningPolicy, WindowsSetting
from cloudpc.problems import InvalidConfigurationError, Problem, from_validation
from cloudpc.text import harmless

POLICY = "cloudpc:policy"


@dataclass(frozen=True)
class Remark:
    """Something an import could not do by itself.

    Args:
        field: of Graph's policy, for example `enableSingleSignOn`.
        value: what it has there.
        why: what became of it, or what is to be decided.
        decide: whether somebody has to decide or do something; else it is merely not carried over.
    """

    field: str
    value: Any
    why: str
    decide: bool = False

    def __str__(self) -> str:
        value = json.dumps(self.value, ensure_ascii=False, default=str)
        value = value if len(value) <= 80 else value[:77] + "..."
        # one line each, also as a comment in the file: what a tenant's admin has typed ends no comment
        return harmless(f"{self.field} ({value}): {self.why}")


@dataclass(frozen=True)
class Imported:
    """One policy, converted.

    Args:
        id: Graph's.
        policy: values for `cloudpc:policy`; valid by themselves.
        remarks: in the order of the fields.
    """

    id: str
    policy: dict[str, Any]
    remarks: tuple[Remark, ...]

    @property
    def display_name(self) -> str:
        """As in Graph, as far as ours may have it."""
        return str(self.policy["displayName"])


class _Graph(BaseModel):
    """A part of Graph's policy. Every property may be null or missing there, and newer ones may be added."""

    model_config = ConfigDict(
        hide_input_in_errors=True, alias_generator=to_camel, extra="allow", strict=True, frozen=True
    )

    def others(self, *known: str) -> Iterator[tuple[str, Any]]:
        """What has a value and is not read here."""
        for name, value in (self.model_extra or {}).items():
            if value not in (None, "", [], {}) and "@odata." not in name and name not in known:
                yield name, value


class _Join(_Graph):
    domain_join_type: str | None = None
    type: str | None = None
    """The beta's earlier name of domainJoinType."""
    on_premises_connection_id: str | None = None
    region_name: str | None = None
    region_group: str | None = None


class _Windows(_Graph):
    locale: str | None = None
    language: str | None = None


class _Target(_Graph):
    group_id: str | None = None
    service_plan_id: str | None = None


class _Assignment(_Graph):
    id: str | None = None
    target: _Target | None = None


class _Policy(_Graph):
    id: str | None = None
    display_name: str | None = None
    description: str | None = None
    provisioning_type: str | None = None
    domain_join_configurations: list[_Join | None] | None = None
    domain_join_configuration: _Join | None = None
    on_premises_connection_id: str | None = None
    image_type: str | None = None
    image_id: str | None = None
    image_display_name: str | None = None
    cloud_pc_naming_template: str | None = None
    windows_setting: _Windows | None = None
    windows_settings: _Windows | None = None
    local_admin_enabled: bool | None = None
    grace_period_in_hours: int | None = None
    assignments: list[_Assignment] | None = Field(default=None)


_READ_ONLY = (
    "alternateResourceUrl", "cloudPcGroupDisplayName", "createdBy", "createdDateTime", "lastModifiedBy",
    "lastModifiedDateTime",
)  # fmt: skip
"""Graph's own book-keeping: nothing is lost with it."""
_NOTHING_LOST: dict[str, Any] = {
    "autopatch": {"autopatchGroupId": None},
    "enableSingleSignOn": False,
    "managedBy": "windows365",
    "microsoftManagedDesktop": {"managedType": "notManaged", "profile": None},
    "scopeIds": ["0"],
    "userExperienceType": "cloudPc",
}
"""Values by which these fields ask for nothing."""
_WHY_LOST = {
    "autopatch": "Windows Autopatch has no counterpart here",
    "autopilotConfiguration": "Autopilot has no counterpart here; packages and postProvisioningScript set a guest up",
    "enableSingleSignOn": "there is no single sign-on here",
    "managedBy": "no other service manages Cloud PCs here",
    "microsoftManagedDesktop": "Microsoft Managed Desktop has no counterpart here",
    "scopeIds": "there are no scope tags here: who may change this file decides",
    "userExperienceType": "there are only whole Cloud PCs here",
    "userSettingsPersistenceConfiguration": "there is no storage for user settings here: a Cloud PC's disk keeps them",
}


def policies_in(content: object, file: str) -> list[object]:
    """What Graph answered: one policy, or a collection's `value`.

    Args:
        content: the file's, parsed.
        file: for messages.

    Raises:
        InvalidConfigurationError: it is neither.
    """
    if isinstance(content, dict) and isinstance(found := content.get("value"), list):
        if content.get("@odata.nextLink"):
            message = "is one page of several: read them all, or use --all"
            raise InvalidConfigurationError([Problem(file, "@odata.nextLink", message)])
        return found
    if isinstance(content, dict) and "displayName" in content:
        return [content]
    message = 'must be a provisioning policy as Graph answers it, or {"value": [...]} with several'
    raise InvalidConfigurationError([Problem(file, "file", message)])


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
    try:
        graph = _Policy.model_validate(values)
    except ValidationError as error:
        raise InvalidConfigurationError(from_validation(file, "", _Policy, error)) from None
    return _Conversion(graph, file, image).run()


class _Conversion:
    def __init__(self, graph: _Policy, file: str, image: str | None) -> None:
        self._graph = graph
        self._file = file
        self._image = image
        self._policy: dict[str, Any] = {}
        self._remarks: list[Remark] = []
        self._problems: list[Problem] = []

    def run(self) -> Imported:
        graph = self._graph
        self._display_name()
        if graph.description:
            self._policy["description"] = graph.description
        if graph.provisioning_type not in (None, "dedicated"):
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
        for name, value in graph.others(*_READ_ONLY):
            if not _asks_nothing(name, value):
                self._lost(name, value, _WHY_LOST.get(name, "is not known here"))
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
        if not name:
            self._refuse("displayName", "is required", found)
            return
        if name != found:
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
            entries = [
                _Join(domainJoinType="hybridAzureADJoin", onPremisesConnectionId=graph.on_premises_connection_id)
            ]
            name = "onPremisesConnectionId"
        joins: list[dict[str, Any]] = []
        for index, entry in enumerate(entries):
            shown = f"{name}[{index}]" if name == "domainJoinConfigurations" else name
            if entry is not None and (join := self._join(shown, entry)) is not None and join not in joins:
                joins.append(join)
        if joins:
            self._policy["domainJoinConfigurations"] = joins
        else:
            self._refuse("domainJoinConfigurations", "has no entry that can be carried over", None)

    def _join(self, field: str, entry: _Join) -> dict[str, Any] | None:
        kind = entry.domain_join_type or entry.type
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
            if value not in (None, "", "automatic", "default"):
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
        if graph.image_type not in (None, "gallery", "custom"):
            self._lost("imageType", graph.image_type, "is not known here; gallery takes its place")
        self._policy["imageType"] = "custom" if graph.image_type == "custom" else "gallery"
        if not graph.image_id:
            self._refuse("imageId", "is required; --image names one of ours", None)
            return
        self._policy["imageId"] = graph.image_id
        where = "an entry of cloudpc:images" if graph.image_type == "custom" else "a recipe in vm-images/"
        self._decide("imageId", shown, f"name an image of ours, {where}: Microsoft's are not here")

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
            why = "Graph tells them only with ?$expand=assignments: write assignments here"
            self._decide("assignments", None, why)
            return
        groups: dict[str, None] = {}
        for index, assignment in enumerate(assignments):
            field, target = f"assignments[{index}].target", assignment.target
            group = target.group_id if target else None
            for name, value in target.others() if target else ():
                self._lost(f"{field}.{name}", value, "belongs to shared Cloud PCs, which are not known here")
            if target and target.service_plan_id:
                why = "is not carried over: here each licence of a member is served"
                self._lost(f"{field}.servicePlanId", target.service_plan_id, why)
            if group:
                groups[group] = None
            else:
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


def _asks_nothing(name: str, value: Any) -> bool:
    if isinstance(value, dict):
        # of its kind (managedType, autopatchGroupId), not of what goes with it
        nothing = _NOTHING_LOST.get(name, {})
        said = {key: part for key, part in value.items() if part not in (None, "") and "@odata." not in key}
        return not said or said == {key: part for key, part in nothing.items() if part is not None}
    return bool(value == _NOTHING_LOST.get(name)) and type(value) is type(_NOTHING_LOST.get(name))


def to_yaml(imported: Imported, others: Mapping[str, Any], keep: Mapping[str, Any]) -> str:
    """The stack's file.

    Args:
        imported: the policy.
        others: the other values of its `config`, by key.
        keep: what else stands in the file, such as the `encryptionsalt` that Pulumi wrote there.
    """
    lines = [
        "# yaml-language-server: $schema=schemas/policy.json\n",
        f"# Imported from Microsoft Graph, provisioning policy {harmless(imported.id)}.\n",
    ]
    lost = [remark for remark in imported.remarks if not remark.decide]
    if lost:
        lines.append("# Not carried over:\n")
        lines += [f"#   {remark}\n" for remark in lost]
    lines.append(f"config:\n  {POLICY}:\n")
    left = [remark for remark in imported.remarks if remark.decide]
    for name, value in imported.policy.items():
        lines += [f"    # TO DECIDE: {r}\n" for r in left if _first(r.field) == name]
        lines.append(indent(yaml_file.dump({name: value}), "    "))
    lines += [f"    # TO DECIDE: {r}\n" for r in left if _first(r.field) not in imported.policy]
    if others:
        lines.append(indent(yaml_file.dump(dict(others)), "  "))
    if keep:
        lines.append(yaml_file.dump(dict(keep)))
    return "".join(lines)


def _first(field: str) -> str:
    name = re.split(r"[.\[]", field)[0]
    legacy = ("onPremisesConnectionId", "domainJoinConfiguration")
    return "domainJoinConfigurations" if name in legacy else name
