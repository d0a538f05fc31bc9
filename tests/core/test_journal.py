"""Who has asked for what: written where it can be, told where it can't, and shown once."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloudpc.cli import history as history_module
from cloudpc.cli.journal import Journal
from cloudpc.iac.records import Resource, stack_record
from cloudpc.operations.records import EndedRecord, StackRecord

_STATE = json.loads((Path(__file__).parents[1] / "state" / "2026-11-29.json").read_text())


def _record(policy: str, **changes: Any) -> StackRecord:
    """The recorded stack as another policy's, with other outputs of its Cloud PCs."""
    resources = [
        Resource(
            r["type"],
            r["urn"],
            {**r.get("outputs", {}), **(changes if r["type"].endswith(":CloudPC") else {})},
            r.get("inputs", {}),
        )
        for r in _STATE["state"]["deployment"]["resources"]
    ]
    return stack_record(policy, resources)


def _project(root: Path, *records: StackRecord) -> Any:
    """As far as the journal and `history` ask for it."""
    return SimpleNamespace(
        root=root,
        stacks_folder=root / "stacks",
        values=lambda _policy: {"cloudpc:audit": {"path": str(root / "audit.jsonl")}},
        records=lambda: list(records),
    )


def test_a_folder_that_can_t_be_made_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".cloudpc").mkdir()
    (tmp_path / ".cloudpc" / "pages").write_text("a file")
    cloud_pc = _record("demo").cloud_pcs[0]
    Journal(_project(tmp_path)).write("dana", "restart", cloud_pc)
    assert "`restart` by dana" in caplog.text
    assert '"did": "restart"' in (tmp_path / "audit.jsonl").read_text(), "what can be written is"


def test_what_was_asked_is_told_once_of_a_user_who_has_gone_from_one_policy_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now, gone, before = _record("now"), _record("gone", status="deprovisioning", leftovers=[]), _record("before")
    one = now.cloud_pcs[0]
    assert gone.cloud_pcs[0].is_gone
    ended = StackRecord("before", ended=(EndedRecord.of("before", before.cloud_pcs[0].recorded),))
    project = _project(tmp_path, gone, ended, now)
    Journal(project).write("dana", "restart", one)
    monkeypatch.setattr(history_module, "Project", lambda: project)
    history_module.history(one.user_id, as_json=True)
    stories = json.loads(capsys.readouterr().out)
    asked = [s["policy"] for s in stories if s["servicePlan"] == one.service_plan and s["asked"]]
    assert {s["policy"] for s in stories} == {"now", "gone", "before"}
    assert asked == ["now"], "of the one that is there"


def test_what_somebody_has_written_into_the_file_steers_nothing_where_it_is_shown(tmp_path: Path) -> None:
    cloud_pc = _record("demo").cloud_pcs[0]
    journal = Journal(_project(tmp_path))
    journal.write("dana", "restart", cloud_pc, command="cloudpc restart")
    file = tmp_path / ".cloudpc/pages/audit.jsonl"
    file.write_text(file.read_text().replace('"dana"', r'"d\u001b[31ma\u202en\ud83da"'))
    [line] = journal.of(cloud_pc)
    assert line["by"] == r"da\u202en\ud83da"
    assert (line["did"], line["command"]) == ("restart", "cloudpc restart")
