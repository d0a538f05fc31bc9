"""Killed at any moment: the next run adopts or removes what was begun, and nobody gets two machines."""

from __future__ import annotations

import os
import pty
import signal
import sys
import time
from contextlib import suppress

import pytest

from tests.support.project import UP, Project, user
from tests.support.waiting import wait_until

pytestmark = pytest.mark.engine

CALLS = [
    "claim",
    "ensure_image",
    "create_disk",
    "start",
    "wait_ready",
    "run",
    "set_password",
    "finish ready",
    "finish handedOver",
]


_PROVIDER = b"cloudpc.iac.plugin_process"


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", ["kill", "kill-engine"])
def test_killed_in_a_stage(project: Project, call: str, fault: str) -> None:
    """kill -9 of the provider (of the program, in the last call) or of the engine, once, in each stage."""
    project.policy(timeZone="Europe/Berlin")  # so that there is something to set up
    project.host(faults=[{"call": call, "fault": fault, "times": 1, "user": "u001"}])
    first = project.pulumi(*UP, "demo")
    assert first.code != 0, first
    _wait_for_no_provider(project)

    second = project.cloudpc("up", "demo", "--clear-lock")
    assert second.code == 0, second
    assert set(project.statuses().values()) == {"provisioned"}
    assert set(project.machines()) == {"u000", "u001"}
    assert {m["tag"]["phase"] for m in project.machines().values()} == {"handedOver"}
    assert project.leaks() == []
    third = project.up()
    assert "4 unchanged" in third.output
    assert "pending operations" not in third.output


def test_what_was_complete_is_taken_over_and_not_rebuilt(project: Project) -> None:
    project.host(seconds={"wait_ready": 0.2}, faults=[{"call": "finished ready", "fault": "kill-engine", "times": 1}])
    project.pulumi(*UP, "demo")
    _wait_for_no_provider(project)
    ran = project.cloudpc("up", "demo", "--clear-lock")
    assert ran.code == 0, ran
    assert "was complete when an earlier run stopped: taken over" in ran.output
    assert project.calls().count("start u000") == project.calls().count("start u001") == 1


@pytest.mark.parametrize("fault", ["kill", "kill-engine", "hang"])
def test_a_set_up_that_is_tried_again_and_stopped_in_the_middle(project: Project, fault: str) -> None:
    """Its user goes on working, state says what it said, and the next run does what was asked for."""
    project.policy(packages=["git"])
    project.host(exit_code=100)
    project.up()
    before, machines = project.state()["u001"], project.machines()
    project.host(faults=[{"call": "run", "fault": fault, "times": 1, "user": "u001"}])
    tried = project.calls().count("run u001")
    run = project.start_cloudpc("retry", "u001")
    wait_until(lambda: project.calls().count("run u001") > tried, 60, "its set-up was not repeated")
    if fault == "hang":
        os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode != 0, output
    assert "Traceback" not in output
    _wait_for_no_provider(project)
    assert (project.state()["u001"], project.machines()) == (before, machines)
    assert project.cloudpc("up", "demo", "--clear-lock").code == 0
    assert project.statuses() == {"u000": "provisionedWithWarnings", "u001": "provisioned"}
    assert project.machines() == machines


def test_a_hand_over_that_was_missed_is_made_up_for(project: Project) -> None:
    """State has the machine, the machine does not know: were its entry lost now, it would be taken for unfinished."""
    project.host(faults=[{"call": "finish handedOver", "user": "u000", "fault": "kill-engine", "times": 1}])
    project.pulumi(*UP, "demo")
    _wait_for_no_provider(project)
    assert project.cloudpc("up", "demo", "--clear-lock").code == 0
    project.up()
    assert {m["tag"]["phase"] for m in project.machines().values()} == {"handedOver"}


def test_whatever_is_wrong_with_a_driver_a_hand_over_stops_nobody(project: Project) -> None:
    project.host(faults=[{"call": "finish handedOver", "user": "u001", "fault": "crash", "times": 2}])
    for _ in range(2):
        project.up()
        assert set(project.statuses().values()) == {"provisioned"}
        assert {m["tag"]["phase"] for m in project.machines().values()} == {"ready", "handedOver"}
    project.up()
    assert {m["tag"]["phase"] for m in project.machines().values()} == {"handedOver"}


def test_begun_for_a_waiting_user_who_is_no_longer_entitled_is_removed(project: Project) -> None:
    project.host(memory_mib=512)
    project.up()
    waiting = next(who for who, status in project.statuses().items() if status == "pendingProvision")
    other = next(who for who in project.statuses() if who != waiting)
    project.host(faults=[{"call": "wait_ready", "user": waiting, "fault": "kill-engine", "times": 1}])
    project.pulumi(*UP, "demo")
    _wait_for_no_provider(project, kill=True)
    assert waiting in project.machines()
    project.directory([user(other)])
    assert project.cloudpc("up", "demo", "--clear-lock").code == 0
    assert set(project.machines()) == {other}


