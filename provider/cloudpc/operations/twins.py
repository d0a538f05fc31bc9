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
    if why := refusal(asked.answers):
        raise TwinsError(why)


def twins(known: Mapping[str, Hypervisor]) -> Pairs:
    """Pairs that are one hypervisor."""
    return [(one, other) for (one, a), (other, b) in combinations(known.items(), 2) if a.is_one_with(b)]


def refusal(known: Mapping[str, Hypervisor]) -> str:
    """What is wrong, and what to do; nothing where each is one of its own."""
    found = twins(known)
    if not found:
        return ""
    pairs = "; ".join(f"{one} and {other} are one hypervisor" for one, other in found)
    remedies = dict.fromkeys(known[name].remedy for pair in found for name in pair)
    told_apart = "".join(f". If they are two that only look like one, {remedy}" for remedy in remedies if remedy)
    return (
        f"cloudpc:hosts: {pairs}. Nothing was touched. Leave out the one on which `cloudpc list` shows no "
        f"Cloud PC{told_apart}"
    )
