"""Taking a Cloud PC away: never what state does not know and somebody works on, never another policy's."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cloudpc.model.cloud_pc import NetworkChoice, RecordedCloudPC, Status
from cloudpc.model.devices import ComputerAccount
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable
from cloudpc.model.machines import Amount
from cloudpc.model.outcome import Outcome
from cloudpc.model.remnants import Kind, Remnant
from cloudpc.model.watch import Watch
from cloudpc.operations.consent import Consent
from cloudpc.operations.removal import Removal
from cloudpc.provisioning.ledger import Ledger
from cloudpc.provisioning.looks import Looks
from cloudpc.provisioning.registration import Registration

from .fake_organisation import Organisation
from .fake_rim import IDENTITY, Run, ScriptedHost, desired, hand_over

_HQ = NetworkChoice(kind="hosted", connection="hq", domain_join_type="hybridAzureADJoin")
_DR = NetworkChoice(kind="hosted", connection="dr", domain_join_type="hybridAzureADJoin")


class _Directories:
    """As iac.organisation.Organisation has them; the domain of `dr` is gone."""

    def __init__(self, organisation: Organisation) -> None:
        self._organisation = organisation
        self.asked: list[str | None] = []

    def registration(self, recorded: str | None = None) -> Registration:
        self.asked.append(recorded)
        return Registration(devices=self._organisation, domain=self._domain)

    def _domain(self, connection: str) -> Organisation:
        if connection == "dr":
            raise ProvisioningError(ErrorCode.DOMAIN_JOIN_FAILED, "there is no such file any more")
        return self._organisation


@pytest.fixture
def removal(host: ScriptedHost, organisation: Organisation) -> Removal:
    return _removal(host, organisation)


def _removal(host: ScriptedHost, organisation: Organisation, consent: Consent = Consent()) -> Removal:  # noqa: B008
    return _removal_of([host], organisation, consent)


def _removal_of(hosts: list[ScriptedHost], organisation: Organisation, consent: Consent) -> Removal:
    return Removal(hosts, _Directories(organisation), consent)  # type: ignore[arg-type]


@pytest.fixture
def made(host: ScriptedHost, organisation: Organisation) -> Outcome:
    """A Cloud PC that its user works on, registered and joined."""
    run = Run(host)
    run.registration = organisation.registration()
    outcome = run.provision(desired(networks=(_HQ, _DR)))
    hand_over(host)
    organisation.calls.clear()
    return outcome


def _recorded(status: Status, made: Outcome | None = None, **more: Any) -> RecordedCloudPC:
    registered = {"device": made.device, "computer": made.computer, "host": "local"} if made else {}
    values = {**desired(networks=(_HQ, _DR)).model_dump(), "status": status, **registered, **more}
    return RecordedCloudPC.model_validate(values)


def _detail(code: str, **additional: str) -> dict[str, Any]:
    return {"code": code, "message": "as it was", "additional_information": additional}


def _all_there(host: ScriptedHost, organisation: Organisation) -> bool:
    return len(host.machines()) == 1 and len(organisation.devices) == 1 and all(organisation.enabled.values())


def _nothing_left(host: ScriptedHost, organisation: Organisation) -> bool:
    return host.machines() == [] and organisation.devices == {} and not any(organisation.enabled.values())


@pytest.mark.parametrize("status", [Status.PROVISIONED, Status.PROVISIONED_WITH_WARNINGS, Status.IN_GRACE_PERIOD])
def test_all_of_it_goes_though_another_connection_is_gone(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome, status: Status
) -> None:
    assert removal.remove(IDENTITY, _recorded(status, made)) == []
    assert _nothing_left(host, organisation)
    assert removal.remove(IDENTITY, _recorded(status, made)) == []


@pytest.mark.parametrize("below", [None, 2])
@pytest.mark.parametrize("status", [Status.FAILED, Status.NOT_PROVISIONED, Status.DEPROVISIONING])
def test_what_was_handed_over_and_state_does_not_know_stays(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome, status: Status, below: int | None
) -> None:
    lost = _recorded(status, status_detail=_detail("machineNotInState"))
    [left] = removal.remove(IDENTITY, lost, below)
    assert "cloudpc adopt" in left
    assert _all_there(host, organisation)
    assert organisation.calls == []


def test_a_whole_policy_that_is_to_go_leaves_that_untouched(
    host: ScriptedHost, organisation: Organisation, made: Outcome
) -> None:
    removal = _removal(host, organisation, Consent(delete=desired().policy_id))
    assert removal.remove(IDENTITY, _recorded(Status.FAILED, status_detail=_detail("machineNotInState"))) == []
    assert _all_there(host, organisation)
    assert organisation.calls == []


def test_one_that_was_lost_and_is_there_again_goes(removal: Removal, host: ScriptedHost, made: Outcome) -> None:
    lost = _recorded(Status.FAILED, made, status_detail=_detail(ErrorCode.MACHINE_LOST))
    assert removal.remove(IDENTITY, lost) == []
    assert host.machines() == []


@pytest.mark.parametrize("detail", [_detail("imageInvalid"), _detail("imageInvalid", remains="on local: busy")])
def test_another_policys_is_left_alone(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome, detail: dict[str, Any]
) -> None:
    failed = _recorded(Status.FAILED, policy_id="other", status_detail=detail)
    assert removal.remove(IDENTITY, failed) == []
    assert _all_there(host, organisation)
    assert organisation.calls == []


def test_what_a_failed_one_had_registered_goes_beside_another_policys_machine(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome
) -> None:
    remains = _detail("deviceRegistrationFailed", remains="its device: refused")
    of_before = {"policy_id": "other", "device_name": "CPC-second", "generation": 2, "device": made.device}
    assert removal.remove(IDENTITY, _recorded(Status.FAILED, status_detail=remains, **of_before))
    assert organisation.removed == [made.device]
    assert _all_there(host, organisation)


def test_an_unknown_ones_registrations_go_beside_another_policys_machine(
    host: ScriptedHost, organisation: Organisation, tmp_path: Path
) -> None:
    """Two runs at once, of which one was killed: state says nothing of a registration, the tag does."""
    far = ScriptedHost(tmp_path, "far")
    Run(far).provision(desired(policy_id="other"))
    [theirs] = far.machines()
    ours = Run(host)
    ours.registration = organisation.registration()
    ours.provision(desired(networks=(_HQ,)))
    removal = _removal_of([host, far], organisation, Consent())
    assert removal.remove(IDENTITY, _recorded(Status.PENDING_PROVISION)) == []
    assert _nothing_left(host, organisation)
    assert far.machines() == [theirs]


def test_no_domain_is_asked_for_one_that_has_joined_none(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome
) -> None:
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made, computer=None)) == []
    assert organisation.calls == ["remove"]


def test_a_waiting_ones_machine_takes_its_registrations_along(
    removal: Removal, host: ScriptedHost, organisation: Organisation
) -> None:
    run = Run(host)
    run.registration = organisation.registration()
    run.provision(desired(networks=(_HQ,)))  # and killed before state had it
    assert removal.remove(IDENTITY, _recorded(Status.PENDING_PROVISION)) == []
    assert _nothing_left(host, organisation)


def test_what_a_failed_one_left_registered_is_tried_again(removal: Removal, organisation: Organisation) -> None:
    remains = _detail("setUpFailed", remains="its device: refused")
    organisation.enabled[desired().device_name] = True
    [left] = removal.remove(IDENTITY, _recorded(Status.FAILED, status_detail=remains))
    assert "in the domain of dr" in left
    assert organisation.calls == ["remove", "disable"]
    over = _recorded(Status.DEPROVISIONING, leftovers=(left,))
    organisation.calls.clear()
    assert removal.remove(IDENTITY, over)
    assert organisation.calls == ["remove", "disable"]


def test_a_failed_one_that_left_nothing_asks_nobody(removal: Removal, organisation: Organisation) -> None:
    assert removal.remove(IDENTITY, _recorded(Status.FAILED, status_detail=_detail("imageInvalid"))) == []
    assert organisation.calls == []


def test_a_reprovision_that_can_not_take_the_device_leaves_the_machine(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome
) -> None:
    organisation.errors["remove"] = [ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, "Graph is away")]
    [left] = removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made), below=2)
    assert left == "its device: Graph is away"
    assert len(host.machines()) == 1
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made), below=2) == []
    assert _nothing_left(host, organisation)


def test_what_an_interrupted_reprovision_has_made_already_is_taken_over(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome
) -> None:
    """State still has the one of before; the machine is of the generation that is asked for, and complete."""
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made), below=2) == []
    assert host.machines() == []
    anew = desired(networks=(_HQ, _DR)).model_copy(update={"generation": 2})
    run = Run(host)
    run.registration = organisation.registration()
    run.provision(anew)
    [new] = host.machines()
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made), below=2) == []
    assert host.machines() == [new]
    run.provision(anew)
    assert "was complete when an earlier run stopped: taken over" in run.lines.milestones[-1]


def test_a_reprovision_whose_host_is_away_touches_nothing(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome
) -> None:
    host.away = True
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made), below=2)
    assert organisation.calls == []


def test_an_end_whose_directory_is_away_takes_the_machine_and_remembers_the_rest(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome
) -> None:
    away = ProvisioningError(ErrorCode.DOMAIN_JOIN_FAILED, "no controller answers")
    organisation.errors["disable"] = [away, away]
    recorded = _recorded(Status.IN_GRACE_PERIOD, made)
    [left] = removal.remove(IDENTITY, recorded)
    assert left == "its computer account in the domain of hq: no controller answers"
    assert host.machines() == []
    forgetting = _removal(host, organisation, Consent(forget_registrations=recorded.policy_id))
    assert forgetting.remove(IDENTITY, recorded) == [], "for good, and somebody has said so"


def test_a_taken_over_ones_account_has_no_guid(removal: Removal, organisation: Organisation, made: Outcome) -> None:
    account = ComputerAccount(connection="hq", name=desired().device_name, object_guid="", distinguished_name="")
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made, computer=account)) == []
    assert not any(organisation.enabled.values())


def test_what_state_does_not_know_stays_while_its_registrations_can_not_be_taken_back(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome
) -> None:
    [machine] = host.machines()
    away = ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, "Graph is away")
    organisation.errors["remove"] = [away, away]
    assert removal.delete_unknown(host, machine) == ["its device: Graph is away"]
    assert host.machines() == [machine]
    assert removal.delete_unknown(host, machine, forget=True) == []
    assert host.machines() == []


def test_what_is_remembered_of_a_device_goes_with_the_question(
    host: ScriptedHost, organisation: Organisation, made: Outcome
) -> None:
    directories = _Directories(organisation)
    removal = Removal([host], directories, Consent())  # type: ignore[arg-type]
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made)) == []
    assert organisation.removed == [made.device]
    assert directories.asked == ["record"], "the way it was registered, whatever is configured now"


def test_one_whose_host_is_not_configured_any_more_is_not_forgotten(
    host: ScriptedHost, organisation: Organisation, made: Outcome
) -> None:
    host.delete(IDENTITY, Watch())
    recorded = _recorded(Status.PROVISIONED, made, host="kvm-old")
    [left] = _removal(host, organisation).remove(IDENTITY, recorded)
    assert left == (
        "its machine is on the host kvm-old, which is not in cloudpc:hosts; put the host back there, or, if it "
        "is gone for good, run `cloudpc up lab --forget-host kvm-old`"
    )
    assert _removal(host, organisation, Consent(forget_hosts=("kvm-old",))).remove(IDENTITY, recorded) == []


@pytest.mark.parametrize("remains", [{}, {"remains": "on kvm-old: busy"}])
def test_a_failed_one_is_kept_for_a_host_that_is_gone_only_while_something_is_there(
    removal: Removal, remains: dict[str, str]
) -> None:
    failed = _recorded(Status.FAILED, host="kvm-old", status_detail=_detail("startFailed", **remains))
    assert any("kvm-old" in left for left in removal.remove(IDENTITY, failed)) is bool(remains)


@pytest.mark.parametrize(
    ("recorded", "is_its"), [({}, True), ({"generation": 2}, False), ({"policy_id": "other"}, False)]
)
def test_one_whose_host_has_another_name_is_found_by_its_tag(
    host: ScriptedHost, organisation: Organisation, made: Outcome, recorded: dict[str, Any], is_its: bool
) -> None:
    left = _removal(host, organisation).remove(
        IDENTITY, _recorded(Status.PROVISIONED, made, host="kvm-old", **recorded)
    )
    assert bool(left) is not is_its
    assert (host.machines() == []) is (recorded.get("policy_id") is None)


def test_a_host_that_is_away_is_named_and_no_other_is_meant(
    host: ScriptedHost, organisation: Organisation, made: Outcome, tmp_path: Path
) -> None:
    far = ScriptedHost(tmp_path, "far")
    far.away = True
    removal = _removal_of([host, far], organisation, Consent())
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made)) == [], "it was never there"
    host.away = True
    [left] = removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made))
    assert left == "its machine on local: local does not answer"
    assert (
        _removal(host, organisation, Consent(forget_hosts=("local",))).remove(
            IDENTITY, _recorded(Status.PROVISIONED, made)
        )
        == []
    )


def test_a_machine_that_can_not_be_deleted_is_named(
    host: ScriptedHost, organisation: Organisation, made: Outcome
) -> None:
    host.configure(faults=[{"call": "delete", "fault": "error"}])
    [left] = _removal(host, organisation).remove(IDENTITY, _recorded(Status.PROVISIONED, made))
    assert left == "its machine on local: injected fault in delete"
    host.configure(faults=[{"call": "delete", "fault": "crash"}])
    [left] = _removal(host, organisation).remove(IDENTITY, _recorded(Status.PROVISIONED, made))
    assert left == "its machine on local: unexpected RuntimeError: a bug in delete"


def test_one_whose_tag_can_not_be_read_stays_with_all_that_is_known_of_it(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_identity: UUID) -> None:
        raise TagUnreadable("cloudpc-x", "local")

    monkeypatch.setattr(host, "describe", unreadable)
    [left] = removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made))
    assert left.startswith("cloudpc-x on local has no readable tag")
    assert organisation.calls == []
    assert _all_there(host, organisation)


def test_what_is_kept_of_one_that_ends_counts_where_it_was(
    removal: Removal, host: ScriptedHost, made: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk may be among it; what a failed one has kept for diagnosis goes when its time is over."""

    def busy(*_: object) -> None:
        raise ProvisioningError(ErrorCode.STORAGE_FULL, "busy")

    monkeypatch.setattr(host, "remnants", busy)
    ends = _recorded(Status.DEPROVISIONING, made, leftovers=("its disk",))
    assert removal.remove(IDENTITY, ends) == ["what is kept of it on local: busy"]
    assert removal.remove(IDENTITY, _recorded(Status.FAILED, status_detail=_detail("imageInvalid"))) == []
    [left] = removal.remove(IDENTITY, _recorded(Status.DEPROVISIONING, made, leftovers=("its disk",), host="far"))
    assert "its machine is on the host far" in left
    host.away = True
    [left] = removal.remove(IDENTITY, ends)
    assert left == "its machine on local: local does not answer", "that is the news, and enough"


