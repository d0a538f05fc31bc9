"""The driver's scripts in a real guest behind the fake: its first boot, its facts, its password, Cancel, a restart."""

from __future__ import annotations

import base64
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudpc import guests as systems
from cloudpc.images import gallery
from cloudpc.machines.azure import guest
from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.console import console_tail
from cloudpc.machines.azure.guest import AzureGuest
from cloudpc.machines.azure.readiness import wait_until_ready
from cloudpc.machines.azure.seeds import custom_data
from cloudpc.model.cloud_pc import Account
from cloudpc.model.errors import Cancelled
from cloudpc.model.guests import Completed, Script
from cloudpc.model.watch import Watch
from tests.azure.arm import FakeArm
from tests.azure.client import Http, vm_body
from tests.azure.guests import Guests
from tests.azure.hosts import host_config
from tests.azure.local_guest import missing
from tests.machines.audit import CommandLines
from tests.support.project import REPO

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900), pytest.mark.skipif(bool(missing()), reason=missing())]
_LINUX = systems.named("linux")


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeArm]:
    """One with real guests, of which there is `vm`."""
    made = Guests(gallery.build(REPO / "vm-images", "micro", print))
    with FakeArm(back_end=made) as arm, Http(arm) as http:
        arm.buckets.on = False  # our seconds are a hundredth of Azure's here, and the guest's are not
        seed = _LINUX.seed(
            instance_id="i-1",
            device_name="CPC-ALICE",
            account=Account(name="alice", display_name="Alice Adams"),
            local_admin=False,
        )
        profile = {**vm_body(arm)["properties"]["osProfile"], "customData": custom_data(seed, "0815")}
        http.nic()
        assert http.vm(osProfile=profile).status == 201
        yield arm
        assert not arm.violations
    made.close()


@pytest.fixture
def ours(fake: FakeArm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arm]:
    """What the driver reaches it by; its machine is ready."""
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", fake.token())
    found = Arm(host_config(fake))
    wait_until_ready(found, "vm", _LINUX, Watch().within(300))
    yield found
    found.close()


def run(ours: Arm, *scripts: Script, watch: Watch | None = None) -> list[Completed]:
    """In the guest."""
    return AzureGuest(ours, "vm").run(scripts, (watch or Watch()).within(120))


def test_it_is_ready_and_says_what_it_is(ours: Arm) -> None:
    [said] = run(ours, _LINUX.facts())
    facts = _LINUX.read(said.output)
    assert facts.proof.startswith("ssh-ed25519 ")
    assert "cpc-alice login:" in console_tail(ours, "vm", Watch())


def test_its_password_is_set_and_no_command_line_shows_it(ours: Arm) -> None:
    secret = secrets.token_urlsafe(16)
    with CommandLines() as seen:
        [done] = run(ours, _LINUX.password("alice", secret))
    assert done == Completed(0, "")
    assert seen.with_(secret) == []
    # all its traces: Azure's folder of scripts, what they have said, their environment
    encoded = base64.b64encode(secret.encode()).decode()
    look = (
        'grep -rlF -e "$SECRET" /var/lib/waagent /var/lib/cloudpc /run /tmp 2>/dev/null; base64 -d > /dev/null; exit 0'
    )
    [found] = run(ours, Script(look, timeout=60, stdin=encoded.encode(), secrets={"SECRET": secret}))
    assert found.output == ""


def test_the_last_script_is_the_only_one_that_stays(ours: Arm) -> None:
    run(ours, Script("true", timeout=30))
    [said] = run(
        ours, Script("ls /var/lib/waagent/run-command-handler/download; ls /var/lib/cloudpc/commands", timeout=30)
    )
    run(ours, _LINUX.password("alice", secrets.token_urlsafe(16)))
    [after] = run(
        ours, Script("ls -d /var/lib/waagent/run-command-handler/download/* /var/lib/cloudpc/commands/*", timeout=30)
    )
    assert len(said.output.split()) == len(after.output.split()) == 4, "its own, and those of the one before"


def test_cancel_ends_all_that_a_script_has_started(ours: Arm) -> None:
    mark = str(secrets.randbelow(10**6) + 10**6)
    watch = Watch()
    threading.Timer(2, watch.cancel.cancel).start()
    with pytest.raises(Cancelled):
        run(ours, Script(f"sleep {mark} & sleep {mark}", timeout=90), watch=watch)
    gone = f"for i in 1 2 3 4 5 6 7 8 9 10; do ps | grep -q '[s]leep {mark}' || exit 0; sleep 1; done; exit 1"
    assert run(ours, Script(gone, timeout=60))[0].exit_code == 0, "it runs on"


def test_what_takes_too_long_is_ended_and_the_next_one_runs(ours: Arm) -> None:
    mark = str(secrets.randbelow(10**6) + 10**6)
    late, then = run(ours, Script(f"sleep {mark}; true", timeout=1), Script("ps", timeout=30))
    assert late.timed_out
    assert f"sleep {mark}" not in then.output


def test_a_whole_file_travels_as_it_is(ours: Arm, tmp_path: Path) -> None:
    data = secrets.token_bytes(100_000)
    (tmp_path / "data").write_bytes(data)
    [done] = run(ours, Script("wc -c; exit 7", timeout=60, stdin=data))
    assert (done.exit_code, done.output.strip()) == (7, "100000")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the fake never hears of it again
def test_what_restarts_the_guest_is_late_and_what_is_behind_it_runs(ours: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on other hosts: a post-provisioning script that does so is a warning."""
    monkeypatch.setattr(guest, "_ASKED_EVERY", 15.0)
    restarts = Script("sync; reboot -f; sleep 60", timeout=60)
    first, second, third = run(ours, Script("echo a", timeout=30), restarts, Script("echo b", timeout=30))
    assert (first, third) == (Completed(0, "a\n"), Completed(0, "b\n"))
    assert second.timed_out
