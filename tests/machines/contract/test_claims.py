"""Identity and claim: one machine of an identity, and never more than there is room for, whoever asks at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from cloudpc.model.cloud_pc import Status
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.machines import Amount, Claimed, Host, Order
from tests.core.fake_rim import Run, desired

from .processes import Processes
from .subject import Subject, cannot
from .watching import Watched


def test_what_is_claimed_is_there_as_it_was_ordered(subject: Subject) -> None:
    order = subject.claimed()
    machine = subject.host.describe(order.id)
    assert machine is not None
    assert (machine.id, machine.tag, machine.size) == (order.id, order.tag, order.size)


def test_nothing_is_there_before(subject: Subject) -> None:
    assert subject.host.describe(subject.order().id) is None
    assert subject.things() == []


def test_a_second_claim_is_told_of_the_first_and_changes_nothing(subject: Subject) -> None:
    first = subject.claimed()
    before = subject.host.describe(first.id), subject.things()
    with pytest.raises(Claimed) as claimed:
        subject.host.claim(subject.order(generation=7), Watched())
    assert before[0] is not None
    assert replace(claimed.value.machine, has_disk=False) == replace(before[0], has_disk=False)
    assert (subject.host.describe(first.id), subject.things()) == before


def test_the_plan_of_a_user_is_an_identity_whatever_the_policy(subject: Subject) -> None:
    subject.claimed()
    with pytest.raises(Claimed) as claimed:
        subject.host.claim(subject.order(policy_id="another"), Watched())
    assert claimed.value.machine.tag.policy_id == "policy"


def test_of_many_claims_at_once_one_wins(subject: Subject) -> None:
    orders = [subject.order() for _ in range(4)]
    hosts = [subject.open() for _ in orders]
    outcomes = _all_at_once(hosts, orders)
    machine = subject.host.describe(orders[0].id)
    assert machine is not None
    winners = [order.tag.attempt for order, outcome in zip(orders, outcomes, strict=True) if outcome == "claimed"]
    assert winners == [machine.tag.attempt]
    assert sorted(outcomes)[:-1] == ["Claimed"] * 3
    for host in hosts:
        host.close()


def test_of_two_processes_that_claim_at_once_one_wins(subject: Subject, processes: Processes) -> None:
    rounds = [(subject.order(f"u-{n}"), subject.order(f"u-{n}")) for n in range(subject.rounds)]
    outcomes = processes.claim(subject.driver, subject.config, rounds)
    assert {tuple(sorted(each)) for each in outcomes} == {("Claimed", "claimed")}
    winner = rounds[-1][outcomes[-1].index("claimed")]
    machine = subject.host.describe(winner.id)
    assert machine is not None
    assert machine.tag.attempt == winner.tag.attempt


def test_the_last_place_is_given_to_one(subject: Subject, processes: Processes) -> None:
    size = _more_than_half(subject.host, subject.size)
    rounds = [(subject.order("u-1", size=size), subject.order("u-2", size=size)) for _ in range(subject.rounds)]
    outcomes = processes.claim(subject.driver, subject.config, rounds)
    assert {tuple(sorted(each)) for each in outcomes} == {("claimed", ErrorCode.NO_CAPACITY.value)}
    assert len(subject.host.owned(subject.installation)) == 1


def test_what_does_not_fit_is_refused_with_what_is_missing_and_leaves_nothing(subject: Subject) -> None:
    size = _more_than_half(subject.host, subject.size, times=3)
    with pytest.raises(ProvisioningError) as refused:
        subject.host.claim(subject.order(size=size), Watched())
    assert refused.value.code is ErrorCode.NO_CAPACITY
    assert str(size.vcpus) in refused.value.message
    subject.wait_until(lambda: subject.things() == [], "something is left")


def test_room_that_is_refused_late_is_waited_for(subject: Subject) -> None:
    """Whether it is the claim that says so, or the making."""
    with subject.refuses_late():
        run = Run(subject.host)  # type: ignore[arg-type]
        run.image = lambda _watch: subject.image
        outcome = run.provision(desired().model_copy(update={"installation": subject.installation}))
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.NO_CAPACITY
    assert (outcome.status, outcome.attempts) == (Status.PENDING_PROVISION, 1)
    subject.wait_until(lambda: subject.things() == [], "something is left")


def test_a_network_that_is_not_there_is_refused_and_leaves_nothing(subject: Subject) -> None:
    with pytest.raises(ProvisioningError) as refused:
        subject.host.claim(subject.order(network=subject.unknown_network), Watched())
    assert refused.value.code is ErrorCode.NETWORK_NOT_FOUND
    subject.wait_until(lambda: subject.things() == [], "something is left")


def test_an_image_that_is_not_there_leaves_no_more_than_the_tag_names(subject: Subject) -> None:
    def missing(_watch: object) -> object:
        raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, "no such image", retriable=False)

    order = replace(subject.order(), image=missing)
    with pytest.raises(ProvisioningError) as refused:
        _made(subject.host, order)
    assert refused.value.code is ErrorCode.IMAGE_NOT_FOUND
    assert not subject.host.remnants(subject.installation)


def test_a_run_that_is_to_stop_claims_nothing(subject: Subject) -> None:
    watch = Watched()
    watch.cancel.cancel()
    with pytest.raises(Cancelled):
        subject.host.claim(subject.order(), watch)
    assert subject.things() == []


def test_installations_that_begin_alike_are_two(subject: Subject) -> None:
    """Even if all that is written in a name is the same."""
    other = subject.installation[:12] + "beef"
    mine = subject.claimed()
    subject.host.claim(theirs := subject.order(installation=other), Watched())
    assert mine.id != theirs.id
    assert [machine.id for machine in subject.host.owned(subject.installation)] == [mine.id]
    assert [machine.id for machine in subject.host.owned(other)] == [theirs.id]
    subject.delete(mine)
    assert subject.host.describe(theirs.id) is not None
    assert subject.host.remnants(other) == subject.host.remnants(subject.installation) == []
    subject.delete(theirs)


def _made(host: Host, order: Order) -> None:
    host.claim(order, Watched())
    host.make(order, Watched())


def _all_at_once(hosts: Sequence[Host], orders: Sequence[Order]) -> list[str]:
    def claim(host: Host, order: Order) -> str:
        try:
            host.claim(order, Watched())
        except Claimed:
            return "Claimed"
        return "claimed"

    with ThreadPoolExecutor(len(orders)) as pool:
        return list(pool.map(claim, hosts, orders))


def _more_than_half(host: Host, size: Amount, times: int = 1) -> Amount:
    """So many cores that two machines of it do not fit."""
    free = host.capacity().free.vcpus
    if not math.isfinite(free):
        cannot("as many as anybody asks for")
    return replace(size, vcpus=times * (int(free) // 2 + 1))
