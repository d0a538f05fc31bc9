"""Which Cloud PCs were made with other settings than their policy has today, and what differs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cloudpc.cli.context import Project
from cloudpc.cli.output import err
from cloudpc.model.cloud_pc import WITH_MACHINE, PolicySettings
from cloudpc.model.directory import DirectoryError
from cloudpc.model.problems import InvalidConfigurationError
from cloudpc.operations.records import CloudPCRecord
from cloudpc.rules.drift import outdated


@dataclass
class Differences:
    """What differs, by policy and key; nothing for those that are up to date or have no machine."""

    found: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    """Policies whose file is wrong or whose directory can't be read: what they say today is not known."""


def of_all(project: Project, cloud_pcs: Iterable[CloudPCRecord]) -> Differences:
    """Compare each with its policy's current settings; policies that can't be read are reported."""
    today: dict[str, PolicySettings | None] = {}
    result = Differences()
    for cloud_pc in cloud_pcs:
        policy = cloud_pc.policy
        if policy not in today:
            today[policy] = settings_of_today(project, policy)
            if today[policy] is None:
                result.unknown.append(policy)
        settings = today[policy]
        if settings is not None and (differing := of(cloud_pc, settings)):
            result.found[policy, cloud_pc.key] = differing
    return result


def of(cloud_pc: CloudPCRecord, settings: PolicySettings) -> list[str]:
    """What differs for one; nothing for one without a machine, which will be made with the current settings."""
    recorded = cloud_pc.recorded
    return outdated(recorded.settings, settings, recorded.kernel_digest) if recorded.status in WITH_MACHINE else []


def settings_of_today(project: Project, policy: str) -> PolicySettings | None:
    """What a policy's file says now; None, and reported, if it can't be read."""
    try:
        return project.inputs(policy).settings
    except InvalidConfigurationError as error:
        err.print(f"left out: {policy}, whose configuration is wrong: {error.problems[0]}")
    except DirectoryError as error:
        err.print(f"left out: {policy}: {error}")
    return None
