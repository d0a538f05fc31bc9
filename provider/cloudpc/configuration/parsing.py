"""A stack's configuration: the provisioning policy and what is needed to carry it out, each value valid by itself.

What the values name is looked up by `reading`. All that is wrong is reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, Field, ValidationError

from cloudpc.configuration import actions, hosts, stand_ins
from cloudpc.configuration.values import KEYS, NAMESPACE, Values, told
from cloudpc.devices.configuration import CredentialsConfig, DevicesConfig
from cloudpc.directory.configuration import DirectoryConfig, GraphDirectoryConfig, LocalDirectoryConfig
from cloudpc.graph.configuration import GraphConfig
from cloudpc.images import custom, entries, sources
from cloudpc.images.entries import ImageEntry
from cloudpc.model import drivers
from cloudpc.model.directory import DirectoryError
from cloudpc.model.hosts import HostConfig
from cloudpc.model.policy import Part, ProvisioningPolicy
from cloudpc.model.problems import InvalidConfigurationError, Problem, closest, from_validation, instead_of_text
from cloudpc.model.text import command_line
from cloudpc.rules.today import Traces

_Model = TypeVar("_Model", bound=BaseModel)


class SafetyConfig(Part):
    """What stops a run that would end many Cloud PCs because of the directory."""

    mass_loss_in_percent: int = Field(
        default=50, ge=0, le=100, description="More than this share of a policy's Cloud PCs (and more than two)."
    )


class AuditConfig(Part):
    """A file to which each change of a Cloud PC is appended as a line of JSON."""

    path: str = Field(min_length=1, description="Relative to the folder of the stack's file, and in the project.")


@dataclass(frozen=True)
class Surroundings:
    """What Cloud PCs are made with and made known to: all that the provider process needs of a configuration."""

    hosts: tuple[HostConfig, ...]
    images: Mapping[str, ImageEntry]
    graph: GraphConfig
    devices: DevicesConfig
    credentials: CredentialsConfig


@dataclass(frozen=True)
class StackConfiguration:
    """The values under `cloudpc:` of one stack, each valid by itself."""

    policy: ProvisioningPolicy
    directory: DirectoryConfig
    surroundings: Surroundings
    installation: str | None
    actions: Traces
    safety: SafetyConfig
    audit: AuditConfig | None
    deleted: bool


def parse(values: Mapping[str, Any], file: str) -> StackConfiguration:
    """Check the values of a stack's configuration.

    Args:
        values: by full key, for example `cloudpc:policy`; keys of other namespaces are ignored.
        file: their file, for messages.

    Raises:
        InvalidConfigurationError: with all problems.
    """
    return Parts(values, file).whole()


def parse_surroundings(values: Mapping[str, Any]) -> Surroundings:
    """The part of the configuration that machines need, for the provider process.

    Raises:
        InvalidConfigurationError: with all problems.
    """
    problems: list[Problem] = []
    found, _ = _surroundings(values, "configuration", problems)
    if problems:
        raise InvalidConfigurationError(told(values, problems))
    return found


def _surroundings(values: Mapping[str, Any], file: str, problems: list[Problem]) -> tuple[Surroundings, set[str]]:
    """What is valid, and the names of malformed images."""
    images, malformed = _images(values.get("cloudpc:images"), file, problems)
    found = hosts.read(values.get(hosts.KEY), file, problems)
    graph = _optional(GraphConfig, values, "graph", file, problems) or GraphConfig()
    devices = _optional(DevicesConfig, values, "devices", file, problems) or DevicesConfig()
    credentials = _optional(CredentialsConfig, values, "credentials", file, problems) or CredentialsConfig()
    return Surroundings(
        tuple(host.beside(graph.endpoint, graph.tenant_id) for host in found or drivers.this_machine()),
        images,
        graph,
        devices,
        credentials,
    ), malformed


class Parts:
    """The values part by part: what is valid, and what is wrong with the rest."""

    def __init__(self, values: Mapping[str, Any], file: str) -> None:
        self._values, self._file = values, file
        self.problems: list[Problem] = []
        for key in values:
            if str(key).startswith(NAMESPACE) and key not in KEYS:
                message = f"is not a known key{closest(key, KEYS)}; known are: {', '.join(KEYS)}"
                self.problems.append(Problem(file, key, message))
        self.malformed_fields: set[str] = set()
        """Fields of the policy, and entries of its lists, that something else stands in for."""
        self.policy = _part(ProvisioningPolicy, values, "policy", file, self.problems)
        if self.policy is None:
            self.policy, self.malformed_fields = _as_far_as_valid(values)
        self.directory = _directory(values, file, self.problems)
        self.surroundings, self.malformed_images = _surroundings(values, file, self.problems)
        self._check_tenant(file)
        self._check_passwords(file)
        self.actions = actions.traces(_optional(actions.model(), values, "actions", file, self.problems))
        self.safety = _optional(SafetyConfig, values, "safety", file, self.problems) or SafetyConfig()
        self.audit = _optional(AuditConfig, values, "audit", file, self.problems)
        self.deleted = values.get("cloudpc:deleted", False)
        if self.deleted in ("true", "false"):  # as the engine hands it over
            self.deleted = self.deleted == "true"
        if not isinstance(self.deleted, bool):
            self.problems.append(Problem(file, "cloudpc:deleted", "must be true or false", self.deleted))
        elif self.deleted and self.policy is not None and self.policy.assignments:
            message = "is marked, but the policy is assigned to groups; take its assignments out, or remove the mark"
            self.problems.append(Problem(file, "cloudpc:deleted", message))
        self.installation = values.get("cloudpc:installation")
        if self.installation is not None and not _is_installation(self.installation):
            message = "must be text of 8 to 64 characters a-z and 0-9"
            self.problems.append(Problem(file, "cloudpc:installation", message, self.installation))

    def _check_passwords(self, file: str) -> None:
        """Pulumi keeps a stack's plain values in its state."""
        if not (isinstance(self._values, Values) and self._values.is_plain("cloudpc:images")):
            return
        for name, image in self.surroundings.images.items():
            if isinstance(image, custom.CustomImage) and image.signs_in:
                field = f"cloudpc:images.{name}.url"
                seal = command_line("pulumi", "config", "set", "--stack", "STACK", "--secret", "--path", field, "URL")
                message = (
                    "has user and password, which Pulumi would keep in its state as they are; seal the whole URL with "
                    f"`{seal}`"
                )
                self.problems.append(Problem(file, field, message))

    def _check_tenant(self, file: str) -> None:
        """What is made in a tenant is made for its users, known by its ids."""
        if not isinstance(self.directory, LocalDirectoryConfig):
            return
        devices, credentials = self.surroundings.devices, self.surroundings.credentials
        needs = "needs cloudpc:directory of kind graph: the users of an embedded directory are not those of the tenant"
        if devices.registration != "none":
            self.problems.append(Problem(file, "cloudpc:devices.registration", needs, devices.registration))
        if credentials.kind != "password":
            self.problems.append(Problem(file, "cloudpc:credentials.kind", needs, credentials.kind))

    def whole(self, unread: DirectoryError | None = None) -> StackConfiguration:
        """All parts, each valid.

        Args:
            unread: why the directory could not be read; it is reported with the problems, all at once.

        Raises:
            InvalidConfigurationError: a part is not valid.
            DirectoryError: the directory could not be read, and nothing else is wrong.
        """
        if self.problems or self.policy is None or self.directory is None:
            unknown = [Problem(self._file, "cloudpc:directory", str(unread))] if unread else []
            raise InvalidConfigurationError(told(self._values, [*self.problems, *unknown]))
        if unread:
            raise unread
        return StackConfiguration(
            self.policy, self.directory, self.surroundings, self.installation,
            self.actions, self.safety, self.audit, self.deleted,
        )  # fmt: skip


