"""What the `cloudpc` commands say of a fleet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudpc.images import builder, gallery, store
from cloudpc.model.identity import machine_id
from cloudpc.model.machine_names import machine_name
from tests.support import qcow2
from tests.support.project import REPO, Project, user

pytestmark = pytest.mark.engine

_OLD = "u000@contoso.example"


def test_a_letter_that_the_terminal_lacks_ends_no_command(project: Project) -> None:
    project.directory([user("u000", userPrincipalName="j\u00fcrgen@contoso.example")], {"everybody": ["u000"]})
    ran = project.cloudpc("list", "--all", PYTHONIOENCODING="ascii")
    assert ran.code == 0, ran
    assert "j\\xfcrgen@contoso.example" in ran.output


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


def test_list_looks_at_all_policies_whatever_is_wrong_with_one(project: Project) -> None:
    project.directory([user("u000"), user("u001")], {"everybody": ["u000"], "others": ["u001"]})
    project.policy("second", assignments=[{"target": {"groupId": "others"}}])
    project.up()
    rows = json.loads(project.cloudpc("list", "--all", "--policy", "demo", "--json").output)
    assert [row["userId"] for row in rows] == ["u000"], "who is served by another policy is not said to have none"
    never_run = json.loads(project.cloudpc("list", "--all", "--policy", "second", "--json").output)
    assert [(row["userId"], row["statusDetail"]["code"]) for row in never_run] == [("u001", "policyWithoutStack")]
    project.policy("third", timeZone="Nowhere")
    listed = project.cloudpc("list", "--all")
    assert listed.code == 0, listed
    assert "u000@contoso.example" in listed.output
    assert "left out: third" in listed.output


def test_a_policy_whose_name_no_stack_can_have_is_not_valid(project: Project) -> None:
    project.policy("Bad Name")
    ran = project.cloudpc("policy", "validate")
    assert ran.code == 2, ran
    assert "stacks/Pulumi.Bad Name.yaml: file: it is the stack's name, which may only contain" in ran.output
    assert "demo: valid" in ran.output


def test_validate_asks_hosts_only_where_it_is_told_to(project: Project) -> None:
    """A pull request's runner reaches none."""
    project.host(away=True)
    assert project.cloudpc("policy", "validate").code == 0
    silent = project.cloudpc("policy", "validate", "--hosts")
    assert silent.code == 1, silent
    assert "not known: demo: host: host does not answer" in silent.output
    allowed = project.cloudpc("policy", "validate", "--hosts", "--allow-unread")
    assert (allowed.code, allowed.output) == (0, silent.output)
    project.host()
    assert project.cloudpc("policy", "validate", "--hosts").code == 0
    (project.root / "alias").symlink_to("host")
    project.policy(hosts=["host", "alias"])
    assert project.cloudpc("policy", "validate").code == 0
    twins = project.cloudpc("policy", "validate", "--hosts", "--json")
    assert twins.code == 2, twins
    [problem] = json.loads(twins.output)
    assert problem["field"] == "cloudpc:hosts"
    assert "host and alias are one hypervisor" in problem["message"]


def test_names_that_look_like_markup_are_shown_as_they_are(project: Project) -> None:
    project.directory([user("u000", userPrincipalName="a[/b]@contoso.example")])
    project.up()
    listed = project.cloudpc("list")
    assert listed.code == 0, listed
    assert "a[/b]@contoso.example" in listed.output


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
    assert "no Cloud PC of 'nobody'" in unknown.output


def test_a_password_is_not_shown_under_a_name_that_is_another_s_by_now(project: Project) -> None:
    project.directory([user("u000")])
    project.up()
    project.directory([user("u000", userPrincipalName="wed@contoso.example"), user("new", userPrincipalName=_OLD)])
    for command in ("credentials", "connect"):
        ran = project.cloudpc(command, _OLD)
        assert (ran.code, "who is called wed@contoso.example now" in ran.output) == (2, True), ran
    assert project.cloudpc("credentials", "u000").code == 0, "its id means who it always meant"


def test_doctor_finds_what_no_state_knows(project: Project) -> None:
    project.up()
    assert project.cloudpc("doctor").code == 0
    clean = json.loads(project.cloudpc("doctor", "--json").output)
    assert not [f for f in clean if f["state"] != "ok"], clean
    project.pulumi("state", "unprotect", "--all", "--yes", "--stack", "demo")
    urn = "urn:pulumi:demo::cloudpc::pulumi-python:dynamic/cloudpc:CloudPC::u001/LAB_1C_0.5GB_8GB"
    assert project.pulumi("state", "delete", urn, "--yes", "--stack", "demo").code == 0
    installation = project.state()["u000"]["installation"]
    orphan = machine_name(installation, machine_id(installation, "gone", "plan")) + ".qcow2"
    (project.root / "host" / orphan).touch()
    found = [f for f in json.loads(project.cloudpc("doctor", "--json").output) if f["state"] == "warning"]
    assert any("is unknown to state" in f["detail"] for f in found)
    assert any(orphan in f["detail"] for f in found)
    ran = project.up()  # `up` never touches a machine that was handed over
    assert project.state()["u001"]["statusDetail"]["code"] == "machineNotInState", ran
    assert set(project.machines()) == {"u000", "u001"}


