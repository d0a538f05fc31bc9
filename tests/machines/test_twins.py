"""What is short enough for a hundred machines must not meet its twin among ten thousand."""

from __future__ import annotations

import itertools
import random
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
    known.saw("here", [_having(machine_id, choices[5])])  # its own of before is nobody else's
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
    with pytest.raises(ProvisioningError, match="all 1000 ports") as raised:
        starter._free_port(None, _Order(UUID(int=1)), set())  # type: ignore[arg-type]
    assert raised.value.code is ErrorCode.NO_CAPACITY, "another host may have one; if none has, it waits"


class _Order:
    def __init__(self, machine_id: UUID) -> None:
        self.id = machine_id
