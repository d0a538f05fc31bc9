"""What is done on a machine that stays: power, name, troubleshooting; what it comes to, and what is recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cloudpc.model.access import Ssh
from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Finding
from cloudpc.model.machines import PowerState
from cloudpc.rules.actions.case import Case
from cloudpc.rules.actions.end_grace import END_GRACE, AnotherEnd
from cloudpc.rules.actions.on_machine import OnMachine
from cloudpc.rules.actions.power import POWER_OFF, POWER_ON, RESTART, IsOff, IsOn
from cloudpc.rules.actions.reasons import Done, Ignored, WrongStatus
from cloudpc.rules.actions.rename import RENAME, DisplayName, IsItsName, display_name
from cloudpc.rules.actions.reprovision import REPROVISION
from cloudpc.rules.actions.retry import RETRY
from cloudpc.rules.actions.troubleshoot import TROUBLESHOOT, _told
from cloudpc.rules.actions.update_kernel import UPDATE_KERNEL
from cloudpc.rules.asked import Asked
from cloudpc.rules.notices import Reason

from . import make
from .fake_rim import Lines
from .test_actions import LOST, candidate, recorded

_WAY = Ssh(host="10.0.0.5", port=22, host_key="ssh-ed25519 pinned")


class Host:
    """One machine; what is called is kept."""

    name = "local"

    def __init__(self, power: PowerState = PowerState.RUNNING, paused_because: str = "") -> None:
        self.machine: Any = SimpleNamespace(power=power, paused_because=paused_because)
        self.calls: list[Any] = []
        self.way = _WAY
        self.answer = Completed(0, "")
        self.error: ProvisioningError | None = None

    def shut_down(self, machine_id: object, watch: object, *, stays_off: bool) -> str:
        self.calls.append((machine_id, watch, stays_off))
        return "its guest shut down"

    def start(self, *_: object) -> None: ...

    def describe(self, machine_id: object) -> Any:
        self.calls.append(machine_id)
        return self.machine

    def access(self, machine_id: object, watch: object) -> Ssh:
        self.calls.append((machine_id, watch))
        if self.error:
            raise self.error
        return self.way

    def guest(self, machine_id: object) -> Any:
        self.calls.append(machine_id)
        return SimpleNamespace(run=self._run)

    def _run(self, scripts: object, watch: object) -> list[Completed]:
        self.calls.append((scripts, watch))
        return [self.answer]


class System:
    """Of a guest that can be looked at."""

    def troubleshoot(self, now: datetime) -> str:
        return f"script at {now:%H:%M}"

    def findings(self, output: str) -> list[Finding]:
        return [Finding(line, mended=line.startswith("was")) for line in output.splitlines()]


class Watch:
    """Keeps notes, and how long what is begun may take."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def within(self, seconds: float) -> float:
        return seconds


class Workplace:
    """As an action has it; the machine is woken by saying so."""

    def __init__(self, asked: RecordedCloudPC, host: Any = None, system: Any = None) -> None:
        self.recorded, self.desired = recorded(access=_WAY), asked
        self.host, self.guest_os = host or Host(), system or System()
        self.report, self.watch, self.now = Lines(), Watch(), make.NOW
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def _asked(action: OnMachine[Any], asked: Asked) -> RecordedCloudPC:
    return action.noted(recorded(access=_WAY), asked)


_CLOUD_PC = recorded().machine_id


def called(name: str, generation: int) -> DisplayName:
    return DisplayName.model_validate({"generation": generation, "displayName": name})


@pytest.mark.parametrize(
    ("action", "said", "woken", "shut_down", "power"),
    [
        (POWER_OFF, "powered off: its guest shut down", 0, [True], "poweredOff"),
        (POWER_ON, "powered on", 1, [], "running"),
        (RESTART, "restarted: its guest shut down, and started", 1, [False], "running"),
    ],
)
def test_what_becomes_of_its_power(
    action: OnMachine[Asked], said: str, woken: int, shut_down: list[bool], power: str
) -> None:
    at: Any = Workplace(_asked(action, Asked(generation=2)))
    after = action.carry_out(at)
    assert at.host.calls == [(_CLOUD_PC, at.watch, stays_off) for stays_off in shut_down]
    assert at.watch.notes == ["shutting down its guest"] * len(shut_down)
    assert (at.report.milestones, at.report.warnings, at.woken) == ([said], [], woken)
    assert (after.power_state, after.desired_power_state) == (power, power)
    assert after.actions == {action.name: 2}
    assert after.events == (f"2026-11-24T09:00:00Z provisioned {said}",)
    assert after.last_modified_date_time == make.NOW