def test_what_is_forgotten_on_demand_is_logged(
    host: ScriptedHost, organisation: Organisation, made: Outcome, caplog: pytest.LogCaptureFixture
) -> None:
    organisation.errors["remove"] = [ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, "Graph is away")]
    forgetting = _removal(host, organisation, Consent(forget_registrations="lab"))
    assert forgetting.remove(IDENTITY, _recorded(Status.PROVISIONED, made)) == []
    assert "forgotten on demand: its device: Graph is away" in caplog.text


@pytest.mark.parametrize(("consent", "stays"), [(Consent(), True), (Consent(forget_registrations="lab"), False)])
def test_a_waiting_ones_machine_stays_while_its_registrations_can_not_be_taken_back(
    host: ScriptedHost, organisation: Organisation, consent: Consent, stays: bool
) -> None:
    run = Run(host)
    run.registration = organisation.registration()
    run.provision(desired(networks=(_HQ,)))
    organisation.errors["remove"] = [ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, "Graph is away")]
    left = _removal(host, organisation, consent).remove(IDENTITY, _recorded(Status.PENDING_PROVISION))
    assert left == (["its device: Graph is away"] if stays else [])


def test_a_card_that_outlives_its_machine_is_a_leftover_and_copies_of_its_disk_are_none(
    removal: Removal, host: ScriptedHost, made: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins = IDENTITY.hex[:12]
    card = Remnant(Kind.NETWORK_CARD, "a-nic", begins, policy_id="lab")
    theirs = Remnant(Kind.NETWORK_CARD, "b-nic", begins, policy_id="other")
    copy = Remnant(Kind.VOLUME, "a copy", begins)
    asked: list[str] = []
    monkeypatch.setattr(host, "leaves_only_data", lambda: False)
    monkeypatch.setattr(host, "remnants", lambda _installation: [card, theirs, copy])
    monkeypatch.setattr(host, "discard", lambda those: asked.extend(each.name for each in those) or [])
    [left] = removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made))
    assert left == "its network card a-nic on local can't be removed yet"
    assert asked == ["a-nic"]
    ends = _recorded(Status.DEPROVISIONING, made, leftovers=(left,))
    assert removal.remove(IDENTITY, ends) == [left]
    assert asked == ["a-nic", "a-nic", "a copy"]
    monkeypatch.setattr(host, "discard", lambda those: [each.name for each in those])
    assert removal.remove(IDENTITY, ends) == []


