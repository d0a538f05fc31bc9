"""What is short enough for a hundred machines must not meet its twin among ten thousand."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudpc.machines.libvirt import cards, definitions, networks
from cloudpc.machines.libvirt.cards import Cards
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.definitions import Definition
from cloudpc.machines.libvirt.domain_xml import AttachedNetwork, UserNetwork, domain_xml, mac_addresses
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.starting import Starter
from cloudpc.model.errors import ErrorCode, ProvisioningError
from tests.machines.test_domain_xml import spec
from tests.support.failures import fails_with


def _ids(count: int, seed: int) -> list[UUID]:
    chance = random.Random(seed)
    return [UUID(int=chance.getrandbits(128)) for _ in range(count)]


def _having(machine_id: UUID, *macs: str) -> Definition:
    return Definition(machine_id, "name", 1, 512, None, None, None, macs=frozenset(macs))


def test_ten_thousand_machines_on_two_hosts_have_as_many_addresses() -> None:
    ids, given_ = _ids(10_000, seed=1), Cards()
    firsts = [next(mac_addresses(machine_id)) for machine_id in ids]
    assert len(set(firsts)) < len(ids), "this fleet has twins by their first choice"
    addresses = {}
    for number, machine_id in enumerate(ids):
        if number % 1_000 == 0:  # each host is read once in a while
            for host in range(2):
                its = {i: m for i, m in addresses.items() if i.int % 2 == host}
                given_.saw(f"host{host}", [_having(machine, mac) for machine, mac in its.items()])
        addresses[machine_id] = given_.give(machine_id)
    assert len(set(addresses.values())) == len(ids)
    moved = [i for i, first in zip(ids, firsts, strict=True) if addresses[i] != first]
    assert len(moved) == len(ids) - len(set(firsts)), "only a twin gets its next choice"


@settings(max_examples=30, deadline=None)
@given(st.integers(), st.integers(0, 5))
def test_an_address_is_the_first_choice_that_nobody_has(seed: int, taken: int) -> None:
    [machine_id, *others] = _ids(7, seed)
    choices = list(itertools.islice(mac_addresses(machine_id), 6))
    known = Cards()
    known.saw("here", [_having(machine_id, choices[5])])  # its own former one is nobody else's
    known.saw("there", [_having(o, mac) for o, mac in zip(others, choices[:taken], strict=False)])
    assert known.give(machine_id) == choices[taken]
    assert known.give(machine_id) == choices[taken]


@pytest.mark.parametrize("network", [UserNetwork(20022), AttachedNetwork("bridge", "br0")])
def test_a_card_is_read_as_it_was_written(network: UserNetwork | AttachedNetwork) -> None:
    _, second = itertools.islice(mac_addresses(UUID(int=7)), 2)
    read = definitions.parse(domain_xml(spec(network=network, mac=second)))
    assert read.macs == {second}
    assert cards.of(read) == second


def test_a_card_that_somebody_has_added_is_not_taken_for_its_own() -> None:
    first, second = itertools.islice(mac_addresses(UUID(int=7)), 2)
    assert cards.of(_having(UUID(int=7), "52:54:00:00:00:00", second)) == second
    assert cards.of(_having(UUID(int=7), first)) == first
    assert cards.of(_having(UUID(int=7), "02:00:00:00:00:01")) == ""


def test_ports_of_thousands_are_each_their_own_until_there_are_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(networks, "PORTS", range(20_000, 21_000))
    config = LibvirtHostConfig(name="kvm1", uri="test:///default")
    there: list[Definition] = []
    monkeypatch.setattr("cloudpc.machines.libvirt.starting.all_definitions", lambda _: there)
    starter = Starter(config, None, None, HostLocks(tmp_path, config.uri))  # type: ignore[arg-type]
    for machine_id in _ids(1_000, seed=2):
        port = starter._free_port(None, _Order(machine_id), set())  # type: ignore[arg-type]
        there.append(Definition(machine_id, "name", 1, 512, None, port, None))
    assert {each.forwarded_port for each in there} == set(networks.PORTS)
    with fails_with(ErrorCode.NO_CAPACITY, "kvm1", "1000 ports") as raised:
        starter._free_port(None, _Order(UUID(int=1)), set())  # type: ignore[arg-type]
    assert raised.value.code is ErrorCode.NO_CAPACITY, "another host may have one; if none has, it waits"


class _Order:
    def __init__(self, machine_id: UUID) -> None:
        self.id = machine_id


class _Process:
    """What one process knows, and does one thing at a time when it is its turn.

    Args:
        network: machines of all hosts, by host.
        turns: whose turn it is next; when it is nobody's, all go on.
    """

    def __init__(self, name: str, network: dict[str, dict[UUID, str]], turns: _Turns) -> None:
        self.name, self.network, self.turns, self.cards = name, network, turns, Cards()
        self.hosts = [_Reached(self, host) for host in network]
        for host in self.hosts:
            self.cards.reach(host.name, host.look)

    def define(self, machine_id: UUID, mac: str) -> str:
        with self.turns.of(self.name):
            self.network[self.name][machine_id] = mac
            return mac

    def _look(self, host: str, known: Container[UUID]) -> cards.Found:
        with self.turns.of(self.name):
            there = dict(self.network[host])
        return cards.Found(frozenset(there), [_having(i, mac) for i, mac in there.items() if i not in known])


class _Reached:
    def __init__(self, process: _Process, name: str) -> None:
        self.process, self.name = process, name

    def look(self, known: Container[UUID]) -> cards.Found:
        return self.process._look(self.name, known)


class _Turns:
    def __init__(self, order: Sequence[str]) -> None:
        self._left, self._changed = list(order), threading.Condition()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        with self._changed:
            assert self._changed.wait_for(lambda: not self._left or self._left[0] == name, 30)
            yield
            if self._left:
                self._left.pop(0)
            self._changed.notify_all()


@pytest.mark.parametrize("order", sorted(set(itertools.permutations("aaabbb"))), ids="".join)
def test_two_processes_that_give_one_address_at_one_moment_end_with_two(
    order: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each defines its machine on its own host and looks at both hosts, in each order in which that can happen."""
    monkeypatch.setattr(cards, "mac_addresses", lambda i: itertools.chain(["52:54:00:00:00:00"], mac_addresses(i)))
    network: dict[str, dict[UUID, str]] = {"a": {}, "b": {}}
    turns = _Turns(order)
    processes = [_Process(name, network, turns) for name in network]
    with ThreadPoolExecutor(2) as pool:
        ids = [UUID(int=1), UUID(int=2)]
        settled = [pool.submit(p.cards.settle, i, partial(p.define, i)) for p, i in zip(processes, ids, strict=True)]
        macs = [each.result(60) for each in settled]
    assert [network["a"][ids[0]], network["b"][ids[1]]] == macs
    assert len(set(macs)) == 2


