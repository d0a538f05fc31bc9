"""Reprovision and retry: asked for in a file, failing, killed halfway."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml

from tests.support.project import UP, Project, sha256, user

from .life import SMALL, act, configure, finish_killed, lasting, no_provider, nothing_more_to_do, passwords, preview

pytestmark = pytest.mark.engine


def test_reprovision_and_retry_are_lines_in_the_policys_file(project: Project) -> None:
    project.directory([user(name) for name in ("well", "remade", "retried", "remade-failed", "still-bad")])
    failing = ["retried", "remade-failed", "still-bad"]
    faults = [{"call": "wait_ready", "user": name, "fault": "error", "retriable": False} for name in failing]
    project.host(faults=faults)
    project.up()
    before, secrets, machines = project.state(), passwords(project), project.machines()
    assert {n for n, o in before.items() if o["status"] == "failed"} == set(failing)

    project.host(faults=[faults[2] | {"retriable": True}])
    act(
        project,
        reprovision={f"remade/{SMALL}": 2, f"remade-failed/{SMALL}": 2, f"well/{SMALL}": 1},
        retry={f"retried/{SMALL}": 1, f"still-bad/{SMALL}": 1, f"well/{SMALL}": 1},
    )
    told = preview(project)
    for name, lost in (("remade", "all data on it"), ("remade-failed", "no data")):
        assert f"{name}@contoso.example ({SMALL}): reprovision: {lost} is lost" in told
    for name in ("retried", "still-bad"):
        assert f"{name}@contoso.example ({SMALL}): failed; will be tried again, up to three attempts" in told
    assert "well@" not in told
    project.up()
    state = project.state()
    assert {name: outputs["status"] for name, outputs in state.items()} == {
        "well": "provisioned", "remade": "provisioned", "retried": "provisioned", "remade-failed": "provisioned",
        "still-bad": "failed",
    }  # fmt: skip
    assert state["well"] == before["well"]
    assert state["still-bad"]["attempts"] == 3
    assert state["retried"]["deviceName"] == before["retried"]["deviceName"]
    for name in ("remade", "remade-failed"):
        assert state[name]["deviceName"] != before[name]["deviceName"]
        assert state[name]["generation"] == 2
    assert state["remade"]["events"][:-1] == before["remade"]["events"]
    after = project.machines()
    assert after["remade"]["id"] == machines["remade"]["id"]
    assert after["remade"]["tag"]["generation"] == 2
    assert passwords(project)["remade"] != secrets["remade"]
    assert {m["tag"]["phase"] for m in after.values()} == {"handedOver"}
    assert len(after) == 4
    assert project.leaks() == []
    calls = project.calls()
    nothing_more_to_do(project)
    project.up()
    assert project.calls() == calls

    # lower than in state is told and ignored
    act(project, reprovision={f"remade/{SMALL}": 1})
    ran = project.up()
    ignored = f"remade@contoso.example ({SMALL}): reprovision generation 1 in cloudpc:actions is ignored: state is at 2"
    assert re.search(rf"warning: {re.escape(ignored)}", ran.output), ran
    assert project.calls() == calls


def test_a_reprovision_asked_for_in_grace_is_over_when_its_user_comes_back(project: Project) -> None:
    project.up()
    before, machines = project.state(), project.machines()
    project.directory(1)
    project.up()
    project.directory(2)
    act(project, reprovision={f"u001/{SMALL}": 2})
    assert (
        f"u001@contoso.example ({SMALL}): entitled again: the grace period is cancelled, nothing is rebuilt; "
        "the reprovision asked for before (generation 2) is over"
    ) in preview(project)
    project.up()
    restored = lasting(project.state()["u001"])
    assert restored.pop("waivedGeneration") == 2
    assert restored == lasting(before["u001"])
    nothing_more_to_do(project)
    project.up()
    assert project.machines() == machines
    ran = project.cloudpc("reprovision", "u001", "--yes")
    assert ran.code == 0, ran
    assert project.state()["u001"]["generation"] == 3
    assert project.state()["u001"]["deviceName"] != before["u001"]["deviceName"]
    assert "waivedGeneration" not in project.state()["u001"]
    nothing_more_to_do(project)


def test_a_reprovision_that_fails_waits_for_somebody_to_ask_again(project: Project) -> None:
    """Whatever retries were asked for before it."""
    project.up()
    act(project, retry={f"u000/{SMALL}": 3}, reprovision={f"u000/{SMALL}": 2})
    project.host(faults=[{"call": "start", "user": "u000", "fault": "error", "retriable": False}])
    project.up()
    assert project.statuses() == {"u000": "failed", "u001": "provisioned"}
    assert "u000" not in project.machines()
    project.host()
    nothing_more_to_do(project)
    project.up()
    assert project.statuses()["u000"] == "failed"
    act(project, retry={f"u000/{SMALL}": 4}, reprovision={f"u000/{SMALL}": 2})
    project.up()
    assert project.statuses()["u000"] == "provisioned"


def test_a_reprovision_that_cannot_end_well_takes_nothing_away(project: Project) -> None:
    """What would fail on any host is looked at while the machine is still there."""
    project.up()
    machines, disks = project.machines(), sorted((project.root / "host").glob("*.qcow2"))
    large = project.root / "large.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(large), "9G"], check=True)
    other = {"path": str(large), "firmware": "bios"}
    for sha, why in (("0" * 64, "has the SHA-256"), (sha256(large), "the service plan gives 8 GB")):
        project.policy(imageId="other")
        configure(project, lambda config, sha=sha: config["cloudpc:images"].update(other={**other, "sha256": sha}))
        ran = project.cloudpc("reprovision", "u000", "--yes")
        assert ran.code == 1, ran
        assert "not reprovisioned, its machine is untouched: " in ran.output
        assert why in ran.output
        assert project.machines() == machines
        assert sorted((project.root / "host").glob("*.qcow2")) == disks
        assert set(project.statuses().values()) == {"provisioned"}
    asked = yaml.safe_load((project.root / "stacks" / "Pulumi.demo.yaml").read_text())["config"]["cloudpc:actions"]
    project.policy()
    configure(project, lambda config: config.update({"cloudpc:actions": asked}))
    project.up()
    assert project.machines()["u000"]["tag"]["generation"] == 2
    assert project.state()["u000"]["events"][-1].partition("provisioned ")[2].startswith("reprovision, generation 2 as")
    nothing_more_to_do(project)


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        ("kill-engine", ["delete", "create_disk", "wait_ready", "finished ready", "finish handedOver"]),
        ("kill", ["delete", "claim", "finish ready", "finish handedOver"]),
    ],
)
def test_a_reprovision_that_was_killed_is_finished_by_the_next_run(
    project: Project, fault: str, calls: list[str]
) -> None:
    project.up()
    names = {project.state()["u000"]["deviceName"]}
    other = project.state()["u001"]
    for generation, call in enumerate(calls, start=2):
        act(project, reprovision={f"u000/{SMALL}": generation})
        project.host(faults=[{"call": call, "fault": fault, "times": 1, "user": "u000"}])
        killed = project.pulumi(*UP, "demo")
        assert killed.code != 0, (call, killed)
        finish_killed(project)
        state, machine = project.state(), project.machines()["u000"]
        assert state["u001"] == other
        assert (state["u000"]["status"], state["u000"]["generation"]) == ("provisioned", generation), call
        assert (machine["tag"]["generation"], machine["tag"]["phase"]) == (generation, "handedOver"), call
        assert machine["tag"]["device_name"] == state["u000"]["deviceName"] not in names
        secret = json.loads(project.cloudpc("credentials", "u000", "--json").output)["password"]
        assert passwords(project)["u000"] == f"u000:{secret}"
        names.add(state["u000"]["deviceName"])
        assert len(project.machines()) == 2
        assert project.leaks() == []
    nothing_more_to_do(project)


def test_a_retry_that_was_killed_is_finished_by_the_next_run(project: Project) -> None:
    project.host(faults=[{"call": "start", "user": "u000", "fault": "error", "retriable": False}])
    project.up()
    act(project, retry={f"u000/{SMALL}": 1})
    project.host(faults=[{"call": "wait_ready", "user": "u000", "fault": "kill-engine", "times": 1}])
    assert project.pulumi(*UP, "demo").code != 0
    finish_killed(project)
    assert set(project.statuses().values()) == {"provisioned"}
    assert set(project.machines()) == {"u000", "u001"}
    nothing_more_to_do(project)


def test_a_killed_reprovision_that_nobody_wants_any_more_leaves_no_half_made_machine(project: Project) -> None:
    """Its data is gone, which is reported; its unfinished successor is nobody's, and must not be handed over."""
    project.up()
    act(project, reprovision={f"u000/{SMALL}": 2})
    project.host(faults=[{"call": "wait_ready", "user": "u000", "fault": "kill-engine", "times": 1}])
    assert project.pulumi(*UP, "demo").code != 0
    no_provider(project, kill=True)
    assert project.machines()["u000"]["tag"]["phase"] == "provisioning"
    act(project)
    assert project.cloudpc("up", "demo", "--clear-lock").code == 3
    assert set(project.machines()) == {"u001"}
    assert project.state()["u000"]["statusDetail"]["code"] == "machineLost"
    act(project, reprovision={f"u000/{SMALL}": 2})
    project.up()
    assert project.statuses() == {"u000": "provisioned", "u001": "provisioned"}
    assert project.machines()["u000"]["tag"]["generation"] == 2


def test_who_returns_to_a_machine_that_a_killed_reprovision_has_taken_is_told_at_once(project: Project) -> None:
    project.up()
    act(project, reprovision={f"u001/{SMALL}": 2})
    project.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "kill-engine", "times": 1}])
    assert project.pulumi(*UP, "demo").code != 0
    no_provider(project, kill=True)
    project.directory(1)
    project.host(faults=[{"call": "overview", "fault": "error"}])
    assert project.cloudpc("up", "demo", "--clear-lock").code == 0
    assert project.statuses()["u001"] == "inGracePeriod"
    project.directory(2)
    project.up()
    state = project.state()["u001"]
    assert (state["status"], state["statusDetail"]["code"]) == ("failed", "machineLost")
    project.host()
    assert project.cloudpc("reprovision", "u001", "--yes").code == 0
    assert project.statuses()["u001"] == "provisioned"
    assert set(project.machines()) == {"u000", "u001"}
    nothing_more_to_do(project)