def test_begun_for_somebody_who_is_no_longer_entitled_is_removed(project: Project) -> None:
    project.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "kill-engine", "times": 1}])
    project.pulumi(*UP, "demo")
    _wait_for_no_provider(project, kill=True)
    assert "u001" in project.machines()
    project.directory(1)
    ran = project.cloudpc("up", "demo", "--clear-lock")
    assert ran.code == 0, ran
    assert set(project.machines()) == {"u000"}
    assert project.leaks() == []


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_nothing_and_fails_nobody(project: Project, times: int) -> None:
    project.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "hang"}])
    run = project.start(*UP, "demo")
    wait_until(lambda: "wait_ready u001" in project.calls(), 60, "u001 never came to its first boot")
    for _ in range(times):
        os.killpg(run.pid, signal.SIGINT)
        time.sleep(0.3)  # two presses of a person's hand
    output, _ = run.communicate(timeout=60)
    assert run.returncode != 0, output
    _wait_for_no_provider(project)
    assert "u001" not in project.machines(), output
    assert project.leaks() == []
    assert "Traceback" not in output

    project.host()
    assert project.cloudpc("up", "demo", "--clear-lock").code == 0
    assert set(project.statuses().values()) == {"provisioned"}


def test_sigterm_ends_a_run_as_orderly_as_ctrl_c(project: Project) -> None:
    project.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "hang"}])
    run = project.start_cloudpc("up", "demo")
    wait_until(lambda: "wait_ready u001" in project.calls(), 60, "the guest was not waited for")
    run.terminate()
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130, output
    _wait_for_no_provider(project)
    assert "u001" not in project.machines(), output
    assert project.leaks() == []


@pytest.mark.parametrize(
    ("options", "until", "typed", "code"),
    [([], b"first boot", b"\x03", 130), (["--preview"], b"[y/N]", b"n\r", 4), (["--preview"], b"[y/N]", b"y\r", 0)],
    ids=["Ctrl-C in a boot", "no to the preview", "yes to the preview"],
)
def test_a_person_at_a_terminal(project: Project, options: list[str], until: bytes, typed: bytes, code: int) -> None:
    """There Pulumi reads the keys itself, and no signal comes of them."""
    if code == 130:
        project.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "hang"}])
    command = [sys.executable, "-m", "cloudpc.cli.main", "up", "demo", *options]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project.root)
        os.execve(command[0], command, project.env | {"TERM": "xterm"})
    seen = b""
    with suppress(OSError):  # how the end of the other side shows
        while chunk := os.read(terminal, 65536):
            before, seen = seen, seen + chunk
            if until in seen and until not in before:
                os.write(terminal, typed)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == code, seen.decode(errors="replace")
    _wait_for_no_provider(project)
    assert ("u001" in project.machines()) is (code == 0)
    assert project.leaks() == []


def test_ctrl_c_does_not_go_on_with_the_next_policy(project: Project) -> None:
    project.policy("second")
    project.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "hang"}])
    run = project.start_cloudpc("up", "demo", "second", "--at-once", "1")
    wait_until(lambda: "wait_ready u001" in project.calls(), 60, "u001 never came to its first boot")
    os.killpg(run.pid, signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130, output
    assert "Updating (second)" not in output
    assert "Traceback" not in output
    assert "u001" not in project.machines()


def test_a_dead_runs_lock_is_recognised_and_the_way_out_offered(project: Project) -> None:
    project.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "kill-engine", "times": 1}])
    project.pulumi(*UP, "demo")
    _wait_for_no_provider(project)
    refused = project.cloudpc("up", "demo")
    assert refused.code == 1
    assert "died and left its lock" in refused.output
    assert "--clear-lock" in refused.output


def test_a_living_runs_lock_is_respected(project: Project) -> None:
    project.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "hang"}])
    run = project.start(*UP, "demo")
    wait_until(lambda: "wait_ready u001" in project.calls(), 60, "u001 never came to its first boot")
    refused = project.cloudpc("up", "demo", "--clear-lock")
    assert refused.code == 1
    assert "another run is working on demo" in refused.output
    os.killpg(run.pid, signal.SIGINT)
    run.communicate(timeout=60)


@pytest.mark.parametrize(("name", "kept"), [("demo.json", 1000), ("demo.json.attrs", 0)])
def test_half_written_state_is_mended(project: Project, name: str, kept: int) -> None:
    """Attributes are written in place, so that a kill cuts them off; state itself only by a loss of power."""
    project.up()
    project.directory(3)
    project.host(faults=[{"call": "wait_ready", "user": "u002", "fault": "kill-engine", "times": 1}])
    project.pulumi(*UP, "demo")
    _wait_for_no_provider(project)
    state = project.root / "state" / ".pulumi" / "stacks" / "cloudpc" / name
    half = state.read_bytes()[:kept]
    state.write_bytes(half)
    told = project.cloudpc("list")
    assert told.code == 1, told
    assert "`cloudpc up --clear-lock` repairs it" in told.output
    refused = project.cloudpc("up", "demo")
    assert refused.code == 1
    assert "was cut off while it wrote" in refused.output
    assert state.read_bytes() == half, "touched without a yes"
    ran = project.cloudpc("up", "demo", "--clear-lock")
    assert ran.code == 0, ran
    assert set(project.statuses().values()) == {"provisioned"}
    assert len(project.machines()) == 3
    assert project.leaks() == []


def _wait_for_no_provider(project: Project, *, kill: bool = False) -> None:
    for pid in project.processes(_PROVIDER) if kill else []:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not project.processes(_PROVIDER), 60, "the provider outlived the engine")
