"""The guest of an Azure VM: scripts by managed run commands, few writes, and what goes wrong in words."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from cloudpc import guests
from cloudpc.machines.azure import guest, run_command
from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.guest import AzureGuest
from cloudpc.machines.azure.once import once
from cloudpc.machines.azure.readiness import wait_until_ready
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Script
from cloudpc.model.watch import Watch
from tests.azure.arm import FakeArm
from tests.azure.back_ends import Command, GuestStatus, Outcome, Vm
from tests.azure.client import Http
from tests.azure.shell import Shell
from tests.azure.throttling import READS, WRITES

_LINUX = guests.named("linux")
_SAYS = Script('echo "$1"; exit 3', timeout=20, arguments=("hello",))
_PUT, _DELETE = "VirtualMachineRunCommands_CreateOrUpdate", "VirtualMachineRunCommands_Delete"


@pytest.fixture
def arm(tmp_path: Path) -> Iterator[FakeArm]:
    """One whose scripts run in this machine's shell."""
    with FakeArm(back_end=Shell(tmp_path)) as running:
        yield running
    assert not running.violations


@pytest.fixture
def ours(arm: FakeArm, http: Http, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arm]:
    """What the driver reaches it by; there is a machine `vm`."""
    http.made()
    found = reaching(arm, monkeypatch)
    yield found
    found.close()


