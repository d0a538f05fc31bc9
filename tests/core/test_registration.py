"""Domain join and registration as stages: what directories are asked, and that nothing stays there of what failed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from cloudpc.model.cloud_pc import DesiredCloudPC, NetworkChoice, Status
from cloudpc.model.devices import ComputerAccount, NameTakenError, RegisteredDevice
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Script
from cloudpc.model.identity import Identity
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from cloudpc.provisioning.registration import Registration, release

from . import make
from .fake_organisation import Organisation
from .fake_rim import IDENTITY, Run, ScriptedHost, desired, hand_over, said

_THROUGH_HQ = NetworkChoice(kind="hosted", connection="hq", domain_join_type="hybridAzureADJoin")


def _error(code: ErrorCode = ErrorCode.DEVICE_REGISTRATION_FAILED, *, retriable: bool = True) -> ProvisioningError:
    return ProvisioningError(code, "refused", retriable=retriable)


def _die() -> None:
    raise SystemExit


@pytest.fixture
def run(host: ScriptedHost, organisation: Organisation) -> Run:
    made = Run(host)
    made.registration = organisation.registration()
    return made


def _joining() -> DesiredCloudPC:
    return desired(networks=(_THROUGH_HQ,))


def test_every_stage_in_order(run: Run, organisation: Organisation) -> None:
    outcome = run.provision(_joining())
    assert outcome.status is Status.PROVISIONED
    assert outcome.device is not None
    assert outcome.computer is not None
    assert outcome.connection == "hq"
    assert (outcome.device.display_name, outcome.computer.name) == (_joining().device_name,) * 2
    assert organisation.calls == ["prepare_join", "register"]
    assert organisation.cancelled_by == [run.cancel]
    assert next(iter(organisation.devices.values())).group_tag == _joining().settings.provisioning_policy_name
    stages = list(dict.fromkeys(re.split(r":| \(", line)[0] for line in run.lines.steps))
    assert stages == [stage.value for stage in Stage]


def test_without_registration_nothing_is_asked(host: ScriptedHost, organisation: Organisation) -> None:
    outcome = Run(host).provision()
    assert (outcome.device, outcome.computer, organisation.calls) == (None, None, [])


def test_the_one_time_password_is_a_secret_of_the_script(
    run: Run, host: ScriptedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Script] = []
    original = host.run_script

    def seeing(id_: UUID, script: Script, watch: Watch) -> Completed:
        seen.append(script)
        return original(id_, script, watch)

    monkeypatch.setattr(host, "run_script", seeing)
    run.provision(_joining())
    [join] = [script for script in seen if script.name == "join"]
    assert _joining().device_name in join.arguments
    assert "one-time" in join.secrets.values()
    assert "one-time" not in repr(join)


@pytest.mark.parametrize("call", ["prepare_join", "register"])
def test_an_error_that_passes_costs_an_attempt_and_registers_once(
    run: Run, organisation: Organisation, call: str
) -> None:
    organisation.errors[call] = [_error()]
    outcome = run.provision(_joining())
    assert (outcome.status, outcome.attempts) == (Status.PROVISIONED, 2)
    assert len(organisation.devices) == 1
    assert organisation.enabled == {_joining().device_name: True}
    assert "remove" not in organisation.calls


def test_what_was_there_before_the_guest_is_not_the_guests(
    run: Run, host: ScriptedHost, organisation: Organisation
) -> None:
    host.configure(faults=[{"call": "set_password", "fault": "error", "times": 1}])
    assert run.provision().attempts == 2
    [of_the_first] = organisation.devices
    assert organisation.besides == [frozenset(), frozenset({str(of_the_first)})]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"11111111-2222-3333-4444-555555555555\n", UUID("11111111-2222-3333-4444-555555555555")),
        (b"ssh-ed25519 AAAA", None),
        (b"\xff\xfe1\x00", None),
        (None, None),
    ],
)
def test_the_guest_is_asked_which_device_it_is(
    run: Run,
    host: ScriptedHost,
    organisation: Organisation,
    tmp_path: Path,
    content: bytes | None,
    named: UUID | None,
) -> None:
    run.provision()
    [device] = organisation.devices.values()
    host.facts += said(tmp_path, device=content)  # it may do so long after it was asked first
    assert device.joined_as() == named


@pytest.mark.parametrize(("call", "stage"), [("prepare_join", Stage.DOMAIN_JOIN), ("register", Stage.REGISTRATION)])
def test_an_error_that_stays_fails_it_and_leaves_nothing(
    run: Run, organisation: Organisation, call: str, stage: Stage
) -> None:
    organisation.errors[call] = [_error() for _ in range(3)]
    outcome = run.provision(_joining())
    assert (outcome.status, outcome.stage, outcome.attempts) == (Status.FAILED, stage, 3)
    assert organisation.devices == {}
    assert organisation.enabled == {_joining().device_name: False}
    assert outcome.remains == ""


def test_nothing_of_an_account_that_is_somebody_elses_is_to_be_taken_back(run: Run, organisation: Organisation) -> None:
    organisation.errors["prepare_join"] = [NameTakenError(ErrorCode.DOMAIN_JOIN_FAILED, "theirs", retriable=False)]
    outcome = run.provision(_joining())
    assert (outcome.status, outcome.stage, outcome.remains) == (Status.FAILED, Stage.DOMAIN_JOIN, "")
    assert organisation.calls == ["prepare_join"]


def test_a_guest_that_can_not_join(run: Run, host: ScriptedHost, organisation: Organisation) -> None:
    host.configure(exit_code=3, output="adcli: couldn't connect\n")
    outcome = run.provision(_joining())
    assert outcome.error is not None
    assert (outcome.error.code, outcome.stage) == (ErrorCode.DOMAIN_JOIN_FAILED, Stage.DOMAIN_JOIN)
    assert "adcli: couldn't connect" in outcome.error.message
    assert organisation.enabled == {_joining().device_name: False}


def test_a_later_failure_takes_the_registration_back(run: Run, host: ScriptedHost, organisation: Organisation) -> None:
    host.configure(faults=[{"call": "set_password", "fault": "error", "retriable": False}])
    assert run.provision(_joining()).status is Status.FAILED
    assert organisation.calls == ["prepare_join", "register", "remove", "disable"]


def test_an_unexpected_error_that_passes_takes_nothing_back(
    run: Run, host: ScriptedHost, organisation: Organisation
) -> None:
    host.configure(faults=[{"call": "set_password", "fault": "crash", "times": 1}])
    assert run.provision(_joining()).attempts == 2
    assert organisation.calls == ["prepare_join", "register"] * 2


def test_what_can_not_be_taken_back_is_told(run: Run, host: ScriptedHost, organisation: Organisation) -> None:
    host.configure(faults=[{"call": "set_password", "fault": "error", "retriable": False}])
    organisation.errors = {"remove": [_error()], "disable": [_error()]}
    outcome = run.provision(_joining())
    assert "its device: refused" in outcome.remains
    assert "its computer account in the domain of hq: refused" in outcome.remains


def test_cancel_takes_the_registration_back(host: ScriptedHost, organisation: Organisation) -> None:
    run = Run(host)
    run.registration = organisation.registration()
    organisation.hooks["register"] = run.cancel.cancel
    with pytest.raises(Cancelled):
        run.provision(_joining())
    assert organisation.calls == ["prepare_join", "register", "remove", "disable"]
    assert organisation.devices == {}
    assert organisation.enabled == {_joining().device_name: False}
    assert host.machines() == []


def test_cancel_keeps_the_machine_that_alone_remembers_what_could_not_be_taken_back(
    run: Run, host: ScriptedHost, organisation: Organisation
) -> None:
    organisation.hooks["register"] = run.cancel.cancel
    organisation.errors["remove"] = [_error() for _ in range(2)]
    with pytest.raises(Cancelled):
        run.provision(_joining())
    assert [m.tag.phase for m in host.machines()] == [Phase.PROVISIONING]


def test_an_unfinished_one_of_another_generation_takes_its_registrations_along(
    run: Run, host: ScriptedHost, organisation: Organisation
) -> None:
    organisation.hooks["issue_pass"] = _die
    run.registration = organisation.registration(access_pass=True)
    with pytest.raises(SystemExit):
        run.provision(_joining())
    first = dict(organisation.enabled)
    # as kill -9 leaves it
    host.claim(run.hosts[0].claimed[-1], Watch())
    organisation.enabled |= dict.fromkeys(first, True)
    organisation.hooks.clear()
    again = _joining().model_copy(update={"generation": 2, "device_name": "CPC-second"})
    organisation.errors["disable"] = [_error() for _ in range(3)]
    waits = run.provision(again)
    assert waits.error is not None
    assert waits.error.code is ErrorCode.DEVICE_REGISTRATION_FAILED
    assert waits.error.message == (
        "what an interrupted run left can't be removed yet: its computer account in the domain of hq: refused"
    )
    assert len(host.machines()) == 1, "its tag alone remembers"
    organisation.errors.clear()
    assert run.provision(again).status is Status.PROVISIONED
    assert organisation.enabled == {**dict.fromkeys(first, False), "CPC-second": True}
    assert [device.display_name for device in organisation.devices.values()] == ["CPC-second"]


def test_taking_over_one_that_can_not_be_registered_shuts_it_out(run: Run, organisation: Organisation) -> None:
    wanted = _joining()
    run.provision(wanted)
    organisation.errors["register"] = [_error(retriable=False)]
    assert run.provision(wanted).status is Status.FAILED
    assert organisation.enabled == {wanted.device_name: False}
    assert organisation.devices == {}


def test_after_a_join_that_failed_the_connection_is_looked_at_afresh(run: Run, organisation: Organisation) -> None:
    looks: list[bool] = []
    run.healthy = lambda _choice, afresh: looks.append(afresh)  # type: ignore[func-returns-value]
    organisation.errors["prepare_join"] = [_error(ErrorCode.DOMAIN_JOIN_FAILED)]
    organisation.errors["register"] = [_error()]
    assert run.provision(_joining()).attempts == 3
    assert looks == [False, True, False]


def test_an_account_in_the_domain_of_another_connection_is_disabled(
    run: Run, organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt goes through hq, which is not healthy any more at the second."""
    elsewhere = Organisation()
    there = {"hq": elsewhere, "dr": organisation}
    run.registration = Registration(domain=there.__getitem__)
    elsewhere.errors["prepare_join"] = [_error(ErrorCode.DOMAIN_JOIN_FAILED)]
    run.healthy = lambda choice, afresh: _error() if afresh and choice.connection == "hq" else None
    second = NetworkChoice(kind="hosted", connection="dr", domain_join_type="hybridAzureADJoin")
    outcome = run.provision(desired(networks=(_THROUGH_HQ, second)))
    assert (outcome.attempts, outcome.connection) == (2, "dr")
    assert organisation.enabled == {_joining().device_name: True}
    assert elsewhere.enabled == {_joining().device_name: False}