def test_a_card_that_stays_keeps_nobody_from_making_another(
    removal: Removal, host: ScriptedHost, made: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Remnant(Kind.NETWORK_CARD, "a-nic", IDENTITY.hex[:12], policy_id="lab")
    asked: list[str] = []
    monkeypatch.setattr(host, "leaves_only_data", lambda: False)
    monkeypatch.setattr(host, "remnants", lambda _installation: [card])
    monkeypatch.setattr(host, "discard", lambda those: asked.extend(each.name for each in those) or [])
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made), below=2) == []
    assert asked == [], "whoever makes it again sees to it"
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made), below=2) == [], "by now it has no machine"
    assert asked == ["a-nic"]


def test_where_nothing_but_data_can_be_left_nobody_looks_for_more(
    removal: Removal, host: ScriptedHost, made: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    monkeypatch.setattr(host, "remnants", lambda installation: looked.append(installation) or [])
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made)) == []
    assert looked == []


def _undefined(host: ScriptedHost) -> list[str]:
    """Somebody has undefined the machine by hand, which leaves its disk."""
    (host.folder / "machines" / f"{IDENTITY}.json").unlink()
    return host.things()


@pytest.mark.parametrize("below", [None, 2])
def test_the_disk_of_one_that_was_undefined_by_hand_goes_with_it(
    removal: Removal, host: ScriptedHost, made: Outcome, below: int | None
) -> None:
    assert _undefined(host)
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made), below) == []
    assert not [thing for thing in host.things() if thing.endswith((".qcow2", ".seed"))]


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (Status.PROVISIONED, {}),
        (Status.FAILED, {"status_detail": _detail("startFailed")}),
        (Status.DEPROVISIONING, {"leftovers": ("its device: Graph is away",)}),
    ],
)
def test_a_copy_that_somebody_has_made_of_a_disk_stays(
    removal: Removal, host: ScriptedHost, made: Outcome, status: Status, more: dict[str, Any]
) -> None:
    """As before a reprovision: neither one that failed nor an end that takes several runs has it removed."""
    [disk] = host.folder.glob("cloudpc-*.qcow2")
    copy = disk.with_name(f"{disk.stem}-before.qcow2")
    copy.write_bytes(b"data")
    _undefined(host)
    assert removal.remove(IDENTITY, _recorded(status, made, **more)) == []
    assert (disk.exists(), copy.exists()) == (False, True)


