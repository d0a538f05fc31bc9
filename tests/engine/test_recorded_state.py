"""State of an earlier version is read by this one: what it remembers is an interface (tests/state/record.py)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.state.record import PEOPLE
from tests.support.project import REPO, Project

pytestmark = pytest.mark.engine

RECORDS = sorted((REPO / "tests" / "state").glob("*.json"))
STATUSES = {
    "well": ("provisioned", None),
    "warned": ("provisionedWithWarnings", "packagesFailed"),
    "paused": ("provisioned", None),
    "torn": ("provisionedWithWarnings", "tagUnreadable"),
    "lost": ("failed", "machineLost"),
    "fails": ("failed", "guestDied"),
    "waits": ("pendingProvision", "noCapacity"),
    "leaves": ("inGracePeriod", None),
    "stuck": ("deprovisioning", None),
}
CHANGED_BY_A_RUN = {"waits": ("provisioned", None), "stuck": ("deprovisioning", None)}


@pytest.fixture(params=RECORDS, ids=lambda path: path.stem)
def project(request: pytest.FixtureRequest, new_project: Callable[[str], Project]) -> Project:
    """As the record was made, with its host and its state."""
    record = json.loads(Path(request.param).read_text())
    made = new_project("project")
    made.env["PULUMI_CONFIG_PASSPHRASE"] = record["passphrase"]
    made.directory(PEOPLE)
    salt = record["state"]["deployment"]["secrets_providers"]["state"]["salt"]
    file = made.policy()
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "encryptionsalt": salt}))
    for name, content in record["host"].items():
        path = made.root / "host" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    made.init()
    state = made.root / "recorded.json"
    state.write_text(json.dumps(record["state"]))
    ran = made.pulumi("stack", "import", "--stack", "demo", "--file", str(state))
    assert ran.code == 0, ran
    return made


def _listed(project: Project) -> dict[str, tuple[str, Any]]:
    rows = json.loads(project.cloudpc("list", "--json").output)
    return {row["userId"]: (row["status"], row["statusDetail"] and row["statusDetail"]["code"]) for row in rows}


def test_state_of_an_earlier_version_is_read_planned_with_and_run_on(project: Project) -> None:
    before = project.state()
    assert _listed(project) == STATUSES
    shown = json.loads(project.cloudpc("credentials", "well", "--json").output)
    assert shown["password"]
    assert shown["hostKey"] == before["well"]["hostKey"]

    told = project.pulumi("preview", "--stack", "demo").output
    for name, notice in {
        "paused": "is paused (the host's storage is full, so that its disk can't grow), and will be resumed",
        "waits": "pendingProvision: host lacks 2 cores (1 free); tried again",
        "stuck": "could not be removed completely yet, will be tried again: its machine on host: injected fault "
        "in delete",
    }.items():
        assert f"{name}@contoso.example" in told
        assert notice in told, told
    for name in ("well", "warned", "torn", "lost", "fails", "leaves"):
        assert f"{name}@contoso.example" not in told

    project.up()
    after = project.state()
    assert _listed(project) == STATUSES | CHANGED_BY_A_RUN
    assert "leftovers" not in after["stuck"]
    assert after["paused"]["events"][-1].endswith("can't grow), resumed")
    unchanged = set(STATUSES) - {"paused", "waits", "stuck"}
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    project.up()
    assert "stuck" not in project.state()
    assert "unchanged" in project.up().output
