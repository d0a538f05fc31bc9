"""Making: reported stage by stage, ended soon when it is cancelled, and over when its time is."""

from __future__ import annotations

import time

import pytest

from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.machines import PowerState
from cloudpc.model.stages import Stage

from .subject import Ready, SeedOf, Subject, cannot
from .watching import Watched

MAKING = [Stage.IMAGE, Stage.DISK, Stage.STARTING, Stage.FIRST_BOOT]


def test_stages_are_told_in_their_order(ready: Ready) -> None:
    """Not every host has all of them; the last one is always the guest's."""
    told = [stage for stage in ready.watch.stages if stage in MAKING]
    assert told == [stage for stage in MAKING if stage in told]
    assert ready.watch.now is Stage.FIRST_BOOT


def test_what_is_ready_runs_and_is_as_it_was_ordered(ready: Ready) -> None:
    order = ready.order
    machine = ready.subject.host.describe(order.id)
    assert machine is not None
    assert (machine.tag, machine.power, machine.size) == (order.tag, PowerState.RUNNING, order.size)
    assert machine.has_disk


def test_what_its_first_boot_reads_is_asked_for_once(ready: Ready) -> None:
    """It has a new password each time."""
    assert isinstance(ready.order.seed, SeedOf)
    assert ready.order.seed.asked == 1


@pytest.mark.parametrize("stage", MAKING)
def test_cancel_ends_it_soon_and_leaves_only_what_its_tag_names(subject: Subject, stage: Stage) -> None:
    order, watch = subject.order(), Watched(cancel_at=lambda now: now is stage)
    try:
        subject.host.claim(order, watch)
        subject.host.make(order, watch)
    except Cancelled:
        assert time.monotonic() - watch.cancelled_at < subject.soon
    else:
        assert stage not in watch.stages, "it went on"
        cannot(f"has no stage {stage}")
    machine = subject.host.describe(order.id)
    assert machine is None or machine.tag.attempt == order.tag.attempt
    assert subject.host.remnants(subject.installation) == []
    subject.delete(order)
    subject.wait_until(lambda: subject.things() == [], f"left: {subject.things()}")


def test_its_time_ends_it_and_says_so(subject: Subject) -> None:
    order, watch = subject.never_ready(), Watched()
    subject.host.claim(order, watch)
    began = time.monotonic()
    with pytest.raises(ProvisioningError) as late:
        subject.host.make(order, watch)
    assert late.value.code is ErrorCode.BOOT_TIMEOUT
    assert late.value.retriable
    assert watch.now is Stage.FIRST_BOOT
    assert time.monotonic() - began < order.first_boot_in_seconds + subject.until_gone
    assert subject.host.describe(order.id) is not None, "who asked decides what becomes of it"