def test_where_machines_are_not_shut_down_from_here_it_says_so() -> None:
    at: Any = Workplace(recorded(), SimpleNamespace(name="cloud"))
    with pytest.raises(ProvisioningError) as refused:
        POWER_OFF.carry_out(at)
    assert (refused.value.code, refused.value.retriable) == (ErrorCode.HYPERVISOR_ERROR, False)
    assert refused.value.message == "machines on cloud can't be turned off from here; shut the guest down from inside"


def test_what_nobody_has_expected_is_told_and_logged_with_what_was_done(caplog: pytest.LogCaptureFixture) -> None:
    at: Any = Workplace(recorded(), Host())
    at.wake = {}.popitem
    with pytest.raises(ProvisioningError, match="unexpected KeyError"):
        POWER_ON.carry_out(at)
    assert f"power-on of {_CLOUD_PC}" in caplog.text


_OFF = recorded(power_state="poweredOff", desired_power_state="poweredOff")
_OFF_BY_HAND, _ON_BY_HAND = recorded(power_state="poweredOff"), recorded(desired_power_state="poweredOff")
_GRACE = recorded(Status.IN_GRACE_PERIOD)


@pytest.mark.parametrize(
    ("action", "pc", "why"),
    [
        (POWER_OFF, recorded(), None),
        (POWER_OFF, _OFF, IsOff()),
        (POWER_OFF, _OFF_BY_HAND, None),
        (
            POWER_OFF,
            LOST,
            WrongStatus(Status.FAILED, "only one that is provisioned or provisionedWithWarnings can be powered off"),
        ),
        (POWER_ON, recorded(), IsOn()),
        (POWER_ON, _OFF, None),
        (POWER_ON, _OFF_BY_HAND, None),
        (POWER_ON, _ON_BY_HAND, None),
        (
            POWER_ON,
            LOST,
            WrongStatus(Status.FAILED, "only one that is provisioned or provisionedWithWarnings can be powered on"),
        ),
        (RESTART, _OFF, None),
        (RESTART, _GRACE, WrongStatus(Status.IN_GRACE_PERIOD, RESTART.rule)),
        (TROUBLESHOOT, recorded(), None),
        (TROUBLESHOOT, _OFF, IsOff()),
    ],
)
def test_what_is_so_already_is_not_asked_for(action: OnMachine[Asked], pc: RecordedCloudPC, why: Reason | None) -> None:
    assert action.refusal(candidate(pc)) == why
    assert (str(IsOff()), str(IsOn())) == ("it is powered off already", "it is powered on already")


def _plan(action: OnMachine[Any], pc: RecordedCloudPC, asked: Any) -> Any:
    return action.plan(Case(pc, asked, make.settings(), lambda _: pc))


@pytest.mark.parametrize(
    ("action", "power"), [(POWER_OFF, "poweredOff"), (POWER_ON, "running"), (RESTART, "running")]
)  # fmt: skip
def test_its_power_is_wanted_from_then_on(action: OnMachine[Asked], power: str) -> None:
    for before in (recorded(), _OFF):
        answer = _plan(action, before, 1)
        assert (answer.desired.desired_power_state, answer.desired.actions) == (power, {action.name: 1})
        assert answer.told == [Done(action.name, action.notice)]


@pytest.mark.parametrize("before", [recorded(), _OFF])
def test_a_new_name_leaves_its_power_as_it_was(before: RecordedCloudPC) -> None:
    answer = _plan(RENAME, before, called("Ada", 1))
    assert answer.told == [Done("rename", "is called Ada")]
    assert answer.desired.desired_power_state == before.desired_power_state
    after = RENAME.after(before, answer.desired)
    assert (after.desired_power_state, after.power_state) == (before.desired_power_state, before.power_state)
    assert display_name(after) == "Ada"


def test_what_speaks_against_it_is_told_and_nothing_is_done() -> None:
    answer = _plan(TROUBLESHOOT, _OFF, 1)
    assert answer.desired is None
    assert answer.told == [Ignored("troubleshoot", "it is powered off already")]


def test_it_is_called_as_its_device_until_somebody_renames_it() -> None:
    pc = recorded()
    new = called("Ada", 1)
    named = RENAME.noted(pc, new)
    assert (display_name(pc), display_name(named)) == (pc.device_name, "Ada")
    asking: Any = candidate(named)
    asking.asked = new
    assert RENAME.refusal(asking) == IsItsName("Ada")
    assert str(IsItsName("Ada")) == "it is called Ada already"
    asking.recorded = pc
    assert RENAME.refusal(asking) is None
    at: Any = Workplace(named)
    assert RENAME.carry_out(at).events == ("2026-11-24T09:00:00Z provisioned is called Ada",)


