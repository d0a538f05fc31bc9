"""What hosts are asked, and look at for that, grows as the Cloud PCs do: twice as many cost twice as much, not more."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_driver import FakeHostConfig

from cloudpc.cli import doctor_hosts
from cloudpc.cli.doctor_organisation import SeenOnHosts
from cloudpc.configuration.parsing import parse_surroundings
from cloudpc.model.errors import ErrorCode, HostTaken, ProvisioningError
from cloudpc.model.machines import Amount, Machine
from cloudpc.model.remnants import Kind, Remnant
from cloudpc.model.watch import Watch
from cloudpc.operations.inventory import Inventory
from cloudpc.provisioning import looks
from cloudpc.provisioning.ledger import Ledger
from cloudpc.provisioning.looks import Looks
from cloudpc.provisioning.order import tag_of
from tests.support.orders import order

from . import make
from .fake_rim import ScriptedHost, desired
from .fleet import Counted, Fleet

_FEW, _MANY = 12, 48
_ALL_OF_A_HOST = ("capacity", "owned", "unreadable", "remnants")
"""Calls that look at all that a host has."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_APART", 0.05)


def _made(folder: Path, count: int, hosts: int) -> Fleet:
    fleet = Fleet(folder / f"{count}", count, hosts)
    fleet.run()
    return fleet


def _ended(fleet: Fleet) -> None:
    fleet.run(entitled=False)
    fleet.run(entitled=False, days=30)


_RUNS: dict[str, Callable[[Fleet], None]] = {
    "made": lambda _fleet: None,
    "made anew": lambda fleet: fleet.run(generation=2),
    "ended": _ended,
    "refreshed": lambda fleet: fleet.refresh(),
    "refreshed when all are lost": lambda fleet: (fleet.lose(), fleet.refresh())[1],
    "ended when all are lost": lambda fleet: (fleet.lose(), fleet.refresh(), _ended(fleet))[2],
}


@pytest.mark.parametrize("hosts", [1, 4])
@pytest.mark.parametrize("run", _RUNS)
def test_each_costs_the_same_however_many_there_are(tmp_path: Path, run: str, hosts: int) -> None:
    few, many = (_made(tmp_path, count, hosts) for count in (_FEW, _MANY))
    for fleet in (few, many):
        _RUNS[run](fleet)
    each = {count: sum(fleet.asked.values()) / count for count, fleet in ((_FEW, few), (_MANY, many))}
    assert each[_MANY] <= 1.3 * each[_FEW], (few.asked, many.asked)


@pytest.mark.parametrize("hosts", [1, 4])
@pytest.mark.parametrize("run", ["made", "made anew", "ended", "refreshed"])
def test_nothing_that_looks_at_all_of_a_host_is_asked_for_each(tmp_path: Path, run: str, hosts: int) -> None:
    fleet = _made(tmp_path, _MANY, hosts)
    _RUNS[run](fleet)
    asked = {call: fleet.asked[call] for call in _ALL_OF_A_HOST if fleet.asked[call]}
    assert set(asked) <= {"capacity"}
    assert sum(asked.values()) <= (3 * hosts if hosts > 1 else 0), asked


