"""The audit file: of the project, or of whoever runs it; it blocks nobody and fails nobody's Cloud PC."""

from __future__ import annotations

import os
import resource
import socket
from pathlib import Path

import pytest

from cloudpc.files import audit_file
from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.operations import audit
from tests.core.test_lifecycle import _recorded

ELSEWHERE = "must be a file of this project; CLOUDPC_AUDIT in the environment may name any"


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "stacks"
    folder.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (folder / "out").symlink_to(tmp_path / "outside")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "text").write_text("config: {}\n")
    (folder / "deep").write_text("[" * 50_000)
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(folder / "socket"))
    return folder


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/dev/full", ELSEWHERE),
        ("/etc/passwd", ELSEWHERE),
        ("../../audit.jsonl", ELSEWHERE),
        ("out/audit.jsonl", ELSEWHERE),
        (".", "must be in a folder that exists"),
        ("nowhere/audit.jsonl", "must be in a folder that exists"),
        ("a\0b", "null byte"),
        ("a" * 300, "name too long"),
        ("pipe", "is not a regular file"),
        ("socket", "is not a regular file"),
        ("circle", "symbolic links"),
        ("text", "is not an audit file"),
        ("deep", "is not an audit file"),
    ],
)
def test_what_a_policy_may_not_name(stacks: Path, path: str, why: str) -> None:
    wrong = audit_file.problem(path, stacks, "stacks/Pulumi.demo.yaml")
    assert wrong is not None
    assert why in wrong.message
    told: list[str] = []
    assert audit.target(path, stacks, told.append) is None
    assert why in told[0]


def test_a_file_of_the_project_may_be_anywhere_in_it(stacks: Path) -> None:
    for path in ("audit.jsonl", "../audit.jsonl", str(stacks / "audit.jsonl")):
        assert audit_file.find(path, stacks, {}) == (stacks / path).resolve()
    assert audit_file.find(None, stacks, {}) is None


def test_who_runs_it_may_name_any_file_for_all_policies(
    stacks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDPC_AUDIT", str(tmp_path / "outside" / "all.jsonl"))
    for path in (None, "audit.jsonl", "/dev/full"):
        assert audit_file.find(path, stacks) == tmp_path / "outside" / "all.jsonl"
    for named in ("relative", str(stacks / "pipe"), "/dev/full"):
        monkeypatch.setenv("CLOUDPC_AUDIT", named)
        wrong = audit_file.problem(None, stacks, "stacks/Pulumi.demo.yaml")
        assert wrong is not None
        assert (wrong.file, wrong.field) == ("environment", "CLOUDPC_AUDIT")


def _cloud_pc(event: str) -> RecordedCloudPC:
    [made] = _recorded(Status.PROVISIONED, events=(event,)).values()
    return made


@pytest.mark.parametrize("kind", ["pipe", "link", "socket", "nul", "full"])
def test_a_line_that_can_t_be_written_is_told_and_fails_nobody(
    stacks: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"pipe": "pipe", "link": "link", "socket": "socket", "nul": "a\0b", "full": "audit.jsonl"}
    (stacks / "link").symlink_to(stacks / "text")
    told: list[str] = []
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if kind == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        audit.append(
            stacks / names[kind], None, _cloud_pc("2026-11-01T00:00:00Z provisioned generation 1"), told.append
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "can't be written: " in told[0]
    assert '"to": "provisioned"' in told[0], "what is missing there"
    assert (stacks / "text").read_text() == "config: {}\n"


def test_strange_text_is_written_and_strange_lines_are_passed_over(stacks: Path) -> None:
    file, told = stacks / "audit.jsonl", list[str]()
    audit.append(file, None, _cloud_pc("2026-11-01T00:00:00Z failed \udcff"), told.append)
    with file.open("a") as out:
        out.write('{"time": ["a"]}\n' + "[" * 50_000 + "\n5\n")
    audit.catch_up(file, [_cloud_pc("2026-11-02T00:00:00Z failed")], told.append)
    assert not told
    assert audit_file.find("audit.jsonl", stacks, {}) == file