def test_one_name_takes_the_place_of_another_and_leaves_what_else_was_asked_for() -> None:
    other = recorded(actions={"restart": 3}, action_arguments={"other": {"to": "x"}})
    first = RENAME.noted(other, called("Ada", 1))
    second = RENAME.noted(first, called("Bob", 2))
    assert second.actions == {"restart": 3, "rename": 2}
    assert second.action_arguments == {"other": {"to": "x"}, "rename": {"displayName": "Bob"}}
    assert RENAME.given(second) == called("Bob", 2)
    assert RENAME.same_as(other, second) == second
    assert RENAME.same_as(second, other).action_arguments == other.action_arguments
    assert RENAME.taken_back(other, second) == second
    assert RENAME.taken_back(second, second) is second
    assert "restart" not in RESTART.noted(other, Asked(generation=4)).action_arguments


def test_what_a_command_writes_has_its_argument_beside_the_generation() -> None:
    pc, new = recorded(actions={"rename": 2, "restart": 2}), called("Ada", 1)
    assert RENAME.asks(pc, None, new) == called("Ada", 3)
    assert RENAME.asks(pc) == 3
    assert RESTART.asks(pc, 5, Asked(generation=1)) == 6


class _Size(Asked):
    size: int


class _Resize(type(RESTART)):  # type: ignore[misc]
    """Takes a number, and looks at what is asked for."""

    name = "resize"
    asked = _Size

    def why_not(self, request: Any) -> Reason | None:
        return IsItsName("so") if request.asked.size > 8 else None


def test_an_argument_that_is_a_number_is_read_as_state_has_it() -> None:
    resize, asked = _Resize(), _Size(generation=2, size=9)
    pc = RecordedCloudPC.model_validate(make.through_pulumi(resize.noted(recorded(), asked).model_dump(mode="json")))
    assert resize.given(pc) == asked
    assert RESTART.given(RESTART.noted(recorded(), Asked(generation=3))) == Asked(generation=3)


def test_a_refusal_knows_what_is_asked_for() -> None:
    asking: Any = candidate(recorded())
    asking.asked = _Size(generation=1, size=9)
    assert _Resize().refusal(asking) == IsItsName("so")
    asking.asked = _Size(generation=1, size=8)
    assert _Resize().refusal(asking) is None


# ---- troubleshooting


def test_all_is_well() -> None:
    at: Any = Workplace(_asked(TROUBLESHOOT, Asked(generation=1)))
    after = TROUBLESHOOT.carry_out(at)
    assert (at.report.milestones, at.report.warnings) == (["troubleshoot: no issues found"], [])
    assert at.host.calls == [
        _CLOUD_PC, _CLOUD_PC, (["script at 09:00"], at.watch), (_CLOUD_PC, 60.0),
    ]  # fmt: skip
    assert (at.woken, after.access, after.status) == (1, _WAY, Status.PROVISIONED)


@pytest.mark.parametrize(
    ("power", "because", "said"),
    [
        (PowerState.STOPPED, "", "it was off, and works again"),
        (PowerState.PAUSED, "no space left", "it was paused (no space left), and works again"),
    ],
)
def test_one_that_stood_still_works_again(power: PowerState, because: str, said: str) -> None:
    at: Any = Workplace(recorded(), Host(power, because))
    came = TROUBLESHOOT.work(at)
    assert (came.said, came.warning) == (f"troubleshoot: issues found and resolved: {said}", False)


def test_one_that_its_host_does_not_know_has_no_power_to_tell_of() -> None:
    at: Any = Workplace(recorded())
    at.host.machine = None
    assert TROUBLESHOOT.work(at).said == "troubleshoot: no issues found"


def test_another_address_is_recorded() -> None:
    at: Any = Workplace(_asked(TROUBLESHOOT, Asked(generation=1)))
    at.host.way = Ssh(host="10.0.0.9", port=23)
    after = TROUBLESHOOT.carry_out(at)
    said = "troubleshoot: issues found and resolved: its address has changed, and is 10.0.0.9:23 now"
    assert (at.report.milestones, at.report.warnings) == ([said], [])
    assert after.access == Ssh(host="10.0.0.9", port=23, host_key="ssh-ed25519 pinned")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Completed(0, "was x\nis y"), "is y; was x"),
        (Completed(3, ""), "its guest could not be looked at: exit code 3"),
        (Completed(3, "no shell"), "its guest could not be looked at: no shell"),
        (
            Completed(0, "no end in 60 s", timed_out=True),
            "its guest could not be looked at: no end in 60 s",
        ),
    ],
)
def test_what_is_found_inside_and_could_not_be_mended_comes_first(answer: Completed, said: str) -> None:
    at: Any = Workplace(_asked(TROUBLESHOOT, Asked(generation=1)))
    at.host.answer = answer
    TROUBLESHOOT.carry_out(at)
    assert at.report.warnings == [f"troubleshoot: issues found that could not be resolved: {said}"]