@pytest.fixture
def _together(_soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, too, those that go at one moment find each other."""
    monkeypatch.setattr(looks, "_APART", 0.4)


@pytest.mark.usefixtures("_together")
@pytest.mark.parametrize("run", ["refreshed when all are lost", "ended when all are lost"])
def test_those_that_are_missing_at_one_moment_share_a_list_of_what_is_left(tmp_path: Path, run: str) -> None:
    fleet = _made(tmp_path, _MANY, 1)
    _RUNS[run](fleet)
    assert 1 <= fleet.asked["remnants"] <= _MANY // 8


@pytest.mark.usefixtures("_together")
def test_what_machines_have_left_goes_in_a_few_calls_for_all(tmp_path: Path) -> None:
    fleet = _made(tmp_path, _MANY, 1)
    _RUNS["ended when all are lost"](fleet)
    assert 1 <= fleet.asked["discard"] <= _MANY // 8
    assert fleet.hosts[0].remnants(make.INSTALLATION) == []


@pytest.mark.parametrize("remove", [False, True])
@pytest.mark.parametrize("lost", [False, True])
def test_doctor_asks_a_host_as_often_however_many_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool, remove: bool
) -> None:
    asked = {}
    for count in (_FEW, _MANY):
        fleet = _made(tmp_path, count, 2)
        if lost:
            fleet.lose()
        known = Inventory(given=frozenset(each.machine_id for each in fleet.recorded.values()))
        surroundings = parse_surroundings({"cloudpc:hosts": fleet.entries})
        connected: list[Counted] = []

        def connect(config: FakeHostConfig, connected: list[Counted] = connected) -> Counted:
            connected.append(Counted(config))
            return connected[-1]

        monkeypatch.setattr(doctor_hosts, "connect", connect)
        ours = doctor_hosts.Ours([make.INSTALLATION], known, set(), remove=remove)
        assert list(doctor_hosts.findings({"lab": surroundings}, ours, SeenOnHosts()))
        # before anything is removed, all say first whether somebody has a machine that state does not know
        assert sum(host.asked["owned"] for host in connected) == len(fleet.hosts) * (2 if remove else 1)
        asked[count] = sum((host.asked for host in connected), Counter())
    assert asked[_FEW] == asked[_MANY]


class _KeepsOne(ScriptedHost):
    def discard(self, remnants: Collection[Remnant]) -> list[str]:
        if any(remnant.name == "stuck" for remnant in remnants):
            raise ProvisioningError(ErrorCode.DISK_FAILED, "that disk is stuck")
        return [remnant.name for remnant in remnants]


def test_what_cannot_be_removed_keeps_nothing_else(tmp_path: Path) -> None:
    host = _KeepsOne(tmp_path)
    shared = Looks(Ledger([host]))
    names = ["a", "stuck", "b", "c"]

    def removed(name: str) -> Collection[str]:
        try:
            return shared.discard(host, [Remnant(Kind.VOLUME, name, f"{names.index(name):032x}")])
        except ProvisioningError as error:
            return error.message

    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(removed, names)) == [{"a"}, "that disk is stuck", {"b"}, {"c"}]


@pytest.mark.parametrize(
    "error",
    [
        ProvisioningError(ErrorCode.HOST_UNREACHABLE, "libvirt is gone"),
        HostTaken(ErrorCode.HYPERVISOR_ERROR, "another run has held the host's lock"),
    ],
)
def test_what_is_wrong_with_a_whole_host_is_not_waited_for_by_each(tmp_path: Path, error: ProvisioningError) -> None:
    calls: list[int] = []

    class Away(ScriptedHost):
        def discard(self, remnants: Collection[Remnant]) -> list[str]:
            calls.append(len(remnants))
            raise error

    asked = [(Remnant(Kind.VOLUME, f"v{number}", f"{number:032x}"),) for number in range(9)]
    assert looks._discard(Away(tmp_path), asked) == dict.fromkeys(asked, error)
    assert calls == [9]


def test_one_that_is_stuck_is_found_in_a_few_calls(tmp_path: Path) -> None:
    calls: list[int] = []

    class Counts(_KeepsOne):
        def discard(self, remnants: Collection[Remnant]) -> list[str]:
            calls.append(len(remnants))
            return super().discard(remnants)

    names = [*(f"v{number}" for number in range(63)), "stuck"]
    asked = [(Remnant(Kind.VOLUME, name, f"{number:032x}"),) for number, name in enumerate(names)]
    found = looks._discard(Counts(tmp_path), asked)
    assert [each for each in asked if isinstance(found[each], ProvisioningError)] == asked[-1:]
    assert len(calls) == 13


class _Meets(ScriptedHost):
    together: threading.Barrier

    def owned(self, *args: Any, **more: Any) -> list[Machine]:
        self.together.wait(timeout=30)
        return super().owned(*args, **more)


def test_hosts_are_all_asked_at_once_for_what_state_does_not_know(tmp_path: Path) -> None:
    hosts = [_Meets(tmp_path, f"h{number}") for number in range(6)]
    _Meets.together = threading.Barrier(len(hosts))
    for number, host in enumerate(hosts):
        host.claim(order(tag_of(desired(user_id=f"u{number}")), Amount(1, 512, 8)), Watch())
    found = Inventory().unknown(hosts, make.INSTALLATION)
    assert [host.name for host, _ in found] == [host.name for host in hosts]
    assert Inventory().unknown(hosts, None) == Inventory().unknown([], make.INSTALLATION) == []


def test_one_that_does_not_answer_is_told(tmp_path: Path) -> None:
    hosts = [ScriptedHost(tmp_path, name) for name in ("a", "b")]
    hosts[1].away = True
    with pytest.raises(ProvisioningError) as raised:
        Inventory().unknown(hosts, make.INSTALLATION)
    assert raised.value.code is ErrorCode.HOST_UNREACHABLE