def test_a_pass_outlives_the_attempt_that_it_was_issued_in(
    run: Run, host: ScriptedHost, organisation: Organisation
) -> None:
    run.registration = organisation.registration(access_pass=True)
    host.configure(faults=[{"call": "finish ready", "fault": "error", "times": 1}])
    outcome = run.provision()
    assert outcome.attempts == 2
    assert outcome.credentials is not None
    assert outcome.credentials.access_pass is not None
    assert organisation.calls.count("issue_pass") == 1


def test_a_machine_taken_over_is_registered_but_does_not_join_again(run: Run, organisation: Organisation) -> None:
    wanted = _joining()
    run.provision(wanted)
    organisation.calls.clear()
    outcome = run.provision(wanted)
    assert organisation.calls == ["register"]
    assert outcome.computer is not None
    assert (outcome.computer.connection, outcome.computer.name) == ("hq", wanted.device_name)
    assert len(organisation.devices) == 1


def test_taking_back_a_user_s_machine_that_can_not_be_registered_takes_nothing_from_the_user(
    run: Run, host: ScriptedHost, organisation: Organisation
) -> None:
    wanted = _joining()
    run.provision(wanted)
    hand_over(host)
    run.adoptable = (wanted.key,)
    organisation.errors["register"] = [_error() for _ in range(3)]
    assert run.provision(wanted).status is Status.FAILED
    assert "remove" not in organisation.calls
    assert "disable" not in organisation.calls
    assert [m.tag.phase for m in host.machines()] == [Phase.HANDED_OVER]


