"""The workflow of a project of one's own: what a pull request may reach."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.support.project import REPO

SECRET = "secrets."


def _workflow() -> dict[Any, Any]:
    content: dict[Any, Any] = yaml.safe_load((REPO / "template/.github/workflows/cloud-pcs.yaml").read_text())
    return content


@pytest.fixture
def jobs() -> dict[str, Any]:
    found: dict[str, Any] = _workflow()["jobs"]
    return found


def test_nothing_may_write_to_the_repository() -> None:
    assert _workflow()["permissions"] == {"contents": "read"}


def test_secrets_and_hosts_are_behind_a_protected_environment(jobs: dict[str, Any]) -> None:
    for name, job in jobs.items():
        reaches = SECRET in str(job) or "self-hosted" in job["runs-on"]
        assert ("environment" in job) == reaches, name
        assert ("concurrency" in job) == ("cloudpc up" in str(job)), name


def test_a_fork_s_pull_request_reaches_none_of_them(jobs: dict[str, Any]) -> None:
    for job in jobs.values():
        if "environment" in job and "== 'pull_request'" in job["if"]:
            assert "head.repo.full_name == github.repository" in job["if"]


def test_actions_are_pinned_and_leave_no_token_behind(jobs: dict[str, Any]) -> None:
    steps = [step for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert steps
    for step in steps:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
        assert step["with"]["persist-credentials"] is False


def test_a_step_that_crashes_fails(jobs: dict[str, Any]) -> None:
    """An exit code that is passed over is a crash's, too."""
    for job in jobs.values():
        assert not [step["run"] for step in job["steps"] if "||" in step.get("run", "")]
        assert not [step for step in job["steps"] if "continue-on-error" in step]
