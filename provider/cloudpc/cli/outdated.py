"""Which Cloud PCs were made with other settings than their policy has today, and what differs."""

from __future__ import annotations

from collections.abc import Iterable

from cloudpc import configuration, lifecycle
from cloudpc.cli.context import Project
from cloudpc.cli.output import err
from cloudpc.cloud_pc import WITH_MACHINE, PolicySettings
from cloudpc.iac.fleet import CloudPCRecord
from cloudpc.problems import InvalidConfigurationError


def differences(project: Project, cloud_pcs: Iterable[CloudPCRecord]) -> dict[tuple[str, str], list[str]]:
    """What differs, by policy and key; nothing for those that are up to date or have no machine.

    A policy whose file is wrong is left out, and told.
    """
    today: dict[str, PolicySettings | None] = {}
    found = {}
    for cloud_pc in cloud_pcs:
        policy = cloud_pc.policy
        if policy not in today:
            today[policy] = _settings(project, policy)
        settings = today[policy]
        # whoever else is made again is made with today's settings anyway
        if settings is not None and cloud_pc.status in WITH_MACHINE:
            differing = lifecycle.outdated(cloud_pc.settings, settings)
            if differing:
                found[policy, cloud_pc.key] = differing
    return found


def _settings(project: Project, policy: str) -> PolicySettings | None:
    try:
        return configuration.read(policy, project.values(policy), project.directories).settings
    except InvalidConfigurationError as error:
        err.print(f"left out: {policy}, whose file is wrong: {error.problems[0]}", markup=False)
        return None
