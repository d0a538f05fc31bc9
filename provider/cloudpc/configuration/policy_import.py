"""A provisioning policy of Microsoft Graph becomes one of ours: what maps, what is lost, what somebody must decide.

Pure: JSON in, values and a file's text out. Source: Microsoft Graph `cloudPcProvisioningPolicy` with
`$expand=assignments`, v1.0 and beta, as Graph answers it or as PowerShell and Azure CLI export it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from cloudpc.configuration import exported
from cloudpc.files import yaml_file
from cloudpc.model.policy import DomainJoinConfiguration, ProvisioningPolicy, WindowsSetting
from cloudpc.model.problems import InvalidConfigurationError, Problem, from_validation
from cloudpc.model.text import harmless

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
            if value not in (None, "", [], {}) and "@odata." not in name.lower() and name not in known:
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
    assignments: list[_Assignment | None] | None = Field(default=None)


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


_MODELS: tuple[type[_Graph], ...] = (_Policy, _Assignment, _Target, _Windows, _Join)
_NAMES = {
    name.lower(): name
    for name in (
        *(field.alias for model in _MODELS for field in model.model_fields.values() if field.alias),
        *_READ_ONLY, *_NOTHING_LOST, *_WHY_LOST, "managedType", "profile", "autopatchGroupId",
    )
}  # fmt: skip
"""Graph's names, by themselves in small letters."""
_TO_DECIDE = "to-be-decided"
"""In the place of what a policy must have, and can't be read."""
_LISTS = ("domainJoinConfigurations", "assignments", "scopeIds")
_TEXTS = ("id", "displayName", "description", "imageId", "imageDisplayName")
_SPELLINGS = {
    text.lower(): text for text in ("azureADJoin", "hybridAzureADJoin", "gallery", "custom", "dedicated", "automatic")
}
"""Values that decide something, by themselves in small letters."""
_MENDINGS = 100


def policies_in(content: object, file: str) -> list[object]:
    """What Graph answered, or a tool exported: one policy, a list of them, or a collection's `value`.

    Args:
        content: the file's, parsed.
        file: for messages.

    Raises:
        InvalidConfigurationError: it is neither.
    """
    if isinstance(content, dict) and exported.value_of(content, "@odata.nextLink"):
        message = "is one page of several: read them all, or use --all"
        raise InvalidConfigurationError([Problem(file, "@odata.nextLink", message)])
    if isinstance(content, list):
        return [policy for each in content for policy in (policies_in(each, file) if _is_collection(each) else [each])]
    found = exported.value_of(content, "value") if _is_collection(content) else content
    if isinstance(found, list):
        return found
    if isinstance(found, dict) and exported.value_of(found, "displayName") is not None:
        return [found]
    message = 'must be a provisioning policy as Graph answers it, a list of them, or {"value": [...]}'
    raise InvalidConfigurationError([Problem(file, "file", message)])


def _is_collection(content: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(content, dict) and (
        exported.value_of(content, "displayName") is None and exported.value_of(content, "value") is not None
    )


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
    graph, unread = _read(values, file)
    return _Conversion(graph, file, image, unread).run()


def _read(values: object, file: str) -> tuple[_Policy, list[Remark]]:
    """The policy without what can't be read, and what that is: a value never costs the policy.

    Raises:
        InvalidConfigurationError: it is no policy at all.
    """
    mended = _in_graphs_shape(values)
    unread: list[Remark] = []
    for _ in range(_MENDINGS):
        try:
            return _Policy.model_validate(mended), unread
        except ValidationError as error:
            problems = from_validation(file, "", _Policy, error)
            places = [details["loc"] for details in error.errors(include_url=False)]
            if () in places or not isinstance(mended, dict):
                raise InvalidConfigurationError(problems) from None
            for problem, place in zip(problems, places, strict=True):
                unread.append(_unread(problem.field, _taken_out(mended, place), problem.message))
    raise InvalidConfigurationError([Problem(file, "file", "has too much that can't be read")])


def _in_graphs_shape(values: object) -> object:
    found = exported.in_graphs_spelling(values, _NAMES)
    if not isinstance(found, dict):
        return found
    for name in _LISTS:
        if isinstance(found.get(name), dict | str) and not exported.is_cut_off(found[name]):
            found[name] = [found[name]]
    for name in _TEXTS:
        if isinstance(found.get(name), int | float):
            found[name] = str(found[name])
    found["localAdminEnabled"] = _as_boolean(found.get("localAdminEnabled"))
    if "enableSingleSignOn" in found:
        found["enableSingleSignOn"] = _as_boolean(found["enableSingleSignOn"])
    found["gracePeriodInHours"] = _as_number(found.get("gracePeriodInHours"))
    return found


def _as_boolean(value: Any) -> Any:
    return {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value


def _as_number(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value.strip(), re.ASCII) else value


def _taken_out(values: dict[str, Any], place: tuple[str | int, ...]) -> Any:
    """Take what is at this place out; returns it."""
    here: Any = values
    for step in place[:-1]:
        here = here[step]
    found = here[place[-1]]
    here[place[-1]] = None
    return found


def _unread(field: str, value: Any, message: str) -> Remark:
    if exported.is_cut_off(value):
        return Remark(field, value, "is cut off, and left out: export it with ConvertTo-Json -Depth 10")
    return Remark(field, value, f"can't be read, and is left out: it {message}")


class _Conversion:
    def __init__(self, graph: _Policy, file: str, image: str | None, unread: Sequence[Remark] = ()) -> None:
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
        if _spelled(graph.provisioning_type) not in (None, "dedicated"):
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
            entries = [
                _Join(domainJoinType="hybridAzureADJoin", onPremisesConnectionId=graph.on_premises_connection_id)
            ]
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

    def _join(self, field: str, entry: _Join) -> dict[str, Any] | None:
        kind = _spelled(entry.domain_join_type or entry.type)
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
        kind = _spelled(graph.image_type)
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
        where = "an entry of cloudpc:images" if kind == "custom" else "a recipe in vm-images/"
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
            if "assignments" not in self._unread:
                why = "Graph tells them only with ?$expand=assignments: write assignments here"
                self._decide("assignments", None, why)
            return
        groups: dict[str, None] = {}
        for index, assignment in enumerate(assignments):
            if assignment is None:
                continue  # which is said already
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


def _spelled(text: str | None) -> str | None:
    return None if text is None else _SPELLINGS.get(text.lower(), text)


def _asks_nothing(name: str, value: Any) -> bool:
    if isinstance(value, dict):
        # of its kind (managedType, autopatchGroupId), not of what goes with it
        nothing = _NOTHING_LOST.get(name, {})
        said = {key: part for key, part in value.items() if part not in (None, "") and "@odata." not in key.lower()}
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
