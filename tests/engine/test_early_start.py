"""The provider starts before the program has declared anything, and state does not show it."""

from __future__ import annotations

import json
from shlex import quote
from typing import Any

import pytest

from cloudpc.iac.type_tokens import PROVIDER
from tests.support.project import REPO, UP, Project

pytestmark = pytest.mark.engine
_LAUNCHER = "provider/plugin/pulumi-resource-pulumi-python"


def _configured(project: Project) -> list[Any]:
    exported = json.loads(project.pulumi("stack", "export", "--stack", "demo").output)
    return [each["inputs"] for each in exported["deployment"]["resources"] if each["type"] == PROVIDER]


def test_it_starts_early_where_that_changes_nothing_in_state(project: Project) -> None:
    project.up()
    (project.root / "provider").unlink()  # the repository's
    launcher, begun = project.root / _LAUNCHER, project.root / "begun"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f'#!/bin/sh\ntouch {quote(str(begun))}\nexec {quote(str(REPO / _LAUNCHER))} "$@"\n')
    launcher.chmod(0o755)
    directory, before = project.root / "stacks" / "directory.yaml", _configured(project)

    users = directory.read_text()
    directory.write_text("users: [")
    assert "is not valid YAML" in project.pulumi(*UP, "demo").output
    assert begun.exists(), "before the program refuses"

    begun.unlink()
    directory.write_text(users)
    project.policy(imageId="missing")
    assert "cloudpc:policy.imageId" in project.pulumi(*UP, "demo").output
    assert not begun.exists(), "the engine would record what is refused"
    assert _configured(project) == before