def test_a_system_that_cannot_be_looked_at_is_not() -> None:
    at: Any = Workplace(recorded(), system=SimpleNamespace())
    assert TROUBLESHOOT.work(at).said == "troubleshoot: no issues found"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (ErrorCode.HOST_UNREACHABLE, "its host is not available now: no route"),
        (ErrorCode.GUEST_DIED, "issues found that could not be resolved: no route [guestDied]"),
    ],
)
def test_what_ends_the_look_is_its_outcome(code: ErrorCode, said: str) -> None:
    at: Any = Workplace(_asked(TROUBLESHOOT, Asked(generation=1)))
    at.host.error = ProvisioningError(code, "no route")
    after = TROUBLESHOOT.carry_out(at)
    assert at.report.warnings == [f"troubleshoot: {said}"]
    assert after.access == _WAY


def test_what_changes_is_recorded_however_it_ends() -> None:
    changes = {"access": _WAY}
    mended, left = Finding("a", mended=True), Finding("b", mended=False)
    assert [_told(found, changes).changes for found in ([mended], [left])] == [changes, changes]


# ---- the end of a grace period


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-30T09:00:00Z",
        "2026-11-30 09:00:00 +0000 UTC",
        "2026-11-30 10:00:00 +0100 CET",
        datetime(2026, 11, 30, 9, tzinfo=UTC),
    ],
)  # fmt: skip
def test_a_time_is_read_as_a_file_or_the_engine_has_it(written: object) -> None:
    trace = TypeAdapter(END_GRACE.trace)
    assert trace.validate_python({"k": written}) == {"k": datetime(2026, 11, 30, 9, tzinfo=UTC)}


@pytest.mark.parametrize("written", ["2026-11-30T09:00:00", "soon", 7])
def test_a_time_without_its_zone_is_none(written: object) -> None:
    with pytest.raises(ValidationError, match="must be a time with its zone, for example 2026-11-30T09:00:00Z"):
        TypeAdapter(END_GRACE.trace).validate_python({"k": written})


def test_only_one_in_grace_has_an_end() -> None:
    assert END_GRACE.asks(recorded()) == ""
    no_end, past = recorded(Status.IN_GRACE_PERIOD), recorded(grace_period_end_date_time=make.NOW)
    assert (END_GRACE.is_done(no_end, ""), END_GRACE.is_done(past, "")) == (True, True)
    later = make.NOW + timedelta(days=1)
    assert END_GRACE.ignored(no_end, later, make.NOW) == AnotherEnd(later, make.NOW)


# ---- what makes another machine


@pytest.mark.parametrize("action", [POWER_OFF, RENAME, TROUBLESHOOT, UPDATE_KERNEL, END_GRACE])
def test_none_of_them_gives_another_machine(action: OnMachine[Any]) -> None:
    assert not action.makes_machine(recorded(Status.FAILED))


def test_a_reprovision_does_and_a_retry_of_one_that_has_none() -> None:
    assert REPROVISION.makes_machine(recorded())
    assert [RETRY.makes_machine(recorded(s)) for s in (Status.FAILED, Status.PROVISIONED_WITH_WARNINGS)] == [
        True,
        False,
    ]


# ---- kernels


def test_a_kernel_is_that_of_the_image_which_its_machine_was_made_of() -> None:
    new, disk = "cd" * 32, "ef" * 32
    today = make.settings(image_digest=new, image_forms={"disk": disk})
    case = Case(recorded(), 1, today, lambda _: recorded())
    assert UPDATE_KERNEL.plan(case).desired.kernel_digest == new  # type: ignore[union-attr]
    before = recorded(settings=make.settings(image_kind="disk"))
    desired = UPDATE_KERNEL.plan(Case(before, 1, today, lambda _: before)).desired
    assert desired is not None
    assert (desired.kernel_digest, UPDATE_KERNEL.after(before, desired).kernel_digest) == (disk, disk)
    other = make.settings(image_digest=new)
    assert UPDATE_KERNEL.plan(Case(before, 1, other, lambda _: before)).desired is None, "it has none of that kind"
    asked: list[Any] = []
    host: Any = SimpleNamespace(
        name="local",
        bring_image=lambda image, watch: asked.append((image, watch)),
        update_kernel=lambda machine, image, watch: f"{machine} has {image.image_id}",
    )
    at: Any = Workplace(desired, host)  # type: ignore[arg-type]
    at.image = lambda settings: asked.append(settings) or SimpleNamespace(image_id="micro")
    assert UPDATE_KERNEL.work(at).said == f"{_CLOUD_PC} has micro"
    assert asked[0] == desired.settings.model_copy(update={"image_digest": disk})
    assert at.watch.notes == ["kernel of micro on local"]


def test_where_no_kernel_is_moved_the_set_up_has_failed() -> None:
    at: Any = Workplace(recorded(), SimpleNamespace(name="cloud"))
    with pytest.raises(ProvisioningError) as refused:
        UPDATE_KERNEL.work(at)
    assert refused.value.code is ErrorCode.SET_UP_FAILED
