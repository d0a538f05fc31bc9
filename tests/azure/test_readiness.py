"""When an Azure VM's guest is ready; if it never is, why, in words, with the end of its console."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Iterator

import pytest

from cloudpc import guests
from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.console import console_tail
from cloudpc.machines.azure.readiness import wait_until_ready
from cloudpc.machines.azure.seeds import LARGEST, custom_data
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.guests import Seed
from cloudpc.model.watch import Watch
from tests.azure.arm import FakeArm
from tests.azure.back_ends import GuestStatus
from tests.azure.client import Http
from tests.azure.hosts import host_config
from tests.azure.linux_answers import LinuxAnswers

_LINUX = guests.named("linux")
_MAKE = "VirtualMachines_CreateOrUpdate"


@pytest.fixture
def ours(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arm]:
    """What the driver reaches it by."""
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    arm.table.otherwise = LinuxAnswers()
    found = Arm(host_config(arm))
    yield found
    found.close()


def ready(ours: Arm, watch: Watch | None = None, seconds: float = 10) -> None:
    wait_until_ready(ours, "vm", _LINUX, (watch or Watch()).within(seconds))


def refused(ours: Arm, seconds: float = 10) -> ProvisioningError:
    """Why it never is."""
    with pytest.raises(ProvisioningError) as error:
        ready(ours, seconds=seconds)
    return error.value


def test_it_is_when_the_agent_answers_and_cloud_init_is_through(arm: FakeArm, ours: Arm, http: Http) -> None:
    http.made()
    ready(ours)
    assert arm.table.commands
    assert arm.count("VirtualMachines_InstanceView") == 1


def test_without_a_system_the_agent_is_enough(arm: FakeArm, ours: Arm, http: Http) -> None:
    http.made()
    wait_until_ready(ours, "vm", None, Watch().within(10))
    assert not arm.table.commands


def test_the_agent_is_waited_for_and_told_of(arm: FakeArm, ours: Arm, http: Http) -> None:
    arm.table.states["vm"] = GuestStatus(agent=False)
    http.made()
    threading.Timer(0.5, arm.table.states.clear).start()
    told: list[str] = []
    ready(ours, Watch(tell=told.append))
    assert "placing: its system is set up, waiting for its agent" in told
    assert told[-1] == "placing: waiting for first-boot set-up"


def test_azure_gives_up_and_it_is_a_boot_that_took_too_long(arm: FakeArm, ours: Arm, http: Http) -> None:
    arm.table.states["vm"] = GuestStatus(agent=False)
    arm.fail(_MAKE, "OSProvisioningTimedOut", asynchronous=True)
    http.made()
    error = refused(ours)
    assert (error.code, error.retriable) == (ErrorCode.BOOT_TIMEOUT, True)
    assert "could not boot vm on weu: OS Provisioning for VM did not finish" in error.message
    assert "Linux version" in error.console


def test_one_that_finishes_after_azure_gave_up_is_ready(arm: FakeArm, ours: Arm, http: Http) -> None:
    arm.fail(_MAKE, "OSProvisioningTimedOut", asynchronous=True)
    http.made()
    ready(ours)


def test_an_agent_that_never_reports_is_lost(arm: FakeArm, ours: Arm, http: Http) -> None:
    arm.table.states["vm"] = GuestStatus(agent=False)
    http.made()
    error = refused(ours, seconds=0.5)
    assert error.code is ErrorCode.GUEST_AGENT_LOST
    assert "The system of vm on weu is set up, but Azure's agent in it says 'Not Ready'" in error.message
    assert "private subnets" in error.hint
    assert "Linux version" in error.console


def test_a_system_that_is_never_set_up_is_late(arm: FakeArm, ours: Arm, http: Http) -> None:
    arm.table.states["vm"] = GuestStatus(provisioned=False, agent=False)
    http.nic()
    http.vm()
    error = refused(ours, seconds=0.5)
    assert error.code is ErrorCode.BOOT_TIMEOUT
    assert "has not told Azure that it is set up" in error.message
    assert "firstBootInSeconds" in error.hint


def test_one_that_stops_has_died(arm: FakeArm, ours: Arm, http: Http) -> None:
    arm.table.states["vm"] = GuestStatus(running=False, agent=False)
    http.made()
    error = refused(ours)
    assert error.code is ErrorCode.GUEST_DIED
    assert "vm on weu is stopped" in error.message
    assert "Linux version" in error.console


def test_one_that_is_gone_has_died(ours: Arm) -> None:
    error = refused(ours)
    assert (error.code, error.console) == (ErrorCode.GUEST_DIED, "")


def test_what_cloud_init_says_went_wrong_is_told_as_on_other_hosts(arm: FakeArm, ours: Arm, http: Http) -> None:
    errors = '{"v1": {"errors": ["(\'runcmd\', ProcessExecutionError())"]}}'
    arm.table.otherwise = LinuxAnswers(says={"result.json": errors})
    http.made()
    error = refused(ours)
    assert error.code is ErrorCode.FIRST_BOOT_FAILED
    assert error.message == "First-boot set-up failed: ('runcmd', ProcessExecutionError())."
    assert "Linux version" in error.console


def test_cloud_init_that_is_never_through_is_late(arm: FakeArm, ours: Arm, http: Http) -> None:
    running = "status: running\ndetail:\nDataSourceAzure"
    arm.table.otherwise = LinuxAnswers(says={"result.json": running}, exits={"result.json": 75})
    http.made()
    error = refused(ours)
    assert error.code is ErrorCode.BOOT_TIMEOUT
    assert "status: running" in error.message


def test_cancel_ends_the_wait(arm: FakeArm, ours: Arm, http: Http) -> None:
    arm.table.states["vm"] = GuestStatus(agent=False)
    http.made()
    watch = Watch()
    threading.Timer(0.2, watch.cancel.cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        ready(ours, watch, seconds=60)
    assert time.monotonic() - began < 30


# ---- the console


def test_the_end_of_the_console_is_fetched_without_our_token(
    arm: FakeArm, ours: Arm, http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    http.made()
    arm.table.consoles["vm"] = b"x" * 40_000 + "größte".encode()
    with caplog.at_level(logging.INFO, logger="cloudpc"):
        tail = console_tail(ours, "vm", Watch())
    assert tail.endswith("größte")
    assert len(tail.encode()) == 16 * 1024
    fetched = [logged.path for logged in arm.log if logged.operation == "blob"]
    assert fetched
    assert not [path for path in fetched if "screenshot" in path.lower()]
    assert "sig=" not in caplog.text


def test_no_console_is_no_reason_to_fail(arm: FakeArm, ours: Arm, http: Http) -> None:
    assert console_tail(ours, "vm", Watch()) == ""
    http.made()
    arm.table.consoles["vm"] = b""
    assert console_tail(ours, "vm", Watch()) == ""
    arm.fail("VirtualMachines_RetrieveBootDiagnosticsData", "AuthorizationFailed")
    assert console_tail(ours, "vm", Watch()) == ""


# ---- the seed


def test_the_attempt_is_the_seeds_second_line() -> None:
    data = base64.b64decode(custom_data(Seed("{}", '#cloud-config\n{"users": []}\n'), "a1b2"))
    assert data == b'#cloud-config\n# attempt a1b2\n{"users": []}\n'


def test_a_seed_that_azure_does_not_take_is_refused_before() -> None:
    with pytest.raises(ProvisioningError) as error:
        custom_data(Seed("{}", "#cloud-config\n" + "x" * LARGEST), "a1")
    assert (error.value.code, error.value.retriable) == (ErrorCode.FIRST_BOOT_FAILED, False)
    assert "Azure takes 65535" in error.value.message
