"""A provisioning policy as Microsoft Graph has it, read leniently: what can't be read never costs the policy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from cloudpc.configuration import exported
from cloudpc.configuration.imported import Remark
from cloudpc.model.problems import InvalidConfigurationError, Problem, from_validation, join


class _Part(BaseModel):
    """A part of Graph's policy. Every property may be null or missing there, and newer ones may be added."""

    model_config = ConfigDict(
        hide_input_in_errors=True, alias_generator=to_camel, extra="allow", strict=True, frozen=True
    )

    def others(self, *known: str) -> Iterator[tuple[str, Any]]:
        """What has a value and is not read here."""
        for name, value in (self.model_extra or {}).items():
            if value not in (None, "", [], {}) and "@odata." not in name.lower() and name not in known:
                yield name, value


class Join(_Part):
    """One entry of domainJoinConfigurations."""

    domain_join_type: str | None = None
    type: str | None = None
    """The beta's earlier name of domainJoinType."""
    on_premises_connection_id: str | None = None
    region_name: str | None = None
    region_group: str | None = None


class Windows(_Part):
    """windowsSetting."""

    locale: str | None = None
    language: str | None = None


class Target(_Part):
    """Whom an assignment is to."""

    group_id: str | None = None
    service_plan_id: str | None = None


class Assignment(_Part):
    """One entry of assignments."""

    id: str | None = None
    target: Target | None = None


class GraphPolicy(_Part):
    """A policy as Graph has it."""

    id: str | None = None
    display_name: str | None = None
    description: str | None = None
    provisioning_type: str | None = None
    domain_join_configurations: list[Join | None] | None = None
    domain_join_configuration: Join | None = None
    on_premises_connection_id: str | None = None
    image_type: str | None = None
    image_id: str | None = None
    image_display_name: str | None = None
    cloud_pc_naming_template: str | None = None
    windows_setting: Windows | None = None
    windows_settings: Windows | None = None
    local_admin_enabled: bool | None = None
    grace_period_in_hours: int | None = None
    assignments: list[Assignment | None] | None = Field(default=None)


READ_ONLY = (
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
WHY_LOST = {
    "autopatch": "Windows Autopatch has no counterpart here",
    "autopilotConfiguration": "Autopilot has no counterpart here; packages and postProvisioningScript set a guest up",
    "enableSingleSignOn": "there is no single sign-on here",
    "managedBy": "no other service manages Cloud PCs here",
    "microsoftManagedDesktop": "Microsoft Managed Desktop has no counterpart here",
    "scopeIds": "there are no scope tags here: who may change this file decides",
    "userExperienceType": "there are only whole Cloud PCs here",
    "userSettingsPersistenceConfiguration": "there is no storage for user settings here: a Cloud PC's disk keeps them",
}


_MODELS: tuple[type[_Part], ...] = (GraphPolicy, Assignment, Target, Windows, Join)
_NAMES = {
    name.lower(): name
    for name in (
        *(field.alias for model in _MODELS for field in model.model_fields.values() if field.alias),
        *READ_ONLY, *_NOTHING_LOST, *WHY_LOST, "managedType", "profile", "autopatchGroupId",
    )
}  # fmt: skip
"""Graph's names, by themselves in small letters."""
_READ = frozenset(field.alias for field in GraphPolicy.model_fields.values())
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
        message = "is one page of several; read them all, or use --all"
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


def read(values: object, file: str) -> tuple[GraphPolicy, list[Remark]]:
    """The policy without what can't be read, and what that is: a value never costs the policy.

    Raises:
        InvalidConfigurationError: it is no policy at all.
    """
    mended = _in_graphs_shape(values)
    unread: list[Remark] = []
    if isinstance(mended, dict):
        mended = {name: _in_whole_letters(mended[name], (name,), unread) for name in mended}
    for _ in range(_MENDINGS):
        try:
            return GraphPolicy.model_validate(mended), unread
        except ValidationError as error:
            problems = from_validation(file, "", GraphPolicy, error)
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


def _in_whole_letters(value: Any, place: tuple[str | int, ...], remarks: list[Remark]) -> Any:
    """The value without halves of letters, such as of an emoji that a tool has cut: no file can have them."""
    if place[0] not in _READ:
        return value
    match value:
        case str():
            whole = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
            if whole == value:
                return value
            remarks.append(Remark(join("", place), value, "has a part of a letter or emoji alone, which is left out"))
            return whole.strip()
        case dict():
            return {name: _in_whole_letters(each, (*place, name), remarks) for name, each in value.items()}
        case list():
            return [_in_whole_letters(each, (*place, index), remarks) for index, each in enumerate(value)]
    return value


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
        return Remark(field, value, "is cut off, and left out; export it with ConvertTo-Json -Depth 10")
    return Remark(field, value, f"can't be read, and is left out: it {message}")


def spelled(text: str | None) -> str | None:
    """A value that decides something, as Graph spells it."""
    return None if text is None else _SPELLINGS.get(text.lower(), text)


def asks_nothing(name: str, value: Any) -> bool:
    """Whether nothing is lost with this field's value."""
    if isinstance(value, dict):
        # of its kind (managedType, autopatchGroupId), not of what goes with it
        by_default = _NOTHING_LOST.get(name)
        nothing = by_default if isinstance(by_default, dict) else {}
        said = {key: part for key, part in value.items() if part not in (None, "") and "@odata." not in key.lower()}
        return not said or said == {key: part for key, part in nothing.items() if part is not None}
    return bool(value == _NOTHING_LOST.get(name)) and type(value) is type(_NOTHING_LOST.get(name))
