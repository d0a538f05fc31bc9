"""Looking: all ways to look say the same, in every process, and nothing that looks can fail a run by surprise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Network, Order
from cloudpc.model.tags import Phase

from .processes import Processes
from .subject import Ready, Subject
from .watching import Watched


def test_describe_overview_and_owned_agree(subject: Subject) -> None:
    one, two = subject.claimed("u-1"), subject.claimed("u-2")
    host = subject.host
    described = {order.id: host.describe(order.id) for order in (one, two)}
    assert host.overview([one.id, two.id, uuid4()]) == described
    owned = {machine.id: replace(machine, has_disk=False) for machine in host.owned(subject.installation)}
    assert owned == {i: machine and replace(machine, has_disk=False) for i, machine in described.items()}
    assert [machine.id for machine in host.owned(subject.installation, besides={one.id})] == [two.id]
    assert host.owned("another installation") == []
    assert host.overview([]) == {}


def test_what_is_there_takes_its_room_and_gives_it_back(subject: Subject) -> None:
    before = subject.host.capacity()
    order = subject.claimed()
    taken = subject.host.capacity()
    assert taken.machines == before.machines | {order.id}
    assert taken.committed.vcpus == before.committed.vcpus + order.size.vcpus
    assert taken.committed.memory_mib >= before.committed.memory_mib + order.size.memory_mib
    assert taken.committed.disk_gib >= before.committed.disk_gib + order.size.disk_gib
    subject.delete(order)
    after = subject.host.capacity()
    assert (after.committed, after.machines) == (before.committed, before.machines)


def test_what_others_have_there_takes_room_too(subject: Subject) -> None:
    other = subject.installation[:12] + "beef"
    before = subject.host.capacity()
    theirs = subject.claimed(installation=other)
    taken = subject.host.capacity()
    assert theirs.id in taken.machines
    assert taken.committed.vcpus == before.committed.vcpus + theirs.size.vcpus
    subject.delete(theirs)


def test_another_process_sees_the_same(ready: Ready, processes: Processes) -> None:
    described = ready.subject.host.describe(ready.order.id)
    assert described is not None
    assert processes.describe(ready.subject.driver, ready.subject.config, ready.order.id) == described


def test_a_closed_host_lets_go_and_its_machines_stay(subject: Subject) -> None:
    order, another = subject.claimed(), subject.open()
    before = another.describe(order.id)
    another.close()
    another.close()
    assert subject.host.describe(order.id) == before
    assert another.describe(order.id) == before, "it is opened again where it is needed"
    another.close()


def test_it_is_one_by_whatever_way(subject: Subject) -> None:
    another = subject.open()
    assert subject.host.name == another.name == subject.config.name
    assert subject.host.hypervisor().is_one_with(another.hypervisor())
    another.close()


def test_its_check_says_what_is_well(subject: Subject) -> None:
    checks = subject.host.check()
    assert checks
    assert all(check.what for check in checks)
    assert all(check.hint for check in checks if check.status == "failed")


def test_its_check_never_raises(subject: Subject) -> None:
    with subject.away():
        assert "failed" in [check.status for check in subject.host.check()]


def test_a_host_that_is_away_says_so(subject: Subject) -> None:
    order = subject.claimed()
    with subject.away():
        for call in (*_looks(subject, order), *_changes(subject, order)):
            with pytest.raises(ProvisioningError) as away:
                call()
            assert away.value.code is ErrorCode.HOST_UNREACHABLE
            assert away.value.retriable
    assert subject.host.describe(order.id) is not None


def test_its_own_network_and_others_are_checked(subject: Subject) -> None:
    for network in (Network(), subject.another_network):
        assert {check.status for check in subject.host.check_network(network)} <= {"passed", "warning"}


def test_a_network_that_is_not_there_is_told(subject: Subject) -> None:
    with pytest.raises(ProvisioningError) as missing:
        subject.host.check_network(subject.unknown_network)
    assert missing.value.code is ErrorCode.NETWORK_NOT_FOUND


def _looks(subject: Subject, order: Order) -> list[Callable[[], object]]:
    """None may answer that there is nothing, where nobody has said so."""
    host = subject.host
    return [
        host.capacity,
        host.hypervisor,
        lambda: host.describe(order.id),
        lambda: host.overview([order.id]),
        lambda: host.owned(subject.installation),
        lambda: host.unreadable(subject.installation),
        lambda: host.remnants(subject.installation),
        lambda: host.check_network(order.network),
    ]


def _changes(subject: Subject, order: Order) -> list[Callable[[], object]]:
    return [
        lambda: subject.host.claim(subject.order("u-2"), Watched()),
        lambda: subject.host.finish(order.id, Phase.HANDED_OVER),
        lambda: subject.host.delete(order.id, Watched()),
    ]
