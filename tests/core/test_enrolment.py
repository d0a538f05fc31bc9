"""What directories are asked for one Cloud PC: each call's arguments, and what is taken back of whom."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cloudpc.model.devices import ComputerAccount
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Amount, Capacity, Limits, Network
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import Watch
from cloudpc.operations.consent import Consent
from cloudpc.operations.removal import Removal
from cloudpc.provisioning.book import Book
from cloudpc.provisioning.claim import _is_same
from cloudpc.provisioning.enrolment import Enrolment
from cloudpc.provisioning.order import tag_of
from cloudpc.provisioning.registration import Registration
from tests.support.orders import order

from .fake_organisation import Organisation
from .fake_rim import IDENTITY, THROUGH_HQ, ScriptedHost, desired
from .test_registration import JoiningHost, Run
from .test_removal import Status, _Directories, _recorded

MARK = f"[Resource]:local/{IDENTITY}"
SIZE = Amount(1, 512, 8)


def test_a_host_of_another_tenant_is_refused_with_what_to_do(tmp_path: Path, organisation: Organisation) -> None:
    organisation.tenant_id = "t2"
    with pytest.raises(ProvisioningError) as refused:
        Enrolment(organisation.registration()).check_tenant(JoiningHost(tmp_path), "kvm1")
    assert refused.value.code is ErrorCode.HOST_REFUSES
    assert refused.value.message == "machines on kvm1 join the tenant t1, and cloudpc:graph is signed in to t2"
    assert refused.value.hint.startswith("sign in to both with accounts of one tenant")


def test_where_nobody_registers_no_tenant_is_asked_for(tmp_path: Path) -> None:
    Enrolment(Registration()).check_tenant(JoiningHost(tmp_path), "kvm1")


class _Host:
    """Has guests join; keeps whose."""

    def __init__(self) -> None:
        self.joined: list[UUID] = []

    def entra_mark(self, machine_id: UUID) -> str:
        return f"mark of {machine_id}"

    def join_entra(self, machine_id: UUID, watch: Watch) -> UUID | None:
        assert 0 < watch.remaining <= 7
        self.joined.append(machine_id)
        return None


class _Registry(Organisation):
    def __init__(self) -> None:
        super().__init__()
        self.gone: list[Any] = []

    def remove(self, *args: Any) -> None:
        self.gone.append(args)


@pytest.mark.parametrize("others", [frozenset(), frozenset({"d1"})])
def test_what_others_have_left_is_removed_by_name_id_and_mark(others: frozenset[str]) -> None:
    registry, host, pc = _Registry(), _Host(), desired()
    enrolment = Enrolment(Registration(devices=registry, joins=True, timeout=7))
    enrolment.join_entra(host, IDENTITY, pc.identity, others, Watch())  # type: ignore[arg-type]
    its = (pc.device_name, pc.identity.device_id, None, f"mark of {IDENTITY}")
    assert registry.gone == ([its] if others else [])
    assert host.joined == [IDENTITY]


def test_other_domains_are_asked_for_their_account_and_nobody_for_the_device(organisation: Organisation) -> None:
    enrolment, its = Enrolment(organisation.registration()), desired().identity
    for connection in ("hq", "dr"):
        enrolment.joined_before(connection)
    enrolment.take_back_others(its, "hq")
    assert organisation.calls == ["disable"]
    enrolment.take_back(its)
    assert organisation.calls == ["disable", "disable", "disable"], "nothing was registered"
    assert enrolment.left == []


def test_a_domain_that_nobody_knows_is_an_error_that_stays() -> None:
    with pytest.raises(ProvisioningError) as refused:
        Registration().domain("hq")
    assert (refused.value.code, refused.value.retriable) == (ErrorCode.DOMAIN_JOIN_FAILED, False)
    assert refused.value.message == "it is unknown how to reach the domain of the connection hq"


# ---- the mark of a device that a machine's host had made join


def _left_by_a_dead_run(host: ScriptedHost, **changes: Any) -> Tag:
    tag = replace(tag_of(desired()), phase=Phase.PROVISIONING, **changes)
    host.claim(order(tag, SIZE), Watch())
    return tag


def test_an_earlier_generations_device_is_released_by_its_mark(tmp_path: Path, organisation: Organisation) -> None:
    host = JoiningHost(tmp_path)
    _left_by_a_dead_run(host)
    run = Run(host)
    run.registration = replace(organisation.registration(), joins=True)
    assert run.provision(desired().model_copy(update={"generation": 2})).status is Status.PROVISIONED
    assert organisation.calls == ["remove", "register"]
    assert organisation.marks == [MARK]


def test_what_state_does_not_know_is_released_by_its_mark(tmp_path: Path, organisation: Organisation) -> None:
    host = JoiningHost(tmp_path)
    removal = Removal([host], _Directories(organisation), Consent())  # type: ignore[arg-type]
    _left_by_a_dead_run(host)
    [machine] = host.machines()
    assert removal.delete_unknown(host, machine) == []
    _left_by_a_dead_run(host)
    assert removal.remove(IDENTITY, _recorded(Status.PENDING_PROVISION)) == []
    assert organisation.marks == [MARK, MARK]
    assert host.machines() == []


def test_the_account_of_one_that_is_taken_over_is_known_by_its_name_alone(
    host: ScriptedHost, organisation: Organisation
) -> None:
    run, joined = Run(host), desired(networks=(THROUGH_HQ,))
    run.registration = organisation.registration()
    run.provision(joined)
    computer = run.provision(joined).computer
    assert computer == ComputerAccount(connection="hq", name=joined.device_name, object_guid="", distinguished_name="")


# ---- whether it is the one that is asked for


def test_one_that_does_not_say_for_whom_it_was_made_is_another() -> None:
    wanted = desired()
    tag = tag_of(wanted)
    assert _is_same(tag, tag, wanted.account)
    other = replace(tag, settings_hash="of another policy")
    assert _is_same(other, tag, wanted.account), "but it was made for this user"
    assert not _is_same(replace(other, made_with="{}"), tag, wanted.account)
    assert not _is_same(replace(tag, generation=2), tag, wanted.account)
    renamed = wanted.account.model_copy(update={"name": "bob"})
    assert not _is_same(other, tag, renamed)


# ---- a host's book


def test_what_was_refused_may_be_taken_once_something_has_changed(host: ScriptedHost) -> None:
    book, network = Book(host), Network("hosted", "")
    big, small = Amount(8, 8192, 80), SIZE
    error = ProvisioningError(ErrorCode.NO_CAPACITY, "no room")
    book.write(Capacity(Limits(8, 8192), Amount(4, 4096, 40)), 0)
    assert not book.may_take_by_now(big)
    book.refuse(big, network, error)
    assert (book.refusal(big, network), book.may_take_by_now(big)) == (error, False)
    book.write(Capacity(Limits(8, 8192), Amount(0, 0, 0)), 1)
    assert (book.refusal(big, network), book.may_take_by_now(big)) == (None, True)
    assert not book.may_take_by_now(small), "nobody has refused that"
