"""State is lost, the machines are there: `up` leaves them alone, `adopt` takes them back or removes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import PLAN, Project, user

pytestmark = pytest.mark.engine


@pytest.fixture
def lost(project: Project) -> Project:
    project.up()
    assert project.pulumi("stack", "rm", "demo", "--force", "--yes", "--preserve-config").code == 0
    return project


@pytest.mark.parametrize("run_before", [False, True])
def test_machines_are_taken_back_as_they_are(lost: Project, run_before: bool) -> None:
    before = lost.machines()
    lost.policy(windowsSetting={"locale": "de-DE"})  # which nobody who is there already gets
    if run_before:
        assert lost.cloudpc("up", "demo").code == 3
        assert {o["statusDetail"]["code"] for o in lost.state().values()} == {"machineNotInState"}
    refused = lost.cloudpc("adopt")
    assert refused.code == 4, refused
    assert lost.machines() == before
    ran = lost.cloudpc("adopt", "--yes")
    assert ran.code == 0, ran
    assert "taken back, not rebuilt" in ran.output
    after = lost.state()
    assert {o["status"] for o in after.values()} == {"provisioned"}
    assert {o["deviceName"] for o in after.values()} == {m["tag"]["device_name"] for m in before.values()}
    assert all("locale" not in o["settings"] or o["settings"]["locale"] != "de-DE" for o in after.values())
    assert lost.calls().count("claim u000") == 1
    assert {m["tag"]["phase"] for m in lost.machines().values()} == {"handedOver"}
    assert "4 unchanged" in lost.up().output
    assert lost.cloudpc("adopt").code == 0


def test_what_was_asked_for_before_is_over(lost: Project) -> None:
    """Whether a file still asks for a reprovision of long ago, or somebody asked while state lacked the machine."""
    file = lost.root / "stacks" / "Pulumi.demo.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"]["cloudpc:actions"] = {"reprovision": {f"u000/{PLAN['id']}": 3}}
    file.write_text(yaml.safe_dump(content))
    assert lost.cloudpc("up", "demo").code == 3
    content["config"]["cloudpc:actions"]["reprovision"][f"u001/{PLAN['id']}"] = 2
    file.write_text(yaml.safe_dump({**content, **_salt(file)}))
    told = lost.up()
    assert "u001@contoso.example" in told.output
    assert (
        "not reprovisioned: its user has a machine that state does not know; `cloudpc adopt` takes it back"
        in told.output
    )
    refused = lost.cloudpc("reprovision", "u001", "--yes")
    assert refused.code == 2, refused
    assert "after `cloudpc adopt --remove`, `cloudpc retry` makes a new one" in refused.output

    machines, calls = lost.machines(), lost.calls()
    ran = lost.cloudpc("adopt", "--yes")
    assert ran.code == 0, ran
    assert "4 unchanged" in lost.up().output
    assert set(lost.statuses().values()) == {"provisioned"}
    assert {who: m["id"] for who, m in lost.machines().items()} == {who: m["id"] for who, m in machines.items()}
    assert not [call for call in lost.calls()[len(calls) :] if call.startswith(("claim", "delete"))]


def test_doctor_names_a_cloud_pc_that_two_states_hold(project: Project) -> None:
    """As after a stack was copied by hand: which of them is right, a person decides."""
    project.up()
    project.policy("copy")
    project.init("copy")
    exported = project.pulumi("stack", "export", "--stack", "demo", "--show-secrets").output
    file = project.root / "copy.json"
    file.write_text(exported.replace("urn:pulumi:demo::", "urn:pulumi:copy::"))
    assert project.pulumi("stack", "import", "--stack", "copy", "--file", str(file)).code == 0
    doctor = json.loads(project.cloudpc("doctor", "--json").output)
    twice = {f["what"]: f for f in doctor if "both have it in state" in f["detail"]}
    assert set(twice) == {f"Cloud PC of {name}@contoso.example ({PLAN['id']})" for name in ("u000", "u001")}
    told = twice[f"Cloud PC of u000@contoso.example ({PLAN['id']})"]
    assert told["detail"] == "copy and demo both have it in state"
    urn = told["hint"].split()[-1].strip("'")
    assert urn.startswith("urn:pulumi:demo::")
    for name in ("u000", "u001"):
        wrong = urn.replace("urn:pulumi:demo::", "urn:pulumi:copy::").replace("u000", name)
        assert project.pulumi("state", "delete", "--force", "--yes", "--stack", "copy", wrong).code == 0
    assert "both have it in state" not in project.cloudpc("doctor").output
    project.up()
    assert "unchanged" in project.up().output


def test_whose_user_has_left_is_found_taken_back_when_he_returns_or_removed(lost: Project) -> None:
    lost.cloudpc("up", "demo")
    lost.directory([user("u001")])
    lost.up()
    assert lost.statuses() == {"u000": "deprovisioning", "u001": "failed"}
    name = lost.machines()["u000"]["name"]
    assert f"{name} ({lost.machines()['u000']['tag']['device_name']}, policy demo) is unknown to state" in _left_over(
        lost
    )
    ran = lost.cloudpc("adopt", "--yes")
    assert ran.code == 0, ran
    assert f"left out: {name}, whose user is not entitled under demo; --remove deletes it" in ran.output
    assert lost.statuses() == {"u000": "deprovisioning", "u001": "provisioned"}
    refused = lost.cloudpc("adopt", "--yes")
    assert refused.code == 1, refused
    assert "none of them can be taken back" in refused.output

    lost.directory(2)
    before = lost.machines()["u000"]
    ran = lost.cloudpc("adopt", "--yes")
    assert ran.code == 0, ran
    assert set(lost.statuses().values()) == {"provisioned"}
    assert lost.machines()["u000"]["id"] == before["id"]

    assert lost.pulumi("stack", "rm", "demo", "--force", "--yes", "--preserve-config").code == 0
    lost.cloudpc("up", "demo")
    lost.directory([user("u001")])
    lost.up()
    ran = lost.cloudpc("adopt", "--remove", "--yes")
    assert ran.code == 0, ran
    assert lost.machines() == {}
    lost.up()
    lost.up()
    assert lost.statuses() == {"u001": "failed"}
    assert "nothing" in _left_over(lost)
    assert lost.cloudpc("retry", "u001").code == 0
    assert lost.statuses() == {"u001": "provisioned"}


def _left_over(project: Project) -> list[str]:
    found = json.loads(project.cloudpc("doctor", "--json").output)
    return [each["detail"] for each in found if each["what"] == "host host: left over"]


def _salt(file: Path) -> dict[str, Any]:
    return {name: value for name, value in yaml.safe_load(file.read_text()).items() if name == "encryptionsalt"}


def test_or_removed(lost: Project) -> None:
    ran = lost.cloudpc("adopt", "--remove", "--yes")
    assert ran.code == 0, ran
    assert lost.machines() == {}
    assert lost.leaks() == []
