"""A policy's file is copied with its installation's id to where another backend is: nothing of the first is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from cloudpc.model.tags import Phase
from tests.support.project import UP, Project, user

pytestmark = pytest.mark.engine

_ID = "production1"
_STOPPED = f"machines of the installation {_ID} that no stack of this backend knows"


@pytest.fixture
def first(project: Project) -> Project:
    _configure(project, "demo")
    project.up()
    assert set(project.machines()) == {"u000", "u001"}
    return project


@pytest.fixture
def copy(first: Project, new_project: Callable[[str], Project]) -> Project:
    """Another checkout with a backend of its own, on the first one's host."""
    made = new_project("a copy")
    made.directory(2)
    _configure(made, "demo", on=first)
    made.init()
    return made


def _configure(project: Project, name: str, on: Project | None = None, **more: Any) -> None:
    file = project.policy(name, **more.pop("policy", {}))
    content = yaml.safe_load(file.read_text())
    content["config"] |= {"cloudpc:installation": _ID, **more}
    content["config"]["cloudpc:hosts"] = [{"name": "host", "uri": f"fake://{quote(str((on or project).root))}/host"}]
    file.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("command", ["up", "preview", "cloudpc up"])
def test_its_first_run_stops_before_anything_is_registered(first: Project, copy: Project, command: str) -> None:
    before, calls = first.machines(), first.calls()
    arguments = {"up": [*UP, "demo"], "preview": ["preview", "--stack", "demo"]}
    ran = copy.pulumi(*arguments[command]) if command in arguments else copy.cloudpc("up", "demo")
    assert ran.code not in (0, 3), ran
    assert _STOPPED in ran.output
    for said in (
        "set PULUMI_BACKEND_URL",
        "`cloudpc adopt`",
        "another id as cloudpc:installation",
        "Nothing was touch",
    ):
        assert said in ran.output, (said, ran)
    assert "Traceback" not in ran.output
    assert copy.state() == {}
    assert (first.machines(), first.calls()) == (before, calls)


def test_down_there_leaves_what_its_state_does_not_know(first: Project, copy: Project) -> None:
    before = first.machines()
    _has_run_before(copy)
    assert {o["statusDetail"]["code"] for o in copy.state().values()} == {"machineNotInState"}
    asked = copy.cloudpc("down", "demo")
    assert asked.code == 4, asked
    for machine in before.values():
        assert f"{machine['name']} on host, which the policy's state does not know, stays" in _flat(asked.output)
    assert "will be deleted" not in asked.output
    ran = copy.cloudpc("down", "demo", "--yes")
    assert ran.code == 1, ran
    assert "demo is gone; these machines stay" in _flat(ran.output)
    assert first.machines() == before
    assert first.leaks() == []
    assert json.loads(copy.pulumi("stack", "ls", "--json").output) == []
    assert "4 unchanged" in first.up().output


def test_a_plain_destroy_with_the_deliberate_variable_leaves_it_too(first: Project, copy: Project) -> None:
    before = first.machines()
    _has_run_before(copy)
    assert copy.pulumi("state", "unprotect", "--all", "--yes", "--stack", "demo").code == 0
    ran = copy.pulumi("destroy", "--yes", "--skip-preview", "--stack", "demo", CLOUDPC_ALLOW_DELETE="demo")
    assert ran.code == 0, ran
    assert first.machines() == before


def test_a_disk_whose_machine_the_first_can_define_again_stays(first: Project, copy: Project) -> None:
    _has_run_before(copy)
    files = {p: p.read_text() for p in (first.root / "host" / "machines").glob("*.json")}
    [path, *_] = files
    path.unlink()
    disk = json.loads(files[path])["name"] + ".qcow2"
    ran = copy.cloudpc("down", "demo", "--yes")
    assert ran.code == 1, ran
    assert (first.root / "host" / disk).is_file()
    assert f"{disk} on host" in _flat(ran.output)
    path.write_text(files[path])
    assert "4 unchanged" in first.up().output


def test_what_only_one_of_them_knows_goes_with_its_own(first: Project, copy: Project) -> None:
    _has_run_before(copy)
    copy.directory([user("u002"), user("u000")])
    copy.up()
    assert copy.statuses()["u002"] == "provisioned"
    ran = copy.cloudpc("down", "demo", "--yes")
    assert ran.code == 1, ran
    assert set(first.machines()) == {"u000", "u001"}


def test_sibling_stacks_of_one_backend_know_their_machines(first: Project) -> None:
    first.directory([user("u000"), user("u001"), user("u002")], {"everybody": ["u000", "u001"], "lab": ["u002"]})
    _configure(first, "lab", policy={"assignments": [{"target": {"groupId": "lab"}}]})
    ran = first.cloudpc("up", "lab")
    assert ran.code == 0, ran
    assert first.statuses("lab") == {"u002": "provisioned"}


def test_first_runs_side_by_side_do_not_stop_each_other(project: Project) -> None:
    groups = {"everybody": [f"u{i:03}" for i in range(6)], "lab": ["u006"]}
    project.directory([user(f"u{i:03}") for i in range(7)], groups)
    project.host(seconds={"wait_ready": 0.5})
    _configure(project, "demo")
    _configure(project, "lab", policy={"assignments": [{"target": {"groupId": "lab"}}]})
    project.init("lab")
    running = project.start(*UP, "demo")
    while not project.machines():
        time.sleep(0.02)
    ran = project.pulumi(*UP, "lab")
    assert ran.code == 0, ran
    running.communicate()
    assert running.returncode == 0
    assert set(project.statuses().values()) == {"provisioned"}


