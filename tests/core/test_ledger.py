"""Hosts are asked once a run, whatever number of Cloud PCs it makes, and the claim alone gives a place."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest

from cloudpc.model.cloud_pc import Status
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable
from cloudpc.model.machines import Amount, Capacity, Machine, Order
from cloudpc.model.outcome import Outcome
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from cloudpc.provisioning.batched import Batched
from cloudpc.provisioning.ledger import Ledger
from cloudpc.provisioning.looks import Looks
from tests.support.failures import fails_with

from .fake_rim import Run, ScriptedHost, desired, machines

_SOON = 30.0


class Asked(ScriptedHost):
    """A host that counts what it is asked from outside."""

    asked: Counter[str]
    _inside = threading.local()

    def _count(self, call: str) -> None:
        if not getattr(self._inside, "claiming", False):
            self.asked = getattr(self, "asked", Counter())
            self.asked[call] += 1

    def capacity(self) -> Capacity:
        self._count("capacity")
        return super().capacity()

    def describe(self, machine_id: UUID) -> Machine | None:
        self._count("describe")
        return super().describe(machine_id)

    def overview(self, machine_ids: Collection[UUID]) -> Mapping[UUID, Machine | TagUnreadable]:
        self._count("overview")
        return {}

    def claim(self, order: Order, watch: Watch) -> None:
        self._inside.claiming = True
        try:
            super().claim(order, watch)
        finally:
            self._inside.claiming = False


class Deaf(ScriptedHost):
    """A host that takes a question and never answers, until it is told to."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, name)
        self.times = 0
        self.answers = threading.Event()

    def _answer(self) -> None:
        self.times += 1
        self.answers.wait(_SOON)


def _run(looks: Looks, users: Sequence[str], at_once: int = 8) -> dict[str, Outcome]:
    """One run's Cloud PCs, several at once."""

    def one(user: str) -> Outcome:
        run = Run(*looks.ledger.hosts)  # type: ignore[arg-type]
        run.looks = looks
        return run.provision(desired(user_id=user))

    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip(users, pool.map(one, users), strict=True))


def _users(count: int, of: str = "u") -> list[str]:
    return [f"{of}{number}" for number in range(count)]


def test_each_host_is_asked_once_for_its_room(tmp_path: Path) -> None:
    hosts = [Asked(tmp_path, f"h{number}") for number in range(5)]
    outcomes = _run(Looks(Ledger(hosts)), _users(40))
    assert {outcome.status for outcome in outcomes.values()} == {Status.PROVISIONED}
    assert Counter(outcome.host for outcome in outcomes.values()) == dict.fromkeys([h.name for h in hosts], 8)
    assert [host.asked["capacity"] for host in hosts] == [1] * 5


@pytest.mark.parametrize(("room", "made"), [(5, 30), (4, 24), (7, 30)])
def test_two_runs_at_once_fill_what_there_is_and_no_more(tmp_path: Path, room: int, made: int) -> None:
    """Each has its own picture of the hosts, which is wrong from the other's first claim on."""

    def outcomes(of: str) -> Iterator[Outcome]:
        hosts = [ScriptedHost(tmp_path, f"h{number}", cores=room) for number in range(6)]
        yield from _run(Looks(Ledger(hosts)), _users(15, of)).values()

    with ThreadPoolExecutor(2) as pool:
        both = [outcome for found in pool.map(lambda of: list(outcomes(of)), ["a", "b"]) for outcome in found]
    assert Counter(outcome.status for outcome in both) == Counter(
        {Status.PROVISIONED: made, Status.PENDING_PROVISION: 30 - made}
    )
    on = Counter(outcome.host for outcome in both if outcome.host)
    assert max(on.values()) <= room


def test_nobody_waits_for_room_that_another_process_has_made(tmp_path: Path) -> None:
    hosts = [ScriptedHost(tmp_path, name, cores=1) for name in ("a", "b")]
    looks = Looks(Ledger(hosts))
    first = _run(looks, ["u1", "u2", "u3"])
    assert Counter(each.status for each in first.values())[Status.PENDING_PROVISION] == 1
    [left] = ScriptedHost(tmp_path, "b", cores=1).machines()
    hosts[1].delete(left.id, Watch())
    assert _run(looks, ["u4"])["u4"].host == "b"


def test_a_full_fleet_is_not_claimed_by_everybody(tmp_path: Path) -> None:
    hosts = [Asked(tmp_path, f"h{number}", cores=1) for number in range(4)]
    looks = Looks(Ledger(hosts))
    _run(looks, _users(4))
    before = [host.calls.count("claim") for host in hosts]
    assert {each.status for each in _run(looks, _users(20, "late")).values()} == {Status.PENDING_PROVISION}
    more = [host.calls.count("claim") - was for host, was in zip(hosts, before, strict=True)]
    assert all(count <= 8 for count in more), "at most those that came at once before it was known"


