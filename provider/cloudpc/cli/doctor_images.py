"""What doctor says of policies' images on hosts that can tell beforehand what they have of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cloudpc.cli import wishes
from cloudpc.cli.context import Project
from cloudpc.model.check import Check
from cloudpc.model.directory import DirectoryError
from cloudpc.model.problems import InvalidConfigurationError
from cloudpc.operations import host_validation


def findings(project: Project, policies: Iterable[str]) -> Iterator[Check]:
    """Whether they exist, can be used, and will go on existing; a host that does not answer is reported elsewhere."""
    for name in policies:
        try:
            hosts, asked = wishes.of_policy(project, name)
        except (InvalidConfigurationError, DirectoryError):  # reported for the policy
            continue
        for host in hosts:
            yield from (_of_policy(name, host.name, check) for check in host_validation.image_checks(host, asked))


def _of_policy(policy: str, host: str, check: Check) -> Check:
    return Check(f"policy {policy}: {check.what} on {host}", check.status, check.detail, check.hint)