@pytest.mark.parametrize(
    ("status", "detail"), [(Status.NOT_PROVISIONED, "otherPolicyFirst"), (Status.FAILED, "machineNotInState")]
)
def test_a_disk_that_state_knows_nothing_of_stays(
    removal: Removal, host: ScriptedHost, made: Outcome, status: Status, detail: str
) -> None:
    things = _undefined(host)
    assert removal.remove(IDENTITY, _recorded(status, status_detail=_detail(detail))) == []
    assert host.things() == things


def test_a_host_that_has_much_to_do_has_a_minute_for_its_answers(
    host: ScriptedHost, organisation: Organisation, made: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not known is not removed, so that waiting is better than the impatience with which places are found."""

    def slowly(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda asked: time.sleep(0.2) or call(asked)

    monkeypatch.setattr(host, "describe", slowly(host.describe))
    monkeypatch.setattr(host, "remnants", slowly(host.remnants))
    looks = Looks(Ledger([host], within=0.05))
    removal = Removal([host], _Directories(organisation), Consent(), looks)  # type: ignore[arg-type]
    kept = _recorded(Status.DEPROVISIONING, made, leftovers=("its disk",))
    assert removal.remove(IDENTITY, kept) == []
    assert _nothing_left(host, organisation)


@pytest.fixture
def twins(tmp_path: Path) -> list[ScriptedHost]:
    """Two hosts that have the machine: one came back from a backup, say."""
    hosts = [ScriptedHost(tmp_path, name) for name in ("one", "two")]
    for host in hosts:
        Run(host).provision(desired())
    return hosts


def test_a_machine_that_two_hosts_have_goes_from_both(twins: list[ScriptedHost], organisation: Organisation) -> None:
    recorded = _recorded(Status.PENDING_PROVISION)
    removal = _removal_of(twins, organisation, Consent())
    for host in twins:
        host.configure(faults=[{"call": "delete", "fault": "error"}])
    assert removal.remove(IDENTITY, recorded) == [
        "its machine on one: injected fault in delete",
        "its machine on two: injected fault in delete",
    ]
    twins[1].configure()
    assert removal.remove(IDENTITY, recorded) == ["its machine on one: injected fault in delete"]
    twins[0].configure()
    assert removal.remove(IDENTITY, recorded) == []
    assert [machine for host in twins for machine in host.machines()] == []


def test_registrations_that_stay_keep_the_machines_of_both_hosts(tmp_path: Path, organisation: Organisation) -> None:
    hosts = [ScriptedHost(tmp_path, name) for name in ("one", "two")]
    for host in hosts:
        run = Run(host)
        run.registration = organisation.registration()
        run.provision(desired(networks=(_HQ,)))
    away = ProvisioningError(ErrorCode.DEVICE_REGISTRATION_FAILED, "Graph is away")
    organisation.errors["remove"] = [away, away]
    left = _removal_of(hosts, organisation, Consent()).remove(IDENTITY, _recorded(Status.PENDING_PROVISION))
    assert left == ["its device: Graph is away"] * 2
    assert [len(host.machines()) for host in hosts] == [1, 1]


def test_the_place_of_one_that_has_gone_is_free_at_once(
    host: ScriptedHost, organisation: Organisation, made: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without asking the host again what it has: hundreds may end at one moment."""
    ledger = Ledger([host])
    ledger.read()
    removal = Removal([host], _Directories(organisation), Consent(), Looks(ledger))  # type: ignore[arg-type]
    asked: list[str] = []
    capacity = host.capacity
    monkeypatch.setattr(host, "capacity", lambda: asked.append("capacity") or capacity())
    with ledger.books() as books:
        assert books["local"].committed != Amount()
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made)) == []
    with ledger.books() as books:
        assert (books["local"].machines, books["local"].committed) == (set(), Amount())
    assert asked == []


