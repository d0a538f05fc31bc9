"""Removal: whole, as often as asked, and of what is ours alone; what takes its time is seen until it is gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cloudpc.model.abilities import KeepsForDiagnosis, LeavesOnlyData
from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.model.machines import Claimed, Removed
from cloudpc.model.remnants import Kind, Remnant
from cloudpc.model.tags import Phase
from cloudpc.operations.consent import Consent
from cloudpc.operations.removal import Removal
from cloudpc.operations.tidying import Meant, tidy
from cloudpc.provisioning.registration import Registration
from tests.core.fake_rim import desired

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
    assert all(remnant.kind.may_hold_data or remnant.policy_id == order.tag.policy_id for remnant in found)
    another = subject.open()
    assert another.discard(found) == sorted(names)
    assert subject.host.discard(found) == sorted(names), "gone now, whoever removed it"
    another.close()
    assert subject.things() == []


def test_nobody_looks_for_more_where_only_data_can_be_left(subject: Subject) -> None:
    host = subject.host
    if not (isinstance(host, LeavesOnlyData) and host.leaves_only_data()):
        cannot("what outlives its machine may be anything")
    subject.lose(subject.claimed())
    found = host.remnants(subject.installation)
    assert [remnant.kind.may_hold_data for remnant in found] == [True] * len(found) != []
    host.discard(found)


def test_what_can_not_be_discarded_yet_is_not_said_to_be_gone(subject: Subject) -> None:
    order = subject.claimed()
    with subject.lose_reserved(order) as names:
        found = subject.host.remnants(subject.installation)
        assert sorted(remnant.name for remnant in found) == sorted(names) != []
        assert subject.host.discard(found) == []
        assert subject.host.remnants(subject.installation) == found
    assert subject.host.discard(found) == sorted(names)
    assert subject.things() == []


def test_a_card_that_stays_is_a_leftover_until_it_is_gone(subject: Subject) -> None:
    """Of one that has ended; and where nobody remembers it, the next run of its policy finds it."""
    wanted = desired().model_copy(update={"installation": subject.installation})
    ends = {"status": Status.DEPROVISIONING, "host": subject.host.name, "leftovers": ("its machine",)}
    recorded = RecordedCloudPC.model_validate({**wanted.model_dump(), **ends})
    nobody: Any = SimpleNamespace(registration=lambda _recorded=None: Registration())
    removal = Removal([subject.host], nobody, Consent())
    order = subject.order(wanted.user_id, service_plan_id=wanted.service_plan.id, policy_id="lab")
    assert order.id == wanted.machine_id
    subject.host.claim(order, Watched())
    with subject.lose_reserved(order):
        cards = [r.name for r in subject.host.remnants(subject.installation) if not r.kind.may_hold_data]
        left = removal.remove(order.id, recorded)
        assert [any(name in why for why in left) for name in cards] == [True] != []
        forgotten = Meant(subject.installation, "lab", {})
        assert tidy([subject.host], removal, forgotten) == []
    for meant in (replace(forgotten, policy_id="other"), replace(forgotten, living={order.id: recorded})):
        assert tidy([subject.host], removal, meant) == [], "somebody else sees to it"
    assert tidy([subject.host], removal, replace(forgotten, wanted=[order.id])) == []
    assert tidy([subject.host], removal, forgotten) == cards
    assert removal.remove(order.id, recorded) == []
    assert subject.things() == []


def test_what_others_have_left_is_never_named(subject: Subject) -> None:
    order = subject.claimed()
    subject.lose(order)
    assert subject.host.remnants(subject.installation[:12] + "beef") == []
    subject.host.discard(subject.host.remnants(subject.installation))


def test_nothing_of_a_machine_that_is_there_is_discarded(subject: Subject) -> None:
    """It was made again after somebody had looked at what was left."""
    lost = subject.claimed()
    subject.lose(lost)
    found = subject.host.remnants(subject.installation)
    there = subject.order()
    subject.put_back(there)
    before = subject.things()
    assert subject.host.discard(found) == []
    assert subject.things() == before
    left = subject.host.remnants(subject.installation)
    assert [each for each in left if not each.superseded] == [], "but for what the attempt before has left"


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
