"""Which runs write state once, at their end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloudpc.cli import large_runs
from cloudpc.cli.context import Project
from cloudpc.iac import checkpoints
from cloudpc.iac.engine import Engine


@pytest.mark.parametrize("value", ["1", "t", "T", "TRUE", "true", "True"])
def test_what_the_engine_reads_as_yes(value: str) -> None:
    assert checkpoints.are_skipped({checkpoints.VARIABLE: value})


@pytest.mark.parametrize("value", ["", "0", "false", "yes", "tRUE"])
def test_what_it_does_not(value: str) -> None:
    assert not checkpoints.are_skipped({checkpoints.VARIABLE: value})
    assert not checkpoints.are_skipped({})


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        ([], (False, 0)),
        (["pulumi:pulumi:Stack"], (False, 0)),
        ([checkpoints.PROVISIONING_POLICY], (True, 0)),
        ([checkpoints.PROVISIONING_POLICY, checkpoints.CLOUD_PC, checkpoints.CLOUD_PC], (True, 2)),
    ],
)
def test_how_large_a_policy_is_is_read_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: list[str], found: tuple[bool, int]
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}")
    (tmp_path / "Pulumi.yaml").write_text("name: cloudpc\nruntime: python\n")
    file = tmp_path / ".pulumi" / "stacks" / "cloudpc" / "demo.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"checkpoint": {"latest": {"resources": [{"type": kind} for kind in kinds]}}}))
    assert checkpoints.recorded(Engine(tmp_path), "demo") == found


@pytest.mark.parametrize(
    ("count", "chosen", "more"),
    [
        (99, {}, {}),
        (100, {}, {checkpoints.VARIABLE: "true"}),
        (4000, {checkpoints.VARIABLE: "false"}, {}),
        (1, {checkpoints.VARIABLE: "true"}, {}),
    ],
)
def test_a_large_policy_s_run_has_none_unless_the_admin_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, count: int, chosen: dict[str, str], more: dict[str, str]
) -> None:
    monkeypatch.setattr(Engine, "environment", lambda _self: chosen)
    assert large_runs.environment(Project(), count) == more