def test_a_pass_is_handed_over_once(run: Run, organisation: Organisation) -> None:
    run.registration = organisation.registration(access_pass=True)
    first = run.provision()
    assert first.credentials is not None
    assert first.credentials.access_pass is not None
    assert first.credentials.access_pass.lifetime_in_minutes == 30
    assert organisation.passes == ["u-alice"]
    assert "the pass" not in repr(first)
    run.hosts[0].delete(IDENTITY, Watch())
    second = run.provision()
    assert second.status is Status.PROVISIONED
    assert second.credentials is not None
    assert second.credentials.access_pass is None
    assert "has a Temporary Access Pass already" in run.lines.milestones[-1]


def test_release_of_what_configuration_no_longer_names_says_so() -> None:
    identity = Identity(make.INSTALLATION, "u-1", "small", 1, "CPC-1")
    device = RegisteredDevice(registration="record", display_name="CPC-1", id="o", device_id="d")
    computer = ComputerAccount(connection="hq", name="CPC-1", object_guid="g", distinguished_name="CN=x")
    left = release(Registration(), identity, device=device, computer=computer)
    assert "its device CPC-1" in left[0]
    assert "its computer account in the domain of hq" in left[1]
    assert release(Registration(), identity) == []


def test_generations_are_different_devices() -> None:
    first, second = (Identity(make.INSTALLATION, "u-1", "small", number, f"CPC-{number}") for number in (1, 2))
    assert first.device_id != second.device_id
    assert first.owner != second.owner


# ---- a host that has its guests join


