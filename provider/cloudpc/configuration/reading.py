"""A stack's configuration with all that it names: directory, image, connections, script; all problems at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudpc.configuration import hosts, restricted
from cloudpc.configuration.lookups import References
from cloudpc.configuration.parsing import Parts, StackConfiguration
from cloudpc.directory.configuration import GraphDirectoryConfig
from cloudpc.directory.opening import Directories, Known, identity
from cloudpc.model.cloud_pc import PolicySettings
from cloudpc.model.directory import DirectoryError, Snapshot
from cloudpc.model.policy import ProvisioningPolicy


@dataclass(frozen=True)
class StackInputs:
    """Everything one run of a stack decides on, read and checked."""

    policy_id: str
    configuration: StackConfiguration
    snapshot: Snapshot
    settings: PolicySettings
    warnings: tuple[str, ...] = ()
    """What somebody should know though nothing is wrong."""
    minimum_memory_mib: int = 0
    """What the image needs: Cloud PCs of smaller service plans can't be made."""

    @property
    def policy(self) -> ProvisioningPolicy:
        """The stack's provisioning policy."""
        return self.configuration.policy


def read(
    policy_id: str, values: Mapping[str, Any], directories: Directories, known: Known | None = None
) -> StackInputs:
    """Check the values and everything they name. What is valid is looked up even where something else is wrong.

    Args:
        policy_id: the stack's name.
        values: see `parsing.parse`.
        directories: reads the directory; its folder is that of the stacks' files.
        known: what state knows, and the directory is to be asked about.

    Raises:
        InvalidConfigurationError: with all problems of all files.
        DirectoryError: the directory can't be read at all.
    """
    parts, references = _opened(policy_id, values, directories)
    snapshot, unread = _snapshot(parts, references, known)
    settings = _settings(parts.policy, parts, references) if parts.policy else None
    if parts.policy and parts.directory:
        references.check_groups(parts.policy, parts.directory, snapshot, parts.malformed_fields)
    references.check_audit(parts.audit.path if parts.audit else None)
    parts.problems.extend(references.problems)
    configuration = parts.whole(unread)
    assert snapshot is not None  # noqa: S101 - what is None has been reported
    assert settings is not None  # noqa: S101
    return StackInputs(
        policy_id, configuration, snapshot, settings, tuple(references.warnings), references.minimum_memory_mib
    )


def _opened(policy_id: str, values: Mapping[str, Any], directories: Directories) -> tuple[Parts, References]:
    file = f"{directories.folder.name}/Pulumi.{policy_id}.yaml"
    return Parts(values, file), References(file, directories)


def _snapshot(
    parts: Parts, references: References, known: Known | None
) -> tuple[Snapshot | None, DirectoryError | None]:
    """What is in the directory, or why it can't be read, which must not hide what is wrong with the values."""
    tenant_is_unclear = any(problem.field.startswith("cloudpc:graph") for problem in parts.problems)
    if parts.directory is None or (isinstance(parts.directory, GraphDirectoryConfig) and tenant_is_unclear):
        return None, None
    try:
        found = references.directory(parts.directory, parts.surroundings.graph, parts.policy, known or Known())
    except DirectoryError as error:
        return None, error
    return found, None


def _settings(policy: ProvisioningPolicy, parts: Parts, references: References) -> PolicySettings | None:
    around = parts.surroundings
    hosts_are_known = not any(problem.field.startswith(hosts.KEY) for problem in parts.problems)
    used = around.hosts if hosts_are_known else ()
    networks = [references.network(i, policy, used) for i in range(len(policy.domain_join_configurations))]
    script = references.script(policy)
    parts.problems.extend(restricted.problems(references.file, policy, networks, around.hosts, around.devices))
    if {"imageId", "imageType"} & parts.malformed_fields:
        return None
    forms = references.image(policy, around.images, parts.malformed_images, used)
    if not forms or None in networks:
        return None
    (kind, image), *others = forms.items()
    return PolicySettings(
        provisioning_policy_name=policy.display_name,
        image_type=policy.image_type,
        image_id=policy.image_id,
        image_digest=image.digest,
        image_kind=kind,
        image_forms={other: form.digest for other, form in others},
        guest_os=image.guest_os,
        has_desktop=all(form.has_desktop for form in forms.values()),
        networks=tuple(n for n in networks if n),
        locale=policy.windows_setting.locale,
        time_zone=policy.time_zone,
        local_admin_enabled=policy.local_admin_enabled,
        packages=tuple(policy.packages),
        script=script,
        start_from=policy.start_from,
        first_boot_in_seconds=policy.timeouts.first_boot_in_seconds,
        set_up_in_seconds=policy.timeouts.set_up_in_seconds,
    )


@dataclass(frozen=True)
class PolicyAndDirectory:
    """A policy and the directory it is carried out on, without what making machines needs."""

    policy: ProvisioningPolicy
    directory: str
    """Identifies it: other policies may have the same."""
    snapshot: Snapshot


def read_policy_and_directory(
    policy_id: str, values: Mapping[str, Any], directories: Directories, known: Known | None = None
) -> PolicyAndDirectory:
    """What is needed to say who is entitled, where the image may not even be there. Arguments as `read` has them.

    Raises:
        InvalidConfigurationError: with all problems of the values and of the directory.
        DirectoryError: the directory can't be read.
    """
    parts, references = _opened(policy_id, values, directories)
    snapshot, unread = _snapshot(parts, references, known)
    parts.problems.extend(references.problems)
    configuration = parts.whole(unread)
    assert snapshot is not None  # noqa: S101 - what is None has been reported
    directory = identity(configuration.directory, configuration.surroundings.graph)
    return PolicyAndDirectory(configuration.policy, directory, snapshot)
