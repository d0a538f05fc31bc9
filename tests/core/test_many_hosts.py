"""Many hosts, of which one is slow and one takes connections and never answers, and two policies that share them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_driver import FakeHostConfig
from fake_hypervisor import FakeHost

from cloudpc.model.cloud_pc import Status
from cloudpc.model.machines import Capacity, Order
from cloudpc.model.watch import Watch
from cloudpc.operations import runtime as runtimes
from cloudpc.provisioning import looks
from cloudpc.provisioning.ledger import Ledger

from .fleet import Fleet

_HOSTS, _ROOM = 8, 6
_DEAF, _SLOW = 0, 1
_LONGER_THAN_THE_TEST = 600.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_APART", 0.05)
    monkeypatch.setattr(runtimes, "Ledger", lambda hosts, tell: Ledger(hosts, tell, within=4.0))


@pytest.fixture(autouse=True)
def _never_over_capacity(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever has claimed, the host itself counts what is on it then."""
    claim, over = FakeHost.claim, []

    def counted(self: FakeHost, order: Order, watch: Watch) -> None:
        claim(self, order, watch)
        if (found := self._capacity()).free.vcpus < 0:
            over.append((self.name, found))

    monkeypatch.setattr(FakeHost, "claim", counted)
    yield
    assert over == []


def _fleet(folder: Path, count: int, policy: str = "lab") -> Fleet:
    fleet = Fleet(folder, count, _HOSTS, policy)
    for number in range(_HOSTS):
        fleet.set_host(number, cores=_ROOM)
    fleet.set_host(_DEAF, cores=_ROOM, deaf=_LONGER_THAN_THE_TEST)
    fleet.set_host(_SLOW, cores=_ROOM, slow=0.2)
    return fleet


def _room_of(fleet: Fleet) -> dict[str, Capacity]:
    hosts = [FakeHost(FakeHostConfig.model_validate(entry)) for entry in fleet.entries]
    return {host.name: host._capacity() for host in hosts}


def _on(fleets: Sequence[Fleet]) -> Counter[str]:
    return Counter(pc.host for fleet in fleets for pc in fleet.recorded.values() if pc.host)


def _questions_to_the_deaf(fleet: Fleet) -> int:
    return (fleet.folder / f"h{_DEAF}" / "calls.log").read_text().count("begin deaf")


def test_one_host_that_never_answers_is_asked_once_and_a_slow_one_takes_its_share(tmp_path: Path) -> None:
    fleet = _fleet(tmp_path, 5 * (_HOSTS - 1))
    fleet.run()
    assert {pc.status for pc in fleet.recorded.values()} == {Status.PROVISIONED}
    assert _on([fleet]) == {f"h{number}": 5 for number in range(_HOSTS) if number != _DEAF}
    assert _questions_to_the_deaf(fleet) == 1
    assert {host.name: host.asked["capacity"] for host in fleet.hosts} == dict.fromkeys(_on([fleet]), 1) | {"h0": 1}
    assert {host.name: host.asked["claim"] for host in fleet.hosts if host.asked["claim"]} == _on([fleet])


def test_two_policies_at_once_fill_the_hosts_they_share_and_no_more(tmp_path: Path) -> None:
    owed = _ROOM * (_HOSTS - 1) + 10
    fleets = [_fleet(tmp_path, owed // 2, policy) for policy in ("lab", "hq")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Fleet.run, fleets))
    places = _ROOM * (_HOSTS - 1)
    statuses = Counter(pc.status for fleet in fleets for pc in fleet.recorded.values())
    assert statuses == Counter({Status.PROVISIONED: places, Status.PENDING_PROVISION: owed - places})
    room = _room_of(fleets[0])
    assert {name: found.committed.vcpus for name, found in room.items()} == dict.fromkeys(room, _ROOM) | {"h0": 0}
    assert sum(len(found.machines) for found in room.values()) == places == sum(_on(fleets).values())
    assert _questions_to_the_deaf(fleets[0]) == 2, "each run's one"
    claims = sum(host.asked["claim"] for fleet in fleets for host in fleet.hosts)
    assert claims <= 3 * places, "a host that is full is not tried again by everybody"


def test_a_host_that_falls_silent_keeps_nobody_elsewhere_from_ending(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 6 * _HOSTS, _HOSTS)
    fleet.run()
    fleet.run(entitled=False)
    fleet.set_host(_DEAF, deaf=0.5)
    fleet.run(entitled=False, days=30)
    left = {name: len(room.machines) for name, room in _room_of(fleet).items()}
    assert left == dict.fromkeys(left, 0) | {"h0": 6}
    assert {pc.host for pc in fleet.recorded.values() if pc.leftovers} == {"h0"}
    asked = _questions_to_the_deaf(fleet)
    assert asked < len(fleet.recorded) / 4, "a look that all share, each few seconds; not each of them"
