"""What the `cloudpc` commands say of a fleet."""

from __future__ import annotations

import json

import pytest

from tests.support.project import Project, user

pytestmark = pytest.mark.engine


def test_list_tells_who_has_one_and_who_has_none_and_why(project: Project) -> None:
    project.directory(
        [
            user("u000"),
            user("u001", accountEnabled=False),
            {**user("u002"), "servicePlans": []},
            user("u003"),
            user("u004"),
        ],
        {"everybody": ["u000", "u001", "u002", "u004"]},
    )
    project.host(faults=[{"call": "start", "user": "u004", "fault": "error"}])
    ran = project.cloudpc("up")
    assert ran.code == 3, ran
    rows = {row["userId"]: row for row in json.loads(project.cloudpc("list", "--json").output)}
    assert set(rows) == {"u000", "u004"}
    assert {"userPrincipalName", "servicePlan", "policy", "deviceName", "status", "statusDetail", "host"} <= set(
        rows["u000"]
    )
    assert rows["u000"]["connection"].keys() >= {"protocol", "host", "port"}
    assert rows["u004"]["statusDetail"]["code"] == "startFailed"

    everyone = {row["userId"]: row for row in json.loads(project.cloudpc("list", "--all", "--json").output)}
    codes = {name: (row["statusDetail"] or {}).get("code") for name, row in everyone.items()}
    assert codes == {
        "u000": None,
        "u001": "accountDisabled",
        "u002": "policyWithoutLicence",
        "u003": "licenceWithoutPolicy",
        "u004": "startFailed",
    }
    text = project.cloudpc("list", "--all")
    assert "in no group that a provisioning policy is assigned to" in text.output
    assert project.cloudpc("list", "--check").code == 3
    assert project.cloudpc("list", "--check", "--status", "provisioned").code == 0


def test_show_and_credentials_need_a_user_who_has_one(project: Project) -> None:
    project.directory([user("u000"), user("u001")])
    project.host(faults=[{"call": "start", "user": "u001", "fault": "error", "retriable": False}])
    project.up()
    shown = json.loads(project.cloudpc("show", "u000@contoso.example", "--json").output)
    assert shown[0]["account"]["name"] == "u000"
    assert "password" not in json.dumps(shown)
    assert project.cloudpc("credentials", "u000").code == 0
    failed = project.cloudpc("credentials", "u001")
    assert failed.code == 3
    assert "startFailed" in failed.output
    unknown = project.cloudpc("show", "nobody")
    assert unknown.code == 2
    assert "has no Cloud PC" in unknown.output


def test_doctor_finds_what_no_state_knows(project: Project) -> None:
    project.up()
    assert project.cloudpc("doctor").code == 0
    clean = json.loads(project.cloudpc("doctor", "--json").output)
    assert not [f for f in clean if f["state"] != "ok"], clean
    project.pulumi("state", "unprotect", "--all", "--yes", "--stack", "demo")
    urn = "urn:pulumi:demo::cloudpc::pulumi-python:dynamic/cloudpc:CloudPC::u001/LAB_1C_0.5GB_8GB"
    assert project.pulumi("state", "delete", urn, "--yes", "--stack", "demo").code == 0
    (project.root / "host" / "cloudpc-orphan.qcow2").touch()
    found = [f for f in json.loads(project.cloudpc("doctor", "--json").output) if f["state"] == "warning"]
    assert any("is in no state" in f["detail"] for f in found)
    assert any("cloudpc-orphan.qcow2" in f["detail"] for f in found)
    ran = project.up()  # `up` never touches a machine that was handed over
    assert project.state()["u001"]["statusDetail"]["code"] == "machineNotInState", ran
    assert set(project.machines()) == {"u000", "u001"}


@pytest.mark.parametrize("arguments", [["policy", "schema"], ["--help"], ["up", "--help"], ["connect", "--help"]])
def test_commands_that_need_no_stack(project: Project, arguments: list[str]) -> None:
    assert project.cloudpc(*arguments).code == 0


def test_bad_arguments_are_told_in_one_line(project: Project) -> None:
    for arguments in (["list", "--status", "happy"], ["nonsense"], ["list", "--policy", "none"]):
        ran = project.cloudpc(*arguments)
        assert ran.code == 2, ran
        assert "Traceback" not in ran.output
