"""How a command ends that can't do what was asked, one of each exit code and kind; and state that is lost."""

from __future__ import annotations

import pytest

from tests.golden.by_hand import config, failing
from tests.golden.conftest import Golden
from tests.support.project import Project, user
from tests.support.waiting import wait_until

pytestmark = pytest.mark.engine


def test_there_is_nothing_to_work_with(golden: Golden, project: Project) -> None:
    project.directory(1)
    golden.cloudpc("errors/unknown-command", "lst")
    golden.cloudpc("errors/unknown-option", "list", "--al")
    golden.cloudpc("errors/reprovision-whom", "reprovision")
    golden.cloudpc("errors/retry-whom", "retry")
    golden.cloudpc("errors/unknown-user", "show", "nobody")
    golden.cloudpc("errors/down-unknown-policy", "down", "dmo")
    golden.cloudpc("errors/up-unknown-policy", "up", "dmo")
    golden.cloudpc("errors/several-and-accept-loss", "up", "demo", "other", "--accept-loss", "3")
    golden.cloudpc("errors/preview-without-a-terminal", "up", "--preview")
    golden.cloudpc("errors/unknown-recipe", "image", "build", "debain-12")
    golden.cloudpc("errors/run-how-often", "run", "--every", "1d")
    golden.cloudpc("commands/images", "image", "list")
    golden.cloudpc("doctor/before-the-first-run", "doctor")
    project.env.pop("PULUMI_CONFIG_PASSPHRASE")
    golden.cloudpc("errors/no-passphrase", "up", "demo")
    project.env["PULUMI_CONFIG_PASSPHRASE"] = "a passphrase"
    project.env["CLOUDPC_PROJECT"] = str(project.root / "stacks")
    golden.cloudpc("errors/no-project", "list")
    project.env["CLOUDPC_PROJECT"] = str(project.root)
    project.env["PULUMI_BACKEND_URL"] = f"file://{project.root}/nowhere"
    golden.cloudpc("errors/no-backend", "list")
    golden.cloudpc("doctor/no-backend", "doctor")


def test_state_that_is_lost(golden: Golden, project: Project) -> None:
    project.directory([user(name) for name in ("anna", "ben", "carla", "dead")])
    project.host(faults=[failing("dead")])
    project.init()
    project.up()
    assert project.pulumi("stack", "rm", "demo", "--force", "--yes", "--preserve-config").code == 0
    project.directory([user(name) for name in ("anna", "ben")])
    golden.cloudpc("doctor/in-no-state", "doctor")
    golden.cloudpc("doctor/in-no-state-as-json", "doctor", "--json")
    golden.cloudpc("errors/down-of-lost-state", "down", "demo", "--yes")
    golden.cloudpc("runs/state-is-lost", "up", "demo")
    golden.preview("previews/not-in-state")
    golden.cloudpc("commands/adopt-question", "adopt", answer="n")
    golden.cloudpc("commands/adopt", "adopt", "--yes")
    golden.cloudpc("commands/adopt-remove-question", "adopt", "--remove", answer="n")
    golden.cloudpc("commands/adopt-remove", "adopt", "--remove", "--yes")
    golden.cloudpc("doctor/kept-for-diagnosis", "doctor")
    (project.root / "host" / "cloudpc-584c2a2e3ea3dbf0-0123456789ab.qcow2").touch()
    golden.cloudpc("doctor/left-over", "doctor")
    golden.cloudpc("doctor/remove-left-over-question", "doctor", "--remove-leftovers", answer="n")
    golden.cloudpc("doctor/remove-left-over", "doctor", "--remove-leftovers", "--yes")
    golden.cloudpc("errors/unknown-plan", "show", "carla")
    golden.cloudpc("commands/up-preview-question", "up", "demo", "--preview", answer="n")
    config(project, installation="ffffffffffffffff")
    golden.cloudpc("errors/another-installation", "up", "demo")
    project.policy(hosts=["another"])
    golden.cloudpc("errors/down-without-its-hosts", "down", "demo", "--yes")
    golden.cloudpc("errors/forget-an-unknown-host", "up", "demo", "--forget-host", "hst")


def test_runs_that_died_and_hosts_that_are_gone(golden: Golden, project: Project) -> None:
    project.directory(1)
    project.host(faults=[{"call": "wait_ready", "fault": "kill-engine", "times": 1}])
    project.init()
    assert project.pulumi("up", "--yes", "--skip-preview", "--stack", "demo").code != 0
    wait_until(lambda: not project.processes(b"cloudpc.iac.plugin_process"), 60, "the provider outlived the engine")
    golden.cloudpc("errors/locked-by-a-dead-run", "up", "demo")
    golden.cloudpc("doctor/locked-by-a-dead-run", "doctor")
    golden.cloudpc("errors/dead-run-question", "up", "demo", answer="n")
    golden.cloudpc("runs/after-a-dead-run", "up", "demo", "--clear-lock")
    project.policy(hosts=["another"])
    golden.cloudpc("errors/host-is-gone", "reprovision", "u000", "--yes")
    golden.cloudpc("runs/host-is-forgotten", "up", "demo", "--forget-host", "host")
    (project.root / "alias").symlink_to("another")
    project.policy(hosts=["another", "alias"])
    golden.cloudpc("errors/one-hypervisor-twice", "up", "demo")
    golden.cloudpc("doctor/one-hypervisor-twice", "doctor")
    project.policy(hosts=["another"])
    assert project.cloudpc("down", "demo", "--yes").code == 0
    golden.cloudpc("commands/down-of-nothing", "down", "demo")
