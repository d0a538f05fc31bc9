"""What is particular to the cloud: refusals that come late, counted commands, small tags, and names that say little."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Script
from cloudpc.model.tags import Tag
from tests.machines.contract.cloudy_subject import CloudySubject
from tests.machines.contract.watching import Watched

from .cloudy.names import id_of, name_of
from .cloudy.tags import from_tags, to_tags

TAG = Tag("installation", "policy", "user", "plan", 1, "CPC-1", "settings")


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Iterator[CloudySubject]:
    yield from CloudySubject.opened(request)


@pytest.mark.parametrize(
    ("code", "ours"), [("AllocationFailed", ErrorCode.NO_CAPACITY), ("InternalError", ErrorCode.START_FAILED)]
)
def test_what_is_refused_after_it_was_accepted_is_given_back(
    subject: CloudySubject, code: str, ours: ErrorCode
) -> None:
    subject.configure(faults=[{"call": "allocate", "code": code}])
    with pytest.raises(ProvisioningError) as refused:
        subject.host.claim(subject.order(), Watched())
    assert refused.value.code is ours
    subject.wait_until(lambda: subject.things() == [], f"left: {subject.things()}")


def test_who_has_asked_too_often_is_told_and_waits(subject: CloudySubject) -> None:
    subject.configure(commands={"bucket": 1, "refill": 0.3})
    order, watch = subject.made()
    guest = subject.host.guest(order.id)
    for number in range(3):
        [done] = guest.run([Script(f"echo {number}", timeout=30)], watch)
        assert done.output == f"{number}\n"
    assert any("takes no more commands for now" in line for line in watch.lines)


def test_scripts_that_go_together_are_counted_once(subject: CloudySubject) -> None:
    subject.configure(commands={"bucket": 1, "refill": 600})
    order, _watch = subject.made()
    scripts = [Script(f"echo {number}", timeout=30) for number in range(10)]
    assert [done.exit_code for done in subject.host.guest(order.id).run(scripts, Watched())] == [0] * 10


def test_what_a_dead_claim_has_left_goes_with_the_next_one(subject: CloudySubject) -> None:
    order = subject.order()
    subject.cloud.put_card(f"{name_of(order.id)}-dead-nic", subnet="default", tags=to_tags(order.tag))
    [left] = subject.host.remnants(subject.installation)
    assert left.is_of([order.id])
    subject.claimed()
    assert subject.host.remnants(subject.installation) == []
    assert len(subject.things()) == 3


@pytest.mark.parametrize("made_with", ["", "ü🖥" * 3000, os.urandom(2000).hex()])
def test_a_long_tag_is_many_small_ones(made_with: str) -> None:
    tag = replace(TAG, user_id="u" * 600, made_with=made_with)
    tags = to_tags(tag)
    assert len(tags) <= 50
    assert all(len(text) <= 256 for text in tags.values())
    assert from_tags(tags) == tag


def test_what_fits_in_no_tags_is_left_out_and_the_rest_is_whole() -> None:
    tags = to_tags(replace(TAG, made_with=os.urandom(20_000).hex()))
    assert from_tags(tags) == TAG


def test_a_name_has_fifteen_characters_and_says_which_machine_it_is_of() -> None:
    machine_id = UUID("6e5b1f0c-8a3d-5c11-9d20-0123456789ab")
    name = name_of(machine_id)
    assert len(name) == 15
    begins = id_of(name)
    assert begins is not None
    assert machine_id.hex.startswith(begins)
    assert id_of("cpc-of-somebody") is None
