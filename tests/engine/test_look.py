"""`up` alone sees what has become of its machines: whoever has no refresh in the cron line is served as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import PLAN, Project, user

pytestmark = pytest.mark.engine

FULL = "the host's storage is full, so that its disk can't grow"


def _file(project: Project, name: str) -> Path:
    return project.root / "host" / "machines" / f"{project.machines()[name]['id']}.json"


def _by_hand(project: Project, name: str, **changes: Any) -> None:
    file = _file(project, name)
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def _preview(project: Project) -> str:
    ran = project.pulumi("preview", "--stack", "demo")
    assert ran.code == 0, ran
    return ran.output


def _audited(project: Project) -> list[tuple[str, str, str]]:
    lines = map(json.loads, (project.root / "stacks" / "audit.jsonl").read_text().splitlines())
    return [(line["userId"], line["to"], line["why"]) for line in lines]


def _audit(policy: Path) -> None:
    values = yaml.safe_load(policy.read_text())
    values["config"]["cloudpc:audit"] = {"path": "audit.jsonl"}
    policy.write_text(yaml.safe_dump(values))


def test_a_run_starts_what_is_off_resumes_what_is_paused_and_tells_what_is_lost(project: Project) -> None:
    project.directory([user(name) for name in ("off", "paused", "lost", "well")])
    _audit(project.root / "stacks" / "Pulumi.demo.yaml")
    project.up()
    machines, made = project.machines(), _audited(project)
    _by_hand(project, "off", power="stopped")
    _by_hand(project, "paused", power="paused", paused_because=FULL)
    lost = _file(project, "lost")
    kept = lost.read_text()
    lost.unlink()
    project.host(faults=[{"call": "power_on", "user": "paused", "fault": "error"}])

    told = _preview(project)
    assert f"off@contoso.example ({PLAN['id']}): is off, and will be started" in told
    assert f"paused@contoso.example ({PLAN['id']}): is paused ({FULL}), and will be resumed" in told
    assert f"lost@contoso.example ({PLAN['id']}): failed: its machine is no longer defined on host" in told
    assert "well@contoso.example" not in told
    assert _audited(project) == made

    ran = project.cloudpc("up")
    assert ran.code == 3, "one has failed in this run"
    assert f"it is paused ({FULL}) and could not be resumed" in ran.output
    state = project.state()
    assert {name: outputs["status"] for name, outputs in state.items()} == {
        "off": "provisioned", "paused": "provisioned", "lost": "failed", "well": "provisioned",
    }  # fmt: skip
    assert state["lost"]["statusDetail"]["code"] == "machineLost"
    assert (state["paused"]["powerState"], state["paused"]["pausedBecause"]) == ("paused", FULL)
    assert [name for name, outputs in state.items() if "seen" in outputs] == []
    assert project.machines()["off"]["power"] == "running"
    assert f"paused: {FULL}; the next run resumes it" in " ".join(project.cloudpc("list").output.split())
    assert sorted(_audited(project)[len(made) :]) == [
        ("lost", "failed", "machineLost"), ("off", "provisioned", "was off, started"),
    ]  # fmt: skip

    doctor = json.loads(project.cloudpc("doctor", "--json").output)
    [still] = [check for check in doctor if check["what"] == "host host: machines"]
    assert still["detail"].endswith(f"policy demo) is paused: {FULL}")
    assert still["state"] == "warning"

    project.host()
    lost.write_text(kept)
    assert "lost@contoso.example" in (told := _preview(project))
    assert "its machine is back" in told
    project.up()
    assert project.machines() == machines
    state = project.state()
    assert {outputs["status"] for outputs in state.values()} == {"provisioned"}
    assert not [outputs for outputs in state.values() if "powerState" in outputs or "pausedBecause" in outputs]
    assert state["paused"]["events"][-1].endswith(f"was paused ({FULL}), resumed")
    told = _preview(project)
    assert "@contoso.example" not in told
    assert "unchanged" in told


def test_a_host_that_is_away_says_nothing_and_stops_nobody(project: Project) -> None:
    project.policy(hosts=["host", "other"])
    project.up()
    places = {name: outputs["host"] for name, outputs in project.state().items()}
    assert set(places.values()) == {"host", "other"}
    before = project.state()
    [away] = [name for name, place in places.items() if place == "other"]
    project.host("other", away=True)
    project.directory(3)
    ran = project.up()
    assert "the machines on other could not be looked at: other does not answer" in ran.output
    state = project.state()
    assert {outputs["status"] for outputs in state.values()} == {"provisioned"}
    assert state[away] == before[away]


def test_a_machine_that_was_migrated_is_followed(project: Project) -> None:
    """So is one whose host has another name by now: it is not called gone, and starts where it is."""
    project.directory([user("moved"), user("stays")])
    project.up()
    before = project.machines()["moved"]
    _by_hand(project, "moved", power="stopped")
    project.policy(hosts=["host", "other"])
    (project.root / "other" / "machines").mkdir(parents=True)
    file, name = _file(project, "moved"), before["name"]
    file.rename(project.root / "other" / "machines" / file.name)
    (project.root / "host" / f"{name}.qcow2").rename(project.root / "other" / f"{name}.qcow2")
    assert "its machine is on other now" in _preview(project)
    project.up()
    assert {who: (o["host"], o["status"]) for who, o in project.state().items()} == {
        "moved": ("other", "provisioned"), "stays": ("host", "provisioned"),
    }  # fmt: skip
    assert project.machines("other")["moved"] == before
    assert "unchanged" in project.up().output

    hosts = yaml.safe_load(project.policy(hosts=["other", "host"]).read_text())
    renamed = project.root / "stacks" / "Pulumi.demo.yaml"
    hosts["config"]["cloudpc:hosts"][0]["name"], hosts["config"]["cloudpc:hosts"][1]["name"] = "host", "third"
    salt = yaml.safe_load(renamed.read_text()).get("encryptionsalt")
    renamed.write_text(yaml.safe_dump({**hosts, "encryptionsalt": salt}))
    project.up()
    assert {who: o["host"] for who, o in project.state().items()} == {"moved": "host", "stays": "third"}
    assert {o["status"] for o in project.state().values()} == {"provisioned"}