DEVICE = UUID("11111111-2222-3333-4444-555555555555")


class JoiningHost(ScriptedHost):
    """Implements JoinsEntra as well."""

    joins = frozenset({"linux"})
    tenant_id = "t1"

    def joins_entra(self, guest_os: str) -> bool:
        return guest_os in self.joins

    def entra_tenant(self) -> str:
        return self.tenant_id

    def entra_mark(self, machine_id: UUID) -> str:
        return f"[Resource]:{self.name}/{machine_id}"

    def join_entra(self, machine_id: UUID, watch: Watch) -> UUID | None:
        assert watch.now is Stage.REGISTRATION
        self._fault("join_entra", "")
        return DEVICE


@pytest.fixture
def joining(tmp_path: Path, organisation: Organisation) -> Run:
    made = Run(JoiningHost(tmp_path))
    made.registration = replace(organisation.registration(), joins=True)
    organisation.tenant_id = "T1"
    return made


def test_a_host_has_its_guest_join_before_the_device_is_looked_for(joining: Run, organisation: Organisation) -> None:
    [host] = joining.hosts
    assert joining.provision().status is Status.PROVISIONED
    calls = [call for call in host.calls if call in ("run", "join_entra", "set_password")]
    assert calls[-2:] == ["join_entra", "set_password"]
    assert [order.joins_entra for order in host.claimed] == [True]
    [device] = organisation.devices.values()
    assert (device.mark, device.joined_as()) == (f"[Resource]:local/{IDENTITY}", DEVICE)
    assert organisation.removed == []


def test_who_joins_a_domain_is_not_made_to_join(joining: Run) -> None:
    [host] = joining.hosts
    assert joining.provision(_joining()).status is Status.PROVISIONED
    assert "join_entra" not in host.calls
    assert [order.joins_entra for order in host.claimed] == [False]


@pytest.mark.parametrize("change", ["records", "another system", "nobody registers"])
def test_only_who_is_to_join_does(joining: Run, change: str) -> None:
    [host] = joining.hosts
    if change == "another system":
        host.joins = frozenset({"windows"})
    else:
        joining.registration = replace(joining.registration, joins=False, registers=change == "records")
    assert joining.provision().status is Status.PROVISIONED
    assert "join_entra" not in host.calls
    assert host.claimed[-1].joins_entra is False


def test_what_an_attempt_before_has_joined_is_removed_before_the_next_one_joins(
    joining: Run, organisation: Organisation
) -> None:
    [host] = joining.hosts
    host.configure(faults=[{"call": "set_password", "fault": "error", "times": 1}])
    outcome = joining.provision()
    assert (outcome.status, outcome.attempts) == (Status.PROVISIONED, 2)
    assert organisation.calls == ["register", "remove", "register"]
    assert organisation.marks == [f"[Resource]:local/{IDENTITY}"]


def test_a_join_that_fails_leaves_no_device(joining: Run, organisation: Organisation) -> None:
    [host] = joining.hosts
    refused = _error(retriable=False)

    def refuse() -> None:
        raise refused

    host.hooks["join_entra"] = refuse
    outcome = joining.provision()
    assert (outcome.status, outcome.stage, outcome.error) == (Status.FAILED, Stage.REGISTRATION, refused)
    assert organisation.calls == ["remove"]
    assert organisation.marks == [f"[Resource]:local/{IDENTITY}"]
    assert host.things() == []


def test_a_host_of_another_tenant_is_passed_over(tmp_path: Path, joining: Run, organisation: Organisation) -> None:
    other = JoiningHost(tmp_path, "other", cores=1)
    other.tenant_id = "t2"
    [host] = joining.hosts
    host.configure(cores=0)
    joining.hosts = (other, host)
    outcome = joining.provision()
    assert outcome.status is Status.PENDING_PROVISION
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.HOST_REFUSES
    assert "machines on other join the tenant t2, and cloudpc:graph is signed in to T1" in outcome.error.message
    assert other.things() == []
    host.configure()
    assert joining.provision().host == "local"
    organisation.tenant_id = ""  # nobody says
    joining.hosts = (other,)
    assert joining.provision(desired(user_id="u-bob")).status is Status.PROVISIONED


def test_one_that_is_taken_over_is_known_by_its_mark(joining: Run, organisation: Organisation) -> None:
    [host] = joining.hosts
    joining.provision()
    host.calls.clear()
    assert joining.provision().status is Status.PROVISIONED
    assert "join_entra" in host.calls
    hand_over(host)
    joining.adoptable = (desired().key,)
    host.calls.clear()
    assert joining.provision().status is Status.PROVISIONED
    assert "join_entra" not in host.calls
    assert {device.mark for device in organisation.devices.values()} == {f"[Resource]:local/{IDENTITY}"}
