"""The tag: it says whose a machine is from the first moment, survives everything, and without it nothing is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cloudpc.model.abilities import KeepsForDiagnosis, ShutsDown
from cloudpc.model.errors import ProvisioningError, TagUnreadable
from cloudpc.model.machines import Order
from cloudpc.model.tags import Phase

from .processes import Processes
from .subject import Subject
from .watching import Watched

MADE_WITH = (
    '{"user": "Zoë 🖥 <zoë@contoso.example>", "keys": ["'
    + '", "'.join(f"ssh-ed25519 {n:064x}" for n in range(20))
    + '"]}'
)


def test_every_field_comes_back_as_it_was_written(subject: Subject, processes: Processes) -> None:
    order = subject.claimed("u/ü & <1>", joined_through="hq", made_with=MADE_WITH, generation=12)
    machine = subject.host.describe(order.id)
    assert machine is not None
    assert machine.tag == order.tag
    assert processes.describe(subject.driver, subject.config, order.id) == machine


def test_the_phase_is_all_that_finish_changes(subject: Subject) -> None:
    order = subject.claimed(made_with=MADE_WITH)
    for phase in (Phase.READY, Phase.HANDED_OVER, Phase.HANDED_OVER):
        subject.host.finish(order.id, phase)
        machine = subject.host.describe(order.id)
        assert machine is not None
        assert machine.tag == replace(order.tag, phase=phase)


def test_what_is_gone_is_not_finished(subject: Subject) -> None:
    with pytest.raises(ProvisioningError):
        subject.host.finish(subject.order().id, Phase.READY)
    assert subject.things() == []


def test_what_a_later_version_says_besides_is_passed_over(subject: Subject) -> None:
    order = subject.claimed()
    subject.add_to_tag(order)
    machine = subject.host.describe(order.id)
    assert machine is not None
    assert machine.tag == order.tag


def test_without_a_readable_tag_it_is_told_and_nothing_of_it_is_touched(subject: Subject) -> None:
    order, host = subject.claimed(), subject.host
    subject.take_tag_away(order)
    before = subject.things()
    for call in _changing(subject, order):
        with pytest.raises(TagUnreadable):
            call()
    assert host.owned(subject.installation) == []
    assert host.remnants(subject.installation) == []
    assert host.discard(host.remnants(subject.installation)) == []
    assert isinstance(host.overview([order.id])[order.id], TagUnreadable)
    assert [*host.unreadable("another installation", [order.id])] == [order.id]
    assert host.unreadable("another installation") == {}
    assert subject.things() == before
    host.retag(order.id, order.tag, order.size.disk_gib)


def test_who_is_told_of_it_knows_its_name(subject: Subject) -> None:
    order, host = subject.claimed(), subject.host
    machine = host.describe(order.id)
    assert machine is not None
    subject.take_tag_away(order)
    assert host.unreadable(subject.installation, [order.id]) == {order.id: machine.name}
    with pytest.raises(TagUnreadable, match=machine.name):
        host.describe(order.id)
    host.retag(order.id, order.tag, order.size.disk_gib)


def test_a_tag_that_state_knows_is_written_again_and_only_where_none_is(subject: Subject) -> None:
    order, host = subject.claimed(), subject.host
    subject.take_tag_away(order)
    host.retag(order.id, order.tag, order.size.disk_gib)
    host.retag(order.id, replace(order.tag, generation=7), order.size.disk_gib)
    machine = host.describe(order.id)
    assert machine is not None
    assert machine.tag == order.tag
    assert [each.id for each in host.owned(subject.installation)] == [order.id]
    assert host.unreadable(subject.installation) == {}


def _changing(subject: Subject, order: Order) -> list[Callable[[], object]]:
    host = subject.host
    calls: list[Callable[[], object]] = [
        lambda: host.describe(order.id),
        lambda: host.claim(subject.order(), Watched()),
        lambda: host.finish(order.id, Phase.HANDED_OVER),
        lambda: host.power_on(order.id, Watched()),
        lambda: host.delete(order.id, Watched()),
    ]
    if isinstance(host, KeepsForDiagnosis):
        keeps = host
        calls.append(lambda: keeps.keep_for_diagnosis(order.id, datetime.now(UTC)))
    if isinstance(host, ShutsDown):
        turns_off = host
        calls.append(lambda: turns_off.shut_down(order.id, Watched(), stays_off=False))
    return calls
