"""Bad input and destruction: refused in words, with nothing touched."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.support.project import Project

pytestmark = pytest.mark.engine


def test_all_errors_at_once_before_anything_is_registered(project: Project) -> None:
    path = project.policy(
        displayName="a<b", imageId="missing", timeZone="Mars/Olympus", cloudPcNamingTemplate="PC",
        assignments=[{"target": {"groupId": "engineers"}}], colour="red",
    )  # fmt: skip
    for ran in (project.pulumi("up", "--yes", "--skip-preview", "--stack", "demo"), project.cloudpc("up", "demo")):
        assert ran.code != 0
        for field in ("displayName", "timeZone", "cloudPcNamingTemplate", "colour"):
            assert f"stacks/{path.name}: cloudpc:policy.{field}: " in ran.output, (field, ran)
        assert "Traceback" not in ran.output
        assert "Error:" not in ran.output
    assert project.state() == {}
    assert project.calls() == []


def test_a_host_that_no_driver_serves_is_bad_input(project: Project) -> None:
    project.policy(hosts=["host"])
    path = project.root / "stacks" / "Pulumi.demo.yaml"
    path.write_text(path.read_text().replace("fake://", "fakir://"))
    ran = project.pulumi("up", "--yes", "--skip-preview", "--stack", "demo")
    assert ran.code != 0
    assert (
        "cloudpc:hosts[0].uri: must begin with the scheme of a driver: fake, qemu (did you mean 'fake'?)" in ran.output
    )
    assert project.state() == {}


def test_what_the_policy_names_is_checked_too(project: Project) -> None:
    project.policy(
        imageId="missing", assignments=[{"target": {"groupId": "everybodi"}}], postProvisioningScript="no.sh",
        domainJoinConfigurations=[{"domainJoinType": "azureADJoin", "onPremisesConnectionId": "hq"}],
    )  # fmt: skip
    ran = project.cloudpc("policy", "validate")
    assert ran.code == 2
    assert "did you mean 'everybody'?" in ran.output
    for field in ("imageId", "assignments[0].target.groupId", "postProvisioningScript", "onPremisesConnectionId"):
        assert field in ran.output, ran
    problems = json.loads(project.cloudpc("policy", "validate", "--json").output)
    assert len(problems) == 4


@pytest.mark.parametrize(
    "options",
    [
        ["--yes"],
        ["--yes", "--skip-preview"],
        ["--yes", "--skip-preview", "--continue-on-error"],
        ["--yes", "--exclude-protected"],
        ["--yes", "--skip-preview", "--target", "**u001**"],
        ["--yes", "--run-program"],
        ["--yes", "--remove"],
    ],
    ids=" ".join,
)
def test_destroy_is_refused_in_every_form(provisioned: Project, options: list[str]) -> None:
    before = provisioned.state()
    ran = provisioned.pulumi("destroy", "--stack", "demo", *options)
    assert ran.code != 0 or "--exclude-protected" in options, ran
    assert "protected" in ran.output
    assert provisioned.state() == before
    assert set(provisioned.machines()) == {"u000", "u001"}
    assert not [call for call in provisioned.calls() if call.startswith("delete")]


def test_even_unprotected_the_provider_refuses(provisioned: Project) -> None:
    assert provisioned.pulumi("state", "unprotect", "--all", "--yes", "--stack", "demo").code == 0
    ran = provisioned.pulumi("destroy", "--yes", "--skip-preview", "--stack", "demo")
    assert ran.code != 0
    assert "not deleted: the Cloud PC" in ran.output
    assert "the provisioning policy is assigned to Everybody (everybody)" in ran.output
    assert set(provisioned.machines()) == {"u000", "u001"}
    provisioned.up()  # protects them again


@pytest.fixture
def provisioned(project: Project) -> Project:
    project.up()
    return project


def test_another_installation_is_an_error(provisioned: Project) -> None:
    path = provisioned.root / "stacks" / "Pulumi.demo.yaml"
    content = yaml.safe_load(path.read_text())
    content["config"]["cloudpc:installation"] = "ffffffffffffffff"
    path.write_text(yaml.safe_dump(content))
    ran = provisioned.pulumi("up", "--yes", "--skip-preview", "--stack", "demo")
    assert ran.code != 0
    assert "belongs to the installation" in ran.output
    assert "Traceback" not in ran.output


def test_down_needs_the_hosts_that_cloud_pcs_are_on(provisioned: Project) -> None:
    provisioned.policy(hosts=["another"])
    provisioned.up()
    refused = provisioned.cloudpc("down", "demo", "--yes")
    assert refused.code == 2
    assert "are on host, which is not in its cloudpc:hosts" in refused.output
    assert set(provisioned.machines()) == {"u000", "u001"}
    doctor = json.loads(provisioned.cloudpc("doctor", "--json").output)
    assert not [f for f in doctor if "is unknown to state" in f["detail"]]


def test_down_without_the_policys_file(provisioned: Project) -> None:
    file = provisioned.root / "stacks" / "Pulumi.demo.yaml"
    file.unlink()
    provisioned.host(faults=[{"call": "delete", "fault": "error"}])
    for code in (1, 0):
        ran = provisioned.cloudpc("down", "demo", "--yes")
        assert ran.code == code, ran
        assert not file.exists(), "Pulumi's own, which would be taken for a policy's"
        provisioned.host()
    assert provisioned.machines() == {}


def test_a_file_of_pulumis_own_is_no_policy(provisioned: Project) -> None:
    """Which a plain `pulumi preview` writes for a stack without one: nothing but how its secrets are kept."""
    file = provisioned.root / "stacks" / "Pulumi.demo.yaml"
    salt = [line for line in file.read_text().splitlines() if line.startswith("encryptionsalt")]
    file.write_text("\n".join(salt) + "\n")
    doctor = {f["what"]: f["detail"] for f in json.loads(provisioned.cloudpc("doctor", "--json").output)}
    assert doctor["policy demo"] == "its stack has no file in stacks/"
    ran = provisioned.cloudpc("down", "demo", "--yes")
    assert ran.code == 0, ran
    assert provisioned.machines() == {}
    assert not file.exists()


def test_down_of_nothing_touches_nothing(provisioned: Project) -> None:
    own = provisioned.root / ".cloudpc"
    kept = sorted(own.iterdir())
    other = {"PULUMI_BACKEND_URL": f"file://{provisioned.root}/elsewhere"}
    (provisioned.root / "elsewhere").mkdir()
    assert provisioned.cloudpc("down", "nosuch", "--yes", **other).code == 2
    refused = provisioned.cloudpc("down", "demo", "--yes", **other)
    assert refused.code == 1
    assert "has no stack in this backend, but machines on host" in refused.output
    assert sorted(own.iterdir()) == kept
    assert set(provisioned.machines()) == {"u000", "u001"}


def test_down_leaves_nothing(provisioned: Project) -> None:
    file = provisioned.root / "stacks" / "Pulumi.demo.yaml"
    refused = provisioned.cloudpc("down", "demo")
    assert refused.code == 4
    assert "u000@contoso.example" in refused.output
    assert set(provisioned.machines()) == {"u000", "u001"}
    ran = provisioned.cloudpc("down", "demo", "--yes")
    assert ran.code == 0, ran
    assert "pulumi stack rm" not in ran.output, "that comes by itself"
    assert provisioned.machines() == {}
    assert provisioned.leaks() == []
    assert json.loads(provisioned.pulumi("stack", "ls", "--json").output) == []
    assert "encryptionsalt" not in file.read_text()
    assert provisioned.cloudpc("down", "demo", "--yes").code == 0


def test_what_set_up_has_made_outlives_the_last_stack(project: Project) -> None:
    own = project.root / ".cloudpc"
    made = {"env": "# made by set-up", "passphrase": "x", "pulumi/credentials.json": "{}"}
    for name, content in made.items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(content)
    (own / "state").mkdir()
    with_state = {"PULUMI_BACKEND_URL": f"file://{own}/state"}
    assert project.cloudpc("up", "demo", **with_state).code == 0
    assert (own / "installation").is_file()
    assert project.cloudpc("down", "demo", "--yes", **with_state).code == 0
    left = {str(file.relative_to(own)): file.read_text() for file in own.rglob("*") if file.is_file()}
    assert left == made, "and nothing of the stacks', above all no password"
    assert project.cloudpc("up", "demo", **with_state).code == 0


def test_machines_whose_state_is_lost_are_found_and_their_installation_is_not_forgotten(provisioned: Project) -> None:
    assert provisioned.pulumi("stack", "rm", "demo", "--force", "--yes", "--preserve-config").code == 0
    refused = provisioned.cloudpc("down", "demo", "--yes")
    assert refused.code == 1, refused
    assert (provisioned.root / ".cloudpc" / "installation").is_file()
    assert set(provisioned.machines()) == {"u000", "u001"}
    found = [f["detail"] for f in json.loads(provisioned.cloudpc("doctor", "--json").output) if f["state"] == "warning"]
    assert len([detail for detail in found if "is unknown to state" in detail]) == 2, found


def test_a_renamed_host_loses_no_machine_whose_hand_over_was_missed(project: Project) -> None:
    project.host(faults=[{"call": "finish handedOver", "fault": "error"}])
    project.up()
    assert {m["tag"]["phase"] for m in project.machines().values()} == {"ready"}
    project.host()
    path = project.root / "stacks" / "Pulumi.demo.yaml"
    path.write_text(path.read_text().replace("name: host", "name: kvm1"))
    project.up()
    assert {m["tag"]["phase"] for m in project.machines().values()} == {"handedOver"}


def test_down_removes_volumes_whose_machine_was_removed_by_hand(provisioned: Project) -> None:
    for file in (provisioned.root / "host" / "machines").glob("*.json"):
        file.unlink()
    assert provisioned.leaks()
    ran = provisioned.cloudpc("down", "demo", "--yes")
    assert ran.code == 0, ran
    assert provisioned.leaks() == []