def test_a_host_that_does_not_say_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "_WITHIN", 1.0)
    asked: list[str] = []
    over = threading.Event()

    class Mute:
        def look(self, known: Container[UUID]) -> cards.Found:
            asked.append("mute")
            over.wait(30)
            raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, "gone")

    known, mute = Cards(), Mute()
    known.reach("mute", mute.look)
    begin = time.monotonic()
    for machine_id in _ids(20, seed=3):
        known.settle(machine_id, lambda mac: mac)
    over.set()
    assert time.monotonic() - begin < 10, "not for each of the 20"
    assert asked == ["mute"]


def test_many_that_are_made_at_once_share_a_look() -> None:
    asked: list[int] = []

    class Slow:
        def look(self, known: Container[UUID]) -> cards.Found:
            asked.append(1)
            time.sleep(0.02)
            return cards.Found(frozenset(), [])

    known, slow = Cards(), Slow()
    known.reach("slow", slow.look)
    with ThreadPoolExecutor(32) as pool:
        macs = list(pool.map(lambda i: known.settle(i, lambda mac: mac), _ids(64, seed=4)))
    assert len(set(macs)) == 64
    assert len(asked) <= 16
    known.leave("slow")
    known.settle(UUID(int=9), lambda mac: mac)
    assert len(asked) <= 16