def test_who_does_not_answer_is_told_once_and_is_nobodys_trouble(tmp_path: Path) -> None:
    deaf, well = Deaf(tmp_path, "deaf"), [Asked(tmp_path, name) for name in ("a", "b")]
    told: list[str] = []
    looks = Looks(Ledger([deaf, *well], told.append, within=4.0))
    began = time.monotonic()
    outcomes = _run(looks, _users(24))
    assert {outcome.status for outcome in outcomes.values()} == {Status.PROVISIONED}
    assert {outcome.host for outcome in outcomes.values()} == {"a", "b"}
    assert time.monotonic() - began < _SOON / 2
    assert deaf.times == 1, "its one question is still open"
    [line] = told
    assert line == f"nobody is placed on deaf for now: deaf has not answered for 4 s [{ErrorCode.HOST_UNREACHABLE}]"
    deaf.answers.set()


def test_who_answers_late_takes_machines_from_then_on(tmp_path: Path) -> None:
    deaf, full = Deaf(tmp_path, "deaf"), ScriptedHost(tmp_path, "full", cores=1)
    ledger = Ledger([deaf, full], within=2.0)
    assert _run(Looks(ledger), ["u1"])["u1"].host == "full"
    deaf.answers.set()
    until = time.monotonic() + _SOON
    while ledger.silence("deaf") and time.monotonic() < until:
        time.sleep(0.01)
    assert _run(Looks(ledger), ["u2"])["u2"].host == "deaf"


def test_where_nobody_answers_it_waits_and_is_not_asked_by_each(tmp_path: Path) -> None:
    deaf = [Deaf(tmp_path, name) for name in ("a", "b")]
    looks = Looks(Ledger(deaf, within=0.2))
    outcomes = _run(looks, _users(16)).values()
    assert {(o.status, o.error and o.error.code) for o in outcomes} == {
        (Status.PENDING_PROVISION, ErrorCode.HOST_UNREACHABLE)
    }
    assert [host.times for host in deaf] == [1, 1]
    for host in deaf:
        host.answers.set()


def test_a_machine_of_an_interrupted_run_is_found_by_what_its_host_has_said(tmp_path: Path) -> None:
    hosts = [ScriptedHost(tmp_path, name) for name in ("a", "b", "c")]
    assert Run(hosts[1]).provision().status is Status.PROVISIONED
    run = Run(*hosts)
    run.looks = Looks(Ledger(hosts))
    assert run.provision().host == "b"
    assert machines(hosts) == {"b": [Phase.READY]}


def test_a_claim_that_came_while_its_host_was_read_is_counted_once(tmp_path: Path) -> None:
    class Held(ScriptedHost):
        def capacity(self) -> Capacity:
            found = super().capacity()
            if reading.is_set():
                claimed.wait(_SOON)
            return found

    reading, claimed = threading.Event(), threading.Event()
    host, other = Held(tmp_path, "a", cores=4), ScriptedHost(tmp_path, "b")
    ledger, wanted = Ledger([host, other]), desired()
    ledger.read()
    reading.set()
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(lambda: ledger.read(since=time.monotonic()))
        while not _is_asking(ledger, "a"):
            time.sleep(0.01)
        time.sleep(0.1)  # its answer is on its way, and does not know of the claim
        ledger.claimed(host, wanted.machine_id, Amount(vcpus=1))
        claimed.set()
        read.result()
    with ledger.books() as books:
        assert (books["a"].committed.vcpus, books["a"].machines) == (1, {wanted.machine_id})


def _is_asking(ledger: Ledger, name: str) -> bool:
    with ledger.books() as books:
        return books[name].asking_since is not None


def test_a_batch_answers_who_asked_before_it_began() -> None:
    calls: list[list[int]] = []
    first, go = threading.Event(), threading.Event()

    def square(numbers: Collection[int]) -> Mapping[int, int]:
        calls.append(sorted(numbers))
        if len(calls) == 1:
            first.set()
            go.wait(_SOON)
        return {number: number**2 for number in numbers if number != 5}

    batched = Batched(square)
    one = batched.ask(1)
    assert first.wait(_SOON)
    later = [batched.ask(number) for number in (1, 2, 3, 5)]
    go.set()
    assert one.result(_SOON) == 1
    assert [future.result(_SOON) for future in later] == [1, 4, 9, None]
    assert calls == [[1], [1, 2, 3, 5]], "an answer that was on its way is none to a later question"


def test_what_a_batch_raises_is_raised_for_each_and_the_next_goes_on() -> None:
    fails = [True]

    def call(_: Collection[str]) -> Mapping[str, str]:
        if fails.pop():
            raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, "away")
        return {"x": "y"}

    batched = Batched(call)
    with fails_with(ErrorCode.HOST_UNREACHABLE, "away"):
        batched.ask("x").result(_SOON)
    fails.append(False)
    assert batched.ask("x").result(_SOON) == "y"


def test_ending_many_at_once_asks_no_host_for_each(tmp_path: Path) -> None:
    hosts = [Asked(tmp_path, f"h{number}") for number in range(4)]
    looks = Looks(Ledger(hosts))
    made = [desired(user_id=user) for user in _users(40)]
    _run(looks, _users(40))
    asked = sum(sum(host.asked.values()) for host in hosts)
    with ThreadPoolExecutor(32) as pool:
        seen = list(pool.map(lambda pc: list(looks.begin(pc.machine_id).seen()), made))
    assert len(seen) == 40
    assert sum(sum(host.asked.values()) for host in hosts) - asked < 4 * 10