@pytest.mark.parametrize("own", [True, False])
def test_what_a_killed_first_run_began_is_its_own(project: Project, new_project: Any, own: bool) -> None:
    _kill_first_run(project)
    project.pulumi("cancel", "--yes", "--stack", "demo")
    _as_if_only_pending(project)
    if own:
        project.up()
        assert set(project.statuses().values()) == {"provisioned"}
        return
    copy = new_project("a copy")
    copy.directory(2)
    _configure(copy, "demo", on=project)
    copy.init()
    before = project.machines()
    ran = copy.pulumi(*UP, "demo")
    assert _STOPPED in ran.output, ran
    assert project.machines() == before


@pytest.mark.parametrize("only_pending", [True, False])
def test_down_removes_what_a_killed_run_of_the_same_stack_began(project: Project, only_pending: bool) -> None:
    _kill_first_run(project)
    if only_pending:
        project.pulumi("cancel", "--yes", "--stack", "demo")
        _as_if_only_pending(project)
    ran = project.cloudpc("down", "demo", "--yes", "--clear-lock")
    assert ran.code == 0, ran
    assert "which a run had begun, will be deleted" in _flat(ran.output)
    assert project.machines() == {}
    assert project.leaks() == []


def test_lost_state_is_adopted_or_removed_on_purpose(first: Project) -> None:
    before = {who: m["id"] for who, m in first.machines().items()}
    assert first.pulumi("stack", "rm", "demo", "--force", "--yes", "--preserve-config").code == 0
    ran = first.cloudpc("up", "demo")
    assert ran.code == 1, ran
    assert _STOPPED in ran.output
    ran = first.cloudpc("adopt", "--yes")
    assert ran.code == 0, ran
    assert {who: m["id"] for who, m in first.machines().items()} == before
    assert set(first.statuses().values()) == {"provisioned"}
    assert first.pulumi("stack", "rm", "demo", "--force", "--yes", "--preserve-config").code == 0
    assert first.cloudpc("adopt", "--remove", "--yes").code == 0
    assert first.machines() == {}
    assert first.cloudpc("up", "demo").code == 0


def test_machines_of_a_policy_that_is_not_here_any_more_can_be_removed(first: Project) -> None:
    """Another policy's first run stops before them; which policy they were of, their tags say."""
    assert first.pulumi("stack", "rm", "demo", "--force", "--yes").code == 0
    (first.root / "stacks" / "Pulumi.demo.yaml").unlink(missing_ok=True)
    _configure(first, "lab", policy={"assignments": []})
    assert _STOPPED in first.cloudpc("up", "lab").output
    ran = first.cloudpc("adopt", "--yes")
    assert ran.code == 1, ran
    assert _flat(ran.output).count("whose policy demo is not here; restore its file, or delete it with --remove") == 2
    assert set(first.machines()) == {"u000", "u001"}
    assert first.cloudpc("adopt", "--remove", "--yes").code == 0
    assert first.machines() == {}
    assert first.cloudpc("up", "lab").code == 0


def test_what_a_first_run_had_begun_whose_state_is_lost_is_adopted(project: Project) -> None:
    _kill_first_run(project)
    assert project.pulumi("cancel", "--yes", "--stack", "demo").code == 0
    assert project.pulumi("stack", "rm", "demo", "--force", "--yes", "--preserve-config").code == 0
    assert _STOPPED in project.cloudpc("up", "demo").output
    ran = project.cloudpc("adopt", "--yes")
    assert ran.code == 0, ran
    assert set(project.statuses().values()) == {"provisioned"}
    assert project.leaks() == []


def _has_run_before(copy: Project) -> None:
    """Before anybody looked at first runs, or while the first one's host was away: it lacks its machines since."""
    file = copy.root / "stacks" / "Pulumi.demo.yaml"
    text = file.read_text()
    copy.directory([])
    file.write_text(text.replace("a%20project", "elsewhere"))
    copy.up()
    file.write_text(text)
    copy.directory(2)
    copy.up()


def _kill_first_run(project: Project) -> None:
    _configure(project, "demo")
    project.host(faults=[{"call": "wait_ready", "fault": "hang"}])
    project.start(*UP, "demo")
    while len(project.machines()) < 2:
        time.sleep(0.02)
    project.stop()
    project.host()
    assert {m["tag"]["phase"] for m in project.machines().values()} == {Phase.PROVISIONING}


def _as_if_only_pending(project: Project) -> None:
    """As if it was killed before the policy's own entry was written; `pulumi stack import` would drop the rest, too."""
    file = project.root / "state" / ".pulumi" / "stacks" / "cloudpc" / "demo.json"
    content = json.loads(file.read_text())
    latest = content["checkpoint"]["latest"]
    assert latest["pending_operations"]
    latest["resources"] = [r for r in latest["resources"] if not r["type"].startswith("pulumi-python:")]
    file.write_text(json.dumps(content))


def _flat(text: str) -> str:
    return " ".join(text.split())
