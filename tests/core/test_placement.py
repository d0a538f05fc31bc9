"""Which host a machine goes to, above all when many are placed at once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from uuid import UUID

from cloudpc.model.cloud_pc import DesiredCloudPC, Status
from cloudpc.model.machines import Amount, Capacity, Limits, Order
from cloudpc.model.outcome import Outcome
from cloudpc.model.tags import Tag
from cloudpc.model.watch import Watch
from cloudpc.provisioning.book import headroom
from cloudpc.provisioning.ledger import Ledger
from cloudpc.provisioning.looks import Looks
from cloudpc.provisioning.placement import Search
from tests.support.orders import order

from .fake_rim import Run, ScriptedHost, desired


def _id(pc: DesiredCloudPC) -> UUID:
    return pc.machine_id


def _tag(pc: DesiredCloudPC) -> Tag:
    return Tag(pc.installation, pc.policy_id, pc.user_id, pc.service_plan.id, 1, pc.device_name, "settings")


class SlowlyRead(ScriptedHost):
    """Everybody has read its capacity before anybody claims a place."""

    barrier: Barrier
    claiming = threading.local()

    def capacity(self) -> Capacity:
        found = super().capacity()
        if not getattr(self.claiming, "now", False):
            self.barrier.wait(timeout=30)
        return found

    def claim(self, order: Order, watch: Watch) -> None:
        self.claiming.now = True
        super().claim(order, watch)
        self.claiming.now = False


def test_many_at_once_do_not_all_go_to_the_same_host(tmp_path: Path) -> None:
    count = 12
    hosts = [SlowlyRead(tmp_path, name, cores=cores) for name, cores in [("a", 16), ("b", 16), ("c", 32)]]
    SlowlyRead.barrier = Barrier(len(hosts))
    with ThreadPoolExecutor(count) as pool:
        outcomes = _all_placed(pool, hosts, count)
    assert Counter(outcome.host for outcome in outcomes) == {"a": 3, "b": 3, "c": 6}


def _all_placed(pool: ThreadPoolExecutor, hosts: Sequence[ScriptedHost], count: int) -> list[Outcome]:
    """By one run."""
    looks = Looks(Ledger(hosts))

    def provision(number: int) -> Outcome:
        run = Run(*hosts)
        run.looks = looks
        return run.provision(desired(user_id=f"u{number}"))

    return list(pool.map(provision, range(count)))


def test_places_given_at_once_are_never_more_than_there_are(tmp_path: Path) -> None:
    hosts = [ScriptedHost(tmp_path, name, cores=cores) for name, cores in [("a", 3), ("b", 2)]]
    with ThreadPoolExecutor(8) as pool:
        outcomes = _all_placed(pool, hosts, 8)
    assert Counter(outcome.status for outcome in outcomes) == {Status.PROVISIONED: 5, Status.PENDING_PROVISION: 3}
    assert Counter(outcome.host for outcome in outcomes if outcome.host) == {"a": 3, "b": 2}


def test_a_choice_whose_machine_is_counted_is_not_counted_twice(tmp_path: Path) -> None:
    hosts = [ScriptedHost(tmp_path, name, cores=64) for name in ("a", "b")]
    first, second = (desired(user_id=name) for name in ("u1", "u2"))
    size, ledger = Amount(vcpus=8), Ledger(hosts)
    with Search(ledger, hosts, _id(first), size) as search:
        assert next(search.candidates()).name == "a"
        hosts[0].claim(order(_tag(first), size), Watch())
        hosts[1].claim(order(_tag(second), size), Watch())
        ledger.read(since=time.monotonic())
        # each holds one, so they are equally full: a choice that counts beside its machine would make `a` the fuller
        with Search(ledger, hosts, _id(desired(user_id="u3")), size) as another:
            assert [host.name for host in another.candidates()] == ["a", "b"]


def test_a_choice_is_forgotten_once_capacity_shows_it(tmp_path: Path) -> None:
    hosts = [ScriptedHost(tmp_path, name, cores=64) for name in ("a", "b")]
    placed = [Run(*hosts).provision(desired(user_id=f"u{i}")).host for i in range(4)]
    assert placed == ["a", "b", "a", "b"]


def test_a_host_without_limits_has_room_for_anything() -> None:
    size = Amount(64, 2**20, 2**14)
    cloud = Capacity(Limits(), Amount(1000, 2**30, 2**20))
    assert min(cloud.free) == float("inf")
    assert headroom(cloud, size) == 1
    quota = Capacity(Limits(vcpus=100), Amount(vcpus=10))
    assert headroom(quota, size) == 26 / 100
    assert headroom(quota, Amount(vcpus=91)) < 0


def test_what_is_there_anyway_is_filled_before_what_costs_money_by_the_machine(tmp_path: Path) -> None:
    desk, cloud = ScriptedHost(tmp_path, "desk", cores=2), ScriptedHost(tmp_path, "cloud", cores=1000)
    placed = []
    for number in range(4):
        run = Run(desk, cloud)
        run.paid = ("cloud",)
        placed.append(run.provision(desired(user_id=f"u{number}")).host)
    assert placed == ["desk", "desk", "cloud", "cloud"]


def test_one_that_failed_there_is_made_where_it_costs_money(tmp_path: Path) -> None:
    broken = ScriptedHost(tmp_path, "desk", faults=[{"call": "create_disk", "fault": "error"}])
    run = Run(broken, ScriptedHost(tmp_path, "cloud", cores=1))
    run.paid = ("cloud",)
    outcome = run.provision()
    assert (outcome.host, outcome.attempts) == ("cloud", 2)
