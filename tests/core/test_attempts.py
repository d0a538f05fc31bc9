"""Three attempts: each stage and each way to fail, what is tried again, and Cancel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cloudpc.model.cloud_pc import Status
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase

from .fake_rim import CALLS, STAGES, PatientCancellation, Run, ScriptedHost, desired, machines

every_call = pytest.mark.parametrize("call", CALLS)


@every_call
def test_an_error_that_stays_fails_after_three_attempts(host: ScriptedHost, call: str) -> None:
    host.configure(faults=[{"call": call, "fault": "error"}])
    run = Run(host)
    outcome = run.provision()
    stage, code = STAGES[call]
    assert outcome.status is Status.FAILED
    assert (outcome.stage, outcome.error and outcome.error.code) == (stage, code)
    assert outcome.attempts == 3
    assert outcome.host == ("" if stage is Stage.PLACING else "local")
    assert host.calls.count(call) == 3
    assert host.things() == []
    assert outcome.credentials is None
    assert [line.partition(":")[0] for line in run.lines.milestones] == [
        f"attempt {number} of 3 failed in {stage}" for number in (1, 2)
    ]


@every_call
def test_an_error_that_passes_costs_an_attempt(host: ScriptedHost, call: str) -> None:
    host.configure(faults=[{"call": call, "fault": "error", "times": 1}])
    outcome = Run(host).provision()
    assert outcome.status is Status.PROVISIONED
    assert outcome.attempts == 2
    assert machines([host]) == {"local": [Phase.READY]}


@every_call
def test_what_cannot_end_differently_is_not_tried_again(host: ScriptedHost, call: str) -> None:
    host.configure(faults=[{"call": call, "fault": "error", "retriable": False}])
    run = Run(host)
    outcome = run.provision()
    stage, code = STAGES[call]
    assert outcome.status is Status.FAILED
    assert (outcome.stage, outcome.error and outcome.error.code, outcome.attempts) == (stage, code, 1)
    assert host.things() == []


@every_call
def test_a_bug_is_a_failure_like_others(host: ScriptedHost, call: str) -> None:
    host.configure(faults=[{"call": call, "fault": "crash"}])
    outcome = Run(host).provision()
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.INTERNAL_ERROR
    assert "RuntimeError" in outcome.error.message
    assert (outcome.stage, outcome.attempts) == (STAGES[call][0], 3)
    assert host.things() == []


@every_call
def test_cancel_stops_cleans_up_and_records_nothing(host: ScriptedHost, call: str) -> None:
    run = Run(host)
    host.hooks[call] = run.cancel.cancel
    if STAGES[call][0] is Stage.CREDENTIALS:  # the last stage: what is complete is handed out
        assert run.provision().status is Status.PROVISIONED
        return
    with pytest.raises(Cancelled):
        run.provision()
    assert host.things() == []
    assert host.calls.count(call) == 1


def test_cancel_during_the_pause_between_attempts(host: ScriptedHost) -> None:
    class Impatient(PatientCancellation):
        def wait(self, seconds: float) -> None:
            self.cancel()
            super().wait(seconds)

    host.configure(faults=[{"call": "wait_ready", "fault": "error"}])
    with pytest.raises(Cancelled):
        Run(host, cancel=Impatient()).provision()
    assert host.calls.count("wait_ready") == 1
    assert host.things() == []


def test_ctrl_c_cleans_up_too(host: ScriptedHost) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    host.hooks["wait_ready"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        Run(host).provision()
    assert host.things() == []


def test_a_boot_that_takes_too_long(host: ScriptedHost) -> None:
    host.configure(faults=[{"call": "wait_ready", "fault": "timeout"}])
    outcome = Run(host).provision(desired(first_boot_in_seconds=7))
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.BOOT_TIMEOUT
    assert outcome.error.message == "not ready after 7 s"
    assert outcome.attempts == 3
    assert host.things() == []


def test_pauses_grow(host: ScriptedHost) -> None:
    host.configure(faults=[{"call": "start", "fault": "error"}])
    cancel = PatientCancellation()
    Run(host, cancel=cancel).provision()
    assert cancel.waits == [2.0, 4.0]


def test_the_device_name_stays_the_same_over_attempts(host: ScriptedHost) -> None:
    seen: set[str] = set()
    host.hooks["wait_ready"] = lambda: seen.update(m.tag.device_name for m in host.machines())
    host.configure(faults=[{"call": "wait_ready", "fault": "error", "times": 2}])
    assert Run(host).provision().attempts == 3
    assert seen == {desired().device_name}


def test_a_broken_host_does_not_get_every_attempt(tmp_path: Path) -> None:
    broken = ScriptedHost(tmp_path, "broken", cores=64, faults=[{"call": "create_disk", "fault": "error"}])
    sound = ScriptedHost(tmp_path, "sound", cores=2)
    outcome = Run(broken, sound).provision()
    assert (outcome.status, outcome.host, outcome.attempts) == (Status.PROVISIONED, "sound", 2)
    assert broken.things() == []


def test_warnings_of_a_failed_attempt_are_forgotten(tmp_path: Path) -> None:
    host = ScriptedHost(tmp_path, faults=[
        {"call": "run", "fault": "timeout", "times": 1}, {"call": "set_password", "fault": "error", "times": 1},
    ])  # fmt: skip
    outcome = Run(host).provision()
    assert (outcome.status, outcome.attempts, outcome.warnings) == (Status.PROVISIONED, 2, ())


@pytest.mark.parametrize(("what", "stage"), [("image", Stage.IMAGE), ("script", Stage.SET_UP)])
def test_what_the_rim_refuses_fails_in_its_stage(host: ScriptedHost, what: str, stage: Stage) -> None:
    def refuse(*_: Any) -> Any:
        raise ProvisioningError(ErrorCode.SET_UP_FAILED, "was changed during this run", retriable=False)

    run = Run(host)
    setattr(run, what, refuse)
    outcome = run.provision()
    assert (outcome.status, outcome.stage, outcome.attempts) == (Status.FAILED, stage, 1)
    assert host.things() == []


def test_progress_says_which_attempt_it_is(host: ScriptedHost) -> None:
    host.configure(faults=[{"call": "start", "fault": "error", "times": 1}])
    run = Run(host)
    run.provision()
    again: Callable[[str], bool] = lambda line: line.endswith("(attempt 2 of 3)")  # noqa: E731
    assert [line for line in run.lines.steps if again(line)]
    assert run.lines.milestones == ["attempt 1 of 3 failed in starting: injected fault in start; next in 2 s"]
    assert run.lines.warnings == run.lines.milestones