@pytest.mark.parametrize("below", [None, 3])
@pytest.mark.parametrize("status", [Status.PROVISIONED, Status.IN_GRACE_PERIOD, Status.DEPROVISIONING])
def test_a_state_older_than_the_machine_takes_nothing(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome, status: Status, below: int | None
) -> None:
    """A copy from a backup: its user came back, or asked for a reprovision, after it was made."""
    host.delete(IDENTITY, Watch())
    run = Run(host)
    run.registration = organisation.registration()
    run.provision(desired(networks=(_HQ, _DR)).model_copy(update={"generation": 2, "device_name": "CPC-second"}))
    hand_over(host)
    organisation.calls.clear()
    before = host.machines()
    leftovers = ("its machine on local: busy",) if status is Status.DEPROVISIONING else ()
    [left] = removal.remove(IDENTITY, _recorded(status, made, leftovers=leftovers), below)
    assert "cloudpc adopt" in left
    assert host.machines() == before
    assert organisation.calls == []


def test_what_a_killed_reprovision_had_registered_goes_with_its_machine(
    removal: Removal, host: ScriptedHost, organisation: Organisation, made: Outcome
) -> None:
    host.delete(IDENTITY, Watch())
    run = Run(host)
    run.registration = organisation.registration()
    run.provision(desired(networks=(_HQ,)).model_copy(update={"generation": 2, "device_name": "CPC-second"}))
    assert removal.remove(IDENTITY, _recorded(Status.PROVISIONED, made)) == []
    assert _nothing_left(host, organisation)


def test_a_reprovision_waits_for_a_host_that_may_have_the_machine_by_now(
    host: ScriptedHost, organisation: Organisation, made: Outcome, tmp_path: Path
) -> None:
    """It was migrated by hand, or two hosts have swapped their names."""
    far = ScriptedHost(tmp_path, "far")
    recorded = _recorded(Status.PROVISIONED, made, host="far")
    assert _removal_of([far, host], organisation, Consent()).remove(IDENTITY, recorded, below=1) == []
    organisation.calls.clear()
    host.away = True
    [left] = _removal_of([far, host], organisation, Consent()).remove(IDENTITY, recorded, below=2)
    assert left == (
        "its machine is not on far, and may be on local: local does not answer; if that host is gone for good, take "
        "it out of cloudpc:hosts"
    )
    assert organisation.calls == []
    forgetting = _removal_of([far, host], organisation, Consent(forget_hosts=("local",)))
    assert forgetting.remove(IDENTITY, recorded, below=2) == []
