"""Documents: what they link to is there, and what is written from the code is what the code says now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.project import REPO

PAGES = [*REPO.glob("*.md"), *(REPO / "docs").rglob("*.md"), *(REPO / "tests").rglob("*.md")]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_what_a_page_links_to_is_there(page: Path) -> None:
    for link in _LINK.findall(page.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def test_the_reference_is_what_the_code_says() -> None:
    ended = subprocess.run(
        [sys.executable, str(REPO / "tools" / "reference"), "--check"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_the_readme_is_read_in_two_minutes() -> None:
    text = (REPO / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 130
    assert "Linux" in text


def test_our_own_workflow_can_do_no_harm() -> None:
    workflow = yaml.safe_load((REPO / ".github/workflows/checks.yaml").read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 60
        assert "permissions" not in job
        assert "secrets." not in str(job)
        for step in job["steps"]:
            assert "uses" not in step or re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
            assert "checkout" not in step.get("uses", "") or step["with"]["persist-credentials"] is False


def test_our_own_workflow_runs_what_a_developer_runs() -> None:
    jobs = yaml.safe_load((REPO / ".github/workflows/checks.yaml").read_text("utf-8"))["jobs"]
    assert jobs["suite"]["strategy"]["matrix"] == {"debian": ["12", "13"]}
    said = {name: [step["run"] for step in job["steps"] if "run" in step][-1] for name, job in jobs.items()}
    assert said == {"suite": ".ci/run", "package": "make dist", "site": "make site"}
