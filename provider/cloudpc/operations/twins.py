"""Two entries of `cloudpc:hosts` that are one hypervisor: what is kept through the one is lost through the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from cloudpc.model.errors import CloudPCError
from cloudpc.model.machines import Host, Hypervisor
from cloudpc.operations.asked import Asked

Pairs = list[tuple[str, str]]
"""Of hosts' names."""


class TwinsError(CloudPCError):
    """Hosts of one policy are one hypervisor; in words."""


def ask(hosts: Sequence[Host]) -> Asked[Hypervisor]:
    """Which hypervisor each is; asks nobody where there is no pair."""
    questions = {host.name: host.hypervisor for host in hosts} if len(hosts) > 1 else {}
    return Asked("asking which hypervisor is", questions)


def check(asked: Asked[Hypervisor]) -> None:
    """See that each host is a hypervisor of its own, as far as they answer.

    Raises:
        TwinsError: two are one.
    """
    if found := twins(asked.answers):
        raise TwinsError(refusal(found))


def twins(known: Mapping[str, Hypervisor]) -> Pairs:
    """Pairs that are one hypervisor."""
    return [(one, other) for (one, a), (other, b) in combinations(known.items(), 2) if a.is_one_with(b)]


def refusal(found: Pairs) -> str:
    """What is wrong, and what to do."""
    pairs = "; ".join(f"{one} and {other} are one hypervisor" for one, other in found)
    return (
        f"cloudpc:hosts: {pairs}. Nothing was touched. Leave one of them out: that on which `cloudpc list` shows no "
        "Cloud PC. If they are two that only look like one, give each a host_uuid of its own in "
        "/etc/libvirt/libvirtd.conf"
    )
