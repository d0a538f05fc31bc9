"""Two entries of `cloudpc:hosts` that are one hypervisor: what is kept through the one is lost through the other."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import combinations

from cloudpc.machines.interface import Host, Hypervisor
from cloudpc.provisioning.errors import ProvisioningError, unexpected_told


class TwinsError(ValueError):
    """Hosts of one policy are one hypervisor; in words."""


def check(hosts: Sequence[Host]) -> None:
    """See that each host is a hypervisor of its own, as far as they answer.

    Raises:
        TwinsError: two are one.
    """
    if found := twins(hosts):
        raise TwinsError(refusal(found))


def twins(hosts: Sequence[Host]) -> list[tuple[Host, Host]]:
    """Pairs that are one hypervisor; asks nobody where there is no pair."""
    if len(hosts) < 2:
        return []
    with ThreadPoolExecutor(len(hosts)) as pool:
        asked = [(host, is_) for host, is_ in zip(hosts, pool.map(which, hosts), strict=True) if is_ is not None]
    return [(one, other) for (one, a), (other, b) in combinations(asked, 2) if a.is_one_with(b)]


def which(host: Host) -> Hypervisor | None:
    """The hypervisor that a host is; None while it does not answer."""
    with suppress(ProvisioningError), unexpected_told(f"asking which hypervisor {host.name} is"):
        return host.hypervisor()
    return None


def refusal(found: Sequence[tuple[Host, Host]]) -> str:
    """What is wrong, and what to do."""
    pairs = "; ".join(f"{one.name} and {other.name} are one hypervisor" for one, other in found)
    return (
        f"cloudpc:hosts: {pairs}. Nothing was touched. Leave one of them out: that on which `cloudpc list` shows no "
        "Cloud PC. If they are two that only look like one, give each a host_uuid of its own in "
        "/etc/libvirt/libvirtd.conf"
    )
