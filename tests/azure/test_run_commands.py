from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.azure.arm import FakeArm
from tests.azure.back_ends import Command, GuestStatus, Outcome, Table, Vm
from tests.azure.client import Got, Http
from tests.support.waiting import wait_until

PATH = "virtualMachines/vm/runCommands/one"


def order(arm: FakeArm, script: str = "true", **more: Any) -> dict[str, Any]:
    properties = {"source": {"script": script}, "asyncExecution": True} | more
    return {"location": arm.account.location, "properties": properties}


def view(http: Http, path: str = PATH) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"{path}?$expand=instanceView").body["properties"]["instanceView"]
    return found


@pytest.fixture
def run(arm: FakeArm, http: Http) -> Any:
    http.made()

    def put(script: str = "true", **more: Any) -> Got:
        return http.put(PATH, order(arm, script, **more))

    return put


def test_the_view_is_shown_to_who_asks_for_it(http: Http, run: Any) -> None:
    assert run().status == 201
    assert view(http)["executionState"] == "Succeeded"
    assert "instanceView" not in http.get(PATH).body["properties"]
    assert [c["name"] for c in http.get("virtualMachines/vm/runCommands").body["value"]] == ["one"]


def test_of_each_stream_the_last_4_kb_are_kept(arm: FakeArm, http: Http, run: Any) -> None:
    arm.table.answer("long", output="a" + "x" * 4095 + "é", error="y" * 5000)
    run("long")
    seen = view(http)
    assert len(seen["output"].encode()) <= 4096
    assert seen["output"].endswith("xé")
    assert len(seen["error"]) == 4096


def test_parameters_are_variables_and_secrets_are_not_shown(arm: FakeArm, http: Http, run: Any) -> None:
    run(parameters=[{"name": "A", "value": "1"}], protectedParameters=[{"name": "B", "value": "s3cret"}])
    view(http)
    ((_, command),) = arm.table.commands
    assert command.environment == {"A": "1", "B": "s3cret"}
    assert "s3cret" not in str([r.answer for r in arm.log])


def test_a_time_out(arm: FakeArm, http: Http, run: Any) -> None:
    def slow(vm: Vm, command: Command) -> Outcome:
        raise TimeoutError(command.timeout)

    arm.table.answer("sleep", slow)
    run("sleep", timeoutInSeconds=7)
    assert view(http)["executionState"] == "TimedOut"


def test_what_waits_for_its_script_tells_its_failure_if_it_was_to(arm: FakeArm, http: Http, run: Any) -> None:
    arm.table.answer("false", exit_code=1)
    assert http.follow(run("false", asyncExecution=False)).body["status"] == "Succeeded"
    ended = http.follow(run("false", asyncExecution=False, treatFailureAsDeploymentFailure=True))
    assert ended.code == "VMExtensionProvisioningError"
    assert view(http)["exitCode"] == 1


def test_one_that_is_stuck_is_ended_by_its_deletion(arm: FakeArm, http: Http, run: Any) -> None:
    arm.run_commands_stick = True
    run()
    assert view(http)["executionState"] == "Running"
    got = run()
    assert (got.code, got.status) == ("Conflict", 409)
    assert "execution is in progress" in got.message
    arm.run_commands_stick = False
    http.follow(http.delete(PATH))
    assert http.delete(PATH).status == 204
    assert run().status == 201
    assert view(http)["executionState"] == "Succeeded"


def test_a_guest_whose_agent_is_silent_begins_nothing(arm: FakeArm, http: Http, run: Any) -> None:
    arm.table.states["vm"] = GuestStatus(agent=False)
    run()
    assert view(http)["executionState"] == "Pending"
    arm.table.states.clear()
    arm.clock.advance(1)
    assert view(http)["executionState"] == "Succeeded"


def test_the_machine_must_run(arm: FakeArm, http: Http, run: Any) -> None:
    http.follow(http("POST", "virtualMachines/vm/powerOff"))
    assert run().code == "OperationNotAllowed"


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("InvalidParameter", {"source": {}}), ("InvalidRequestContent", {"nothing": "true"}),
        ("InvalidRequestContent", {"timeoutInSeconds": "7"}),
    ],
)  # fmt: skip
def test_wrong_orders(run: Any, code: str, change: dict[str, Any]) -> None:
    assert run(**change).code == code


def test_the_action_of_version_1_is_not_served(http: Http, run: Any) -> None:
    got = http("POST", "virtualMachines/vm/runCommand", {"commandId": "RunShellScript", "script": ["true"]})
    assert got.code == "OperationNotAllowed"


class _Slow(Table):
    """A back end whose scripts take as long as they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()

    def run(self, vm: Vm, command: Command) -> Outcome:
        self.commands.append((vm.name, command))
        assert command.cancelled.wait(20)
        self.ended.set()
        return Outcome(143)


@pytest.fixture
def slow() -> Iterator[tuple[FakeArm, Http, _Slow]]:
    back_end = _Slow()
    with FakeArm(back_end=back_end) as arm, Http(arm) as http:
        yield arm, http, back_end
    assert not arm.violations


def test_scripts_of_a_real_guest_run_on_their_own(slow: tuple[FakeArm, Http, _Slow]) -> None:
    arm, http, back_end = slow
    http.made()
    http.follow(http.put(PATH, order(arm)))
    http.follow(http.put(f"{PATH}2", order(arm)))
    wait_until(lambda: len(back_end.commands) == 2, 20, "the scripts did not start")
    assert view(http)["executionState"] == "Running"
    http.follow(http.delete(PATH))
    assert back_end.ended.wait(20)
    back_end.ended.clear()
    http.follow(http.delete("virtualMachines/vm"))  # its machine's end is theirs, too
    assert back_end.ended.wait(20)
