"""What makes machines of a kind known to the rest: one driver each, found by the name it is installed under."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol, cast

from cloudpc.model import added
from cloudpc.model.connection import NetworkPart
from cloudpc.model.hosts import HostConfig
from cloudpc.model.machines import HOSTED, Host, Network

ENTRY_POINTS = "cloudpc.machines"
"""Group of entry points: each names a driver by the scheme of its hosts' URIs, or by their `kind`."""


class Driver(Protocol):
    """One kind of hosts. Every command loads it, so that its module must import nothing that starts slowly."""

    @property
    def config(self) -> type[HostConfig]:
        """An entry of `cloudpc:hosts`: with `uri`, or with `kind: Literal[…]`, and fields of its own."""

    @property
    def network(self) -> type[NetworkPart]:
        """Its own part of a connection's file."""

    @property
    def images(self) -> frozenset[str]:
        """The kinds of images that its hosts take."""

    def open(self, config: Any) -> Host:
        """The host of an entry, which is of the type `config`. Asks nothing of it yet."""

    def this_machine(self) -> HostConfig | None:
        """What is used where nothing is configured; None if hosts of this kind are never this machine."""


@cache
def named(name: str) -> Driver | None:
    """The driver of that name, if it is installed."""
    for entry in added.of_group(ENTRY_POINTS):
        if entry.name == name:
            return cast("Driver", entry.load())
    return None


@cache
def installed() -> Mapping[str, Driver]:
    """All drivers by name."""
    found = {entry.name: named(entry.name) for entry in added.of_group(ENTRY_POINTS)}
    return {name: driver for name, driver in found.items() if driver is not None}


def this_machine() -> tuple[HostConfig, ...]:
    """The host of those who configure none."""
    for driver in installed().values():
        if host := driver.this_machine():
            return (host,)
    return ()


def network_kinds(driver: str) -> frozenset[str]:
    """The kinds of networks that hosts of the driver of this name may have."""
    found = named(driver)
    return frozenset({HOSTED, *(kind.kind for kind in found.network.KINDS)} if found is not None else {HOSTED})


def words_of(network: Network) -> str:
    """What people call this network."""
    if network.kind == HOSTED:
        return "hosted network"
    kinds = (kind for driver in installed().values() for kind in driver.network.KINDS)
    words = next((kind.words for kind in kinds if kind.kind == network.kind), network.kind)
    return f"{words} {network.source}"
