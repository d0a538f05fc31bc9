"""Whatever guests and directories say: nothing of it steers the terminal of who runs this."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from tests.support.project import Project, user

pytestmark = pytest.mark.engine

_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
NASTY = "\x1b]0;pwned\x07\x1b[2J\x9b31m\u202e fd00:a:b::10 :rocket: [red]x[/] <{%fg 1%}> <{%none%}>"
AS_TEXT = "fd00:a:b::10 :rocket: [red]x[/]"


def _directory(project: Project, members: list[str]) -> None:
    project.directory([user("u000", displayName=NASTY), user("u001")], {"everybody": members})
    file = project.root / "stacks" / "directory.yaml"
    content = yaml.safe_load(file.read_text())
    content["groups"][0]["displayName"] = NASTY
    file.write_text(yaml.safe_dump(content))


def test_what_guests_and_directories_say_is_shown_as_text(project: Project) -> None:
    _directory(project, ["u000", "u001"])
    project.policy(timeZone="Europe/Berlin", assignments=[{"target": {"groupId": NASTY}}])
    project.host(
        exit_code=7, output=f"\x1b[31mE: {NASTY}\x1b[0m\n",
        faults=[{"call": "claim", "user": "u001", "fault": "error", "retriable": False}],
    )  # fmt: skip
    shown = [project.cloudpc("up", "demo"), project.pulumi("preview", "--stack", "demo", "--diff")]
    assert "E: " in shown[0].output
    assert AS_TEXT in shown[0].output
    assert "<{ %none%}>" in shown[0].output, "the engine dropped it"
    shown += [project.cloudpc(*command) for command in (["list"], ["show", "u000"], ["history", "u000"], ["doctor"])]
    _directory(project, [])
    shown += [project.cloudpc("up", "demo"), project.cloudpc("history", "u000"), project.cloudpc("list", "--all")]
    listed = project.cloudpc("list", "--json")
    for ran in (*shown, listed):
        assert not _STEERS.search(ran.output), repr(ran.output)
        assert "🚀" not in ran.output
        assert "Traceback" not in ran.output
    assert AS_TEXT in shown[2].output
    assert "left group" in json.loads(listed.output)[0]["why"]
