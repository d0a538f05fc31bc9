"""Removal: whole, as often as asked, and of what is ours alone; what takes its time is seen until it is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cloudpc.model.machines import Claimed, KeepsForDiagnosis, Removed
from cloudpc.model.remnants import Kind, Remnant
from cloudpc.model.tags import Phase

from .subject import Subject, cannot
from .watching import Watched


def test_a_whole_life_leaves_nothing(subject: Subject) -> None:
    order, _watch = subject.made()
    subject.host.finish(order.id, Phase.HANDED_OVER)
    subject.delete(order)
    subject.wait_until(lambda: subject.things() == [], f"left: {subject.things()}")
    assert subject.host.remnants(subject.installation) == []


def test_to_delete_again_is_fine(subject: Subject) -> None:
    order = subject.claimed()
    answers = {subject.host.delete(order.id, Watched()) for _ in range(2)}
    assert answers <= {Removed.GONE, Removed.GOING}
    subject.delete(order)
    assert subject.host.delete(order.id, Watched()) is Removed.GONE


def test_what_was_never_there_is_gone(subject: Subject) -> None:
    assert subject.host.delete(subject.order().id, Watched()) is Removed.GONE


def test_another_process_may_delete_it(subject: Subject) -> None:
    order, another = subject.claimed(), subject.open()
    another.delete(order.id, Watched())
    subject.wait_until(lambda: subject.host.describe(order.id) is None, "it is still there")
    another.close()


def test_what_is_going_is_seen_until_it_is_gone(subject: Subject) -> None:
    order = subject.claimed()
    with subject.deletes_slowly():
        assert subject.host.delete(order.id, Watched()) is Removed.GOING
        machine = subject.host.describe(order.id)
        assert machine is not None
        assert machine.tag.phase is Phase.GOING, "another run must not take it for one that works"
        assert subject.host.delete(order.id, Watched()) is Removed.GOING
        assert subject.host.remnants(subject.installation) == []
        assert order.id in subject.host.capacity().machines
    subject.wait_until(lambda: subject.host.describe(order.id) is None, "it is still there")
    assert subject.host.delete(order.id, Watched()) is Removed.GONE


def test_what_is_going_is_not_made_anew_beside_it(subject: Subject) -> None:
    order = subject.claimed()
    with subject.deletes_slowly():
        subject.host.delete(order.id, Watched())
        with pytest.raises(Claimed) as claimed:
            subject.host.claim(subject.order(), Watched())
        assert claimed.value.machine.tag.phase is Phase.GOING
    subject.wait_until(lambda: subject.host.describe(order.id) is None, "it is still there")
    subject.claimed()


def test_what_a_vanished_machine_has_left_is_named_and_discarded(subject: Subject) -> None:
    order = subject.claimed()
    names = subject.lose(order)
    found = subject.host.remnants(subject.installation)
    assert sorted(remnant.name for remnant in found) == sorted(names) != []
    assert all(remnant.is_of([order.id]) and remnant.certain and remnant.kind for remnant in found)
    assert not any(remnant.is_of([subject.order("u-2").id]) for remnant in found)
    assert subject.host.discard(found) == sorted(names)
    subject.host.discard(found)
    assert subject.things() == []


def test_what_others_have_left_is_never_named(subject: Subject) -> None:
    order = subject.claimed()
    subject.lose(order)
    assert subject.host.remnants(subject.installation[:12] + "beef") == []
    subject.host.discard(subject.host.remnants(subject.installation))


def test_nothing_of_a_machine_that_is_there_is_discarded(subject: Subject) -> None:
    """It was made anew after somebody had looked at what was left."""
    lost = subject.claimed()
    subject.lose(lost)
    found = subject.host.remnants(subject.installation)
    there = subject.order()
    subject.put_back(there)
    before = subject.things()
    assert subject.host.discard(found) == []
    assert subject.things() == before
    assert subject.host.remnants(subject.installation) == []


def test_what_is_made_up_is_not_discarded(subject: Subject) -> None:
    order = subject.claimed()
    before = subject.things()
    claims = [Remnant(Kind.DISK, name, order.id.hex[:12]) for name in before]
    assert subject.host.discard(claims) == []
    assert subject.things() == before


def test_what_is_kept_for_diagnosis_is_no_machine_any_more(subject: Subject) -> None:
    host, until = subject.host, datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    if not isinstance(host, KeepsForDiagnosis):
        cannot("keeps nothing for diagnosis")
    order, before = subject.claimed(), host.capacity()
    assert host.keep_for_diagnosis(subject.order("u-2").id, until) == ""
    subject.give_disk(order)
    told = host.keep_for_diagnosis(order.id, until)
    assert host.describe(order.id) is None
    assert order.id not in host.capacity().machines
    assert host.capacity().committed.vcpus < before.committed.vcpus
    kept = host.remnants(subject.installation)
    assert kept
    assert {remnant.keep_until for remnant in kept} >= {until}
    assert all(remnant.is_of([order.id]) for remnant in kept)
    assert any(remnant.name in told for remnant in kept)
    subject.claimed()  # which takes no notice of it
    assert host.discard(kept) == [], "its machine is there"
    subject.delete(order)
    host.discard(host.remnants(subject.installation))
    assert subject.things() == []