def reaching(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> Arm:
    """What the driver reaches the fake by."""
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    entry = {
        "name": "weu", "kind": "azure", "subscriptionId": arm.account.subscription, "auth": "token",
        "resourceGroup": arm.account.group, "location": arm.account.location, "endpoint": arm.url,
    }  # fmt: skip
    return Arm(AzureHostConfig.model_validate(entry))


def run(ours: Arm, *scripts: Script, watch: Watch | None = None) -> list[Completed]:
    """In the machine."""
    return AzureGuest(ours, "vm").run(scripts, watch or Watch())


def refused(ours: Arm, *scripts: Script, watch: Watch | None = None) -> ProvisioningError:
    """Why they could not be run."""
    with pytest.raises(ProvisioningError) as error:
        run(ours, *scripts, watch=watch)
    return error.value


def writes(arm: FakeArm) -> list[str]:
    """To the machine, since it was made."""
    return [r.operation for r in arm.log if r.method != "GET" and "/virtualMachines/vm/" in r.path]


# ---- few, whole scripts


def test_all_scripts_are_one_command_that_is_gone_when_they_are_over(arm: FakeArm, http: Http, ours: Arm) -> None:
    assert run(ours, _SAYS, Script("cat", timeout=20, stdin="grüß".encode())) == [
        Completed(3, "hello\n"),
        Completed(0, "grüß"),
    ]
    assert writes(arm) == [_PUT, _DELETE]
    [sent] = arm.requests(_PUT)
    assert sent.body["properties"]["asyncExecution"] is True
    assert http.get("virtualMachines/vm/runCommands").body["value"] == []


def test_none_are_no_request(arm: FakeArm, ours: Arm) -> None:
    before = len(arm.log)
    assert run(ours) == []
    assert len(arm.log) == before


def test_a_whole_provisioning_writes_eight_times_to_its_machine_and_is_never_throttled(
    arm: FakeArm, http: Http, ours: Arm
) -> None:
    """First boot, domain join, set-up with facts, password; and the clock stands still, so that nothing is refilled."""
    arm.clock.speed = 0
    vm_id = arm.account.id("virtualMachines", "vm")
    left = arm.buckets.left(WRITES, vm_id)
    shell = arm.back_end
    assert isinstance(shell, Shell)
    (shell.folder / "vm" / "0" / "cloud-init").mkdir(parents=True)
    (shell.folder / "vm" / "0" / "cloud-init" / "result.json").write_text('{"v1": {"errors": []}}')
    wait_until_ready(ours, "vm", _LINUX, Watch().within(60))
    run(ours, Script("true", timeout=20, name="join", secrets={"JOIN_PASSWORD": "x"}))
    run(ours, _SAYS, _SAYS, _LINUX.facts())
    run(ours, Script("true", timeout=20, name="set-password", secrets={"CLOUDPC_PASSWORD": "x"}))
    assert len(writes(arm)) == 8
    assert left - arm.buckets.left(WRITES, vm_id) == 8
    assert arm.buckets.left(READS, vm_id) > 10
    assert not [logged for logged in arm.log if logged.status == 429]


def test_azure_is_asked_no_more_often_than_it_refills(arm: FakeArm, ours: Arm) -> None:
    """One that takes seven minutes, in a hundredth of the time."""
    arm.clock.speed = 100
    began = arm.clock.now()
    assert run(ours, Script("sleep 4", timeout=20))[0].exit_code == 0
    assert arm.clock.now() - began > 350
    assert not [logged for logged in arm.log if logged.status == 429]
    assert arm.count("VirtualMachineRunCommands_GetByVirtualMachine") < 60


# ---- secrets


def test_secrets_are_protected_parameters_and_nowhere_else(arm: FakeArm, ours: Arm) -> None:
    secret = secrets.token_hex(16)
    [done] = run(ours, Script('echo "$SECRET" | wc -c', timeout=20, secrets={"SECRET": secret}))
    assert done.output.strip() == "33"
    [sent] = arm.requests(_PUT)
    properties = sent.body["properties"]
    assert [each["value"] for each in properties.pop("protectedParameters")] == [secret]
    assert secret not in json.dumps(properties)
    assert secret not in sent.path


def test_the_last_script_leaves_no_trace_of_those_before(arm: FakeArm, ours: Arm) -> None:
    shell = arm.back_end
    assert isinstance(shell, Shell)
    memory, kept = (shell.folder / "vm" / number for number in "21")
    for place in (memory, kept):
        (place / "cloudpc-before" / "0").mkdir(parents=True)
        (place / "others").mkdir()
    run(ours, _SAYS)
    [own] = [path.name for path in memory.iterdir() if path.name.startswith("cloudpc-")]
    assert own.startswith("cloudpc-")
    assert own != "cloudpc-before"
    assert sorted(path.name for path in memory.iterdir()) == sorted([own, "others"])
    assert [path.name for path in kept.iterdir()] == ["others"]


# ---- what goes wrong


def test_a_command_whose_answer_was_lost_runs_once(arm: FakeArm, ours: Arm, tmp_path: Path) -> None:
    arm.drop(_PUT, when="after")
    count = tmp_path / "count"
    [done] = run(ours, Script(f"sleep 1; echo x >> {count}; cat {count}", timeout=20))
    assert done == Completed(0, "x\n")
    assert count.read_text() == "x\n"


def test_one_that_azure_starts_twice_runs_once_and_says_the_same_twice(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    vm = Vm("", "vm", "Linux", "", {}, 1, 1)
    command = Command(once("cloudpc-1", f"echo x >> {tmp_path}/count; sleep 0.5; echo said"), {}, 20)
    said: list[Outcome] = []
    both = [threading.Thread(target=lambda: said.append(shell.run(vm, command))) for _ in range(2)]
    for thread in both:
        thread.start()
        time.sleep(0.1)
    for thread in both:
        thread.join()
    assert [each.output for each in said] == ["said\ncloudpc-done 0\n"] * 2
    assert (tmp_path / "count").read_text() == "x\n"


def test_one_that_azure_calls_running_for_ever_is_over_when_it_has_said_so(arm: FakeArm, ours: Arm) -> None:
    shell = arm.back_end
    assert isinstance(shell, Shell)

    def runs_on(vm: Vm, command: Command) -> Outcome:
        outcome = shell.in_shell(vm, command)
        with arm.lock:
            [found] = arm.resources.of("Microsoft.Compute/virtualMachines/runCommands")
            found.runtime["output"] = outcome.output
        command.cancelled.wait(30)
        raise TimeoutError

    shell.otherwise = runs_on
    assert run(ours, _SAYS) == [Completed(3, "hello\n")]


def test_one_that_restarts_its_machine_is_late_and_the_next_ones_run(arm: FakeArm, ours: Arm) -> None:
    """Its end was lost; as on other hosts, that is reported, and no more."""
    restarts = Script("kill -KILL -$(ps -o pgid= -p $PPID | tr -d ' ')", timeout=20, interpreter=("/bin/sh", "-c"))
    first, second, third = run(ours, _SAYS, restarts, _SAYS)
    assert (first, third) == (Completed(3, "hello\n"), Completed(3, "hello\n"))
    assert second.timed_out
    assert len(writes(arm)) == 4


def test_one_that_is_never_heard_of_again_is_asked_for_and_the_agent_then_lost(
    arm: FakeArm, ours: Arm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "_REPORTS_WITHIN", -9.0)
    monkeypatch.setattr(guest, "_ANSWERS_WITHIN", 0.3)
    arm.run_commands_stick = True
    error = refused(ours, Script("true", timeout=0.2))
    assert error.code is ErrorCode.GUEST_AGENT_LOST
    assert "no longer says what became of scripts" in error.message
    assert writes(arm) == [_PUT, _PUT, _DELETE, _DELETE]


def test_one_that_azure_never_hears_of_again_is_told_by_the_guest(
    arm: FakeArm, ours: Arm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "_ASKED_EVERY", 0.5)
    shell = arm.back_end
    assert isinstance(shell, Shell)

    def is_lost(vm: Vm, command: Command) -> Outcome:
        outcome = shell.in_shell(vm, command)
        if "at-work" not in command.script:
            command.cancelled.wait(30)
        return outcome

    shell.otherwise = is_lost
    arm.buckets.on = False
    slow = Script("sleep 2; echo slow", timeout=20)
    assert run(ours, _SAYS, slow) == [Completed(3, "hello\n"), Completed(0, "slow\n")]
    assert arm.count(_PUT) > 2, "it was at work when it was asked for first"


def test_what_a_restart_cuts_off_is_late_and_what_is_behind_it_runs(
    arm: FakeArm, ours: Arm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure goes on calling it running."""
    monkeypatch.setattr(guest, "_ASKED_EVERY", 0.5)
    shell = arm.back_end
    assert isinstance(shell, Shell)

    def is_cut_off(vm: Vm, command: Command) -> Outcome:
        outcome = shell.in_shell(vm, command)
        if "kill -KILL" in command.script and "restarts" in command.script:
            command.cancelled.wait(30)
        return outcome

    shell.otherwise = is_cut_off
    restarts = Script(
        ": restarts; kill -KILL -$(ps -o pgid= -p $PPID | tr -d ' ')", timeout=20, interpreter=("/bin/sh", "-c")
    )
    first, second, third = run(ours, _SAYS, restarts, _SAYS)
    assert (first, third) == (Completed(3, "hello\n"), Completed(3, "hello\n"))
    assert second.timed_out


def test_a_machine_that_stops_meanwhile_has_died(
    arm: FakeArm, ours: Arm, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "_ASKED_EVERY", 0.5)
    monkeypatch.setattr(guest, "_BEGINS_WITHIN", 5)  # it may stop before the script has begun
    shell = arm.back_end
    assert isinstance(shell, Shell)
    threading.Timer(0.3, lambda: shell.states.update(vm=GuestStatus(running=False, agent=False))).start()
    error = refused(ours, Script("sleep 20", timeout=30))
    assert (error.code, "vm on weu is stopped" in error.message) == (ErrorCode.GUEST_DIED, True)


def test_an_agent_that_never_takes_a_script_is_lost(arm: FakeArm, ours: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "_BEGINS_WITHIN", 0.3)
    shell = arm.back_end
    assert isinstance(shell, Shell)
    shell.states["vm"] = GuestStatus(agent=False)
    error = refused(ours, _SAYS)
    assert error.code is ErrorCode.GUEST_AGENT_LOST
    assert "agent in vm on weu no longer answers: Not Ready" in error.message
    assert "private subnets" in error.hint
    assert writes(arm) == [_PUT, _DELETE]


def test_an_agent_that_is_busy_is_waited_for(arm: FakeArm, ours: Arm) -> None:
    arm.fail(_PUT, "Conflict", message="Run command extension execution is in progress.", times=3)
    assert run(ours, _SAYS) == [Completed(3, "hello\n")]


def test_an_agent_that_is_busy_for_ever_is_lost(arm: FakeArm, ours: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_command, "_BUSY_FOR", 0.3)
    arm.fail(_PUT, "Conflict", message="Run command extension execution is in progress.", times=None)
    error = refused(ours, _SAYS)
    assert error.code is ErrorCode.GUEST_AGENT_LOST
    assert "has been busy for" in error.message


def test_a_machine_that_is_off_has_died(arm: FakeArm, ours: Arm, http: Http) -> None:
    http.follow(http("POST", "virtualMachines/vm/powerOff"))
    error = refused(ours, _SAYS)
    assert (error.code, "vm on weu is stopped" in error.message) == (ErrorCode.GUEST_DIED, True)


def test_a_machine_that_is_gone_has_died(arm: FakeArm, ours: Arm, http: Http) -> None:
    http.follow(http.delete("virtualMachines/vm"))
    error = refused(ours, _SAYS)
    assert (error.code, error.message) == (ErrorCode.GUEST_DIED, "vm is no longer on weu")


def test_a_script_that_is_too_large_is_not_sent(arm: FakeArm, ours: Arm) -> None:
    error = refused(ours, Script("cat >/dev/null", timeout=20, stdin=b"x" * 300_000))
    assert (error.code, error.retriable) == (ErrorCode.SET_UP_FAILED, False)
    assert "Azure takes 262144" in error.message
    assert not arm.count(_PUT)


# ---- its end


def test_cancel_ends_the_script_and_removes_it(arm: FakeArm, ours: Arm, http: Http, tmp_path: Path) -> None:
    watch, runs = Watch(), tmp_path / "runs"
    os.mkfifo(runs)

    def cancel_it() -> None:
        its_end.append(runs.open())  # as soon as the script has it open, too
        watch.cancel.cancel()

    its_end: list[TextIO] = []
    threading.Thread(target=cancel_it, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        run(ours, Script(f"exec 9>{runs}; sleep 60; true", timeout=90), watch=watch)
    assert time.monotonic() - began < 30
    assert writes(arm) == [_PUT, _DELETE]
    assert http.get("virtualMachines/vm/runCommands").body["value"] == []
    [end] = its_end
    with end:
        assert end.read() == "", "all that had it open has ended"
    assert time.monotonic() - began < 30, "it ran on"


def test_a_deadline_ends_the_script_and_those_behind_it(arm: FakeArm, ours: Arm) -> None:
    done = run(ours, _SAYS, Script("sleep 30", timeout=60), _SAYS, watch=Watch().within(1.5))
    assert [each.timed_out for each in done] == [False, True, True] or all(each.timed_out for each in done)
    assert writes(arm) == [_PUT, _DELETE]


def test_titles_are_told(ours: Arm) -> None:
    told: list[str] = []
    run(ours, Script("true", timeout=20, title="locale"), Script("true", timeout=20), watch=Watch(tell=told.append))
    assert told == ["placing: locale"]