@pytest.mark.parametrize("arguments", [["policy", "schema"], ["--help"], ["up", "--help"], ["connect", "--help"]])
def test_commands_that_need_no_stack(new_project: Callable[[str], Project], arguments: list[str]) -> None:
    project = new_project("nothing made yet")
    ran = project.cloudpc(*arguments, PATH="/usr/bin:/bin")  # not even an engine
    assert ran.code == 0, ran
    assert not list((project.root / "state").iterdir())


def test_images_are_listed_with_what_is_built_of_them(new_project: Callable[[str], Project]) -> None:
    project = new_project("images")
    text = project.cloudpc("image", "list")
    assert "not built" in text.output, text
    built = _pretend_to_have_built(project, "micro")
    rows = {row["imageId"]: row for row in json.loads(project.cloudpc("image", "list", "--json").output)}
    assert set(rows) == {path.parent.name for path in (REPO / "vm-images").glob("*/recipe.yaml")}
    assert rows["debian-12"]["status"] == "not built"
    assert rows["micro"] | {"status": "built", "path": str(built), "size": 3 * len(qcow2.header())} == rows["micro"]
    again = project.cloudpc("image", "build", "micro")  # what is there is left as it is
    assert again.code == 0, again
    assert f"micro {rows['micro']['digest'][:12]} {built}" in again.output


def test_an_unknown_image_is_not_built(new_project: Callable[[str], Project]) -> None:
    project = new_project("images")
    ran = project.cloudpc("image", "build", "micro", "windows-3.11")
    assert ran.code == 2, ran
    assert "windows-3.11; there are: debian-12, debian-12-desktop, micro" in " ".join(ran.output.split())
    assert not list(project.root.rglob("*windows*"))
    assert not (project.root / "cache").exists()  # nothing of the known one either


def test_images_are_brought_to_hosts_ahead_of_a_run_without_an_engine(new_project: Callable[[str], Project]) -> None:
    project = new_project("images")
    project.directory(1)
    project.policy(hosts=["near", "far"])
    project.host("near")
    project.host("far", faults=[{"call": "ensure_image", "fault": "error"}])
    ran = project.cloudpc("image", "upload", "demo", PATH="/usr/bin:/bin")
    assert ran.code == 1, ran
    assert "near has " in ran.output
    assert "far: " in ran.output, "what is wrong with one host holds up no other"
    assert [call.strip() for call in project.calls("near")] == ["ensure_image"]


def _pretend_to_have_built(project: Project, image_id: str) -> Path:
    """Put files that nobody can boot into the project's cache where its recipe's build would."""
    folder = Path(project.env["CLOUDPC_CACHE"]) / "images" / "gallery"
    wanted = gallery.get_recipe(REPO / "vm-images", image_id)
    images = store.Store(folder)
    with images.locked(image_id, print), images.working_folder(image_id) as work:
        made = work / "made"
        made.mkdir()
        for name in (builder.DISK, builder.KERNEL, builder.INITRD):
            (made / name).write_bytes(qcow2.header())
        entry = f"{image_id}-{builder.key(wanted)[:32]}"
        images.put(entry, made)
    return folder / entry


def test_bad_arguments_are_told_in_one_line(project: Project) -> None:
    for arguments in (["list", "--status", "happy"], ["nonsense"], ["list", "--policy", "none"]):
        ran = project.cloudpc(*arguments)
        assert ran.code == 2, ran
        assert "Traceback" not in ran.output


def test_narrow_terminals_lose_no_column(project: Project) -> None:
    project.directory([user("u000", "LAB_1C_0.5GB_8GB", "LAB_2C_1GB_8GB")])
    project.up()
    listed = project.cloudpc("list", COLUMNS="80", TTY_COMPATIBLE="1", FORCE_COLOR="1").output
    assert "cloudpc connect u000@contoso.example --service-plan LAB_2C_1GB_8GB" in " ".join(listed.split())


def test_after_the_last_stack_is_gone_nothing_is_listed_and_nothing_fails(project: Project) -> None:
    away = f"file://{project.root}/.cloudpc/state"
    assert not (project.root / ".cloudpc").exists()
    assert json.loads(project.cloudpc("list", "--json", PULUMI_BACKEND_URL=away).output) == []
    assert project.cloudpc("down", "demo", "--yes", PULUMI_BACKEND_URL=away).code == 0