def _is_installation(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z0-9]{8,64}", value) is not None


def _part(
    model: type[_Model], values: Mapping[str, Any], name: str, file: str, problems: list[Problem]
) -> _Model | None:
    key = NAMESPACE + name
    if values.get(key) is None:
        problems.append(Problem(file, key, "is required"))
        return None
    try:
        return model.model_validate(values[key], strict=_strictness(values, key))
    except ValidationError as error:
        problems.extend(from_validation(file, key, model, error))
        return None


def _strictness(values: Mapping[str, Any], key: str) -> bool | None:
    """For pydantic: None for the model's own; numbers and truth values that are secrets come as text."""
    return False if isinstance(values, Values) and values.is_sealed(key) else None


def _as_far_as_valid(values: Mapping[str, Any]) -> tuple[ProvisioningPolicy | None, set[str]]:
    """The policy without what is wrong in it: see `stand_ins`."""
    key = NAMESPACE + "policy"
    return stand_ins.valid_fields(values.get(key), strict=_strictness(values, key))


def _directory(values: Mapping[str, Any], file: str, problems: list[Problem]) -> DirectoryConfig | None:
    value = values.get("cloudpc:directory")
    kinds: dict[str, type[LocalDirectoryConfig] | type[GraphDirectoryConfig]] = {
        "local": LocalDirectoryConfig,
        "graph": GraphDirectoryConfig,
    }
    kind = str(value.get("kind")) if isinstance(value, dict) else "local"
    if kind not in kinds:
        problems.append(Problem(file, "cloudpc:directory.kind", "must be 'local' or 'graph'", kind))
        return None
    return _part(kinds[kind], values, "directory", file, problems)


def _optional(
    model: type[_Model], values: Mapping[str, Any], name: str, file: str, problems: list[Problem]
) -> _Model | None:
    return None if values.get(NAMESPACE + name) is None else _part(model, values, name, file, problems)


def _images(value: Any, file: str, problems: list[Problem]) -> tuple[dict[str, ImageEntry], set[str]]:
    """Custom images by name, and the names of those that are malformed."""
    images: dict[str, ImageEntry] = {}
    if value is not None and not isinstance(value, dict):
        problems.append(
            Problem(file, "cloudpc:images", f"must be a mapping of names to images{instead_of_text(value)}", value)
        )
        return images, set()
    models = sources.entries() if value else []
    for name, image in (value or {}).items():
        if (found := entries.read(image, file, f"cloudpc:images.{name}", models, problems)) is not None:
            images[str(name)] = found
    return images, {str(name) for name in value or {}} - images.keys()


def policy_in(values: Mapping[str, Any]) -> ProvisioningPolicy | None:
    """The policy alone; None: it is missing or wrong."""
    return _part(ProvisioningPolicy, values, "policy", "", [])


def uses_tenant(values: Mapping[str, Any]) -> bool:
    """Whether a policy's directory is a tenant, as far as its values can be read."""
    return isinstance(_directory(values, "", []), GraphDirectoryConfig)


def group_references(values: Mapping[str, Any]) -> list[str]:
    """The groups that a policy names, as far as its values can be read: all policies' are asked for at once."""
    policy, _ = _as_far_as_valid(values)
    return [assignment.target.group_id for assignment in policy.assignments] if policy else []
