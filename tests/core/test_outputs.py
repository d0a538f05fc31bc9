"""What is recorded goes through Pulumi's outputs and comes back; what this version does not know stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.iac import outputs
from cloudpc.model.cloud_pc import RecordedCloudPC
from cloudpc.rules import findings

from . import make
from .states import recorded

RECORDS = sorted((Path(__file__).parents[1] / "state").glob("*.json"))


def _recorded_outputs() -> list[dict[str, Any]]:
    resources = [r for path in RECORDS for r in json.loads(path.read_text())["state"]["deployment"]["resources"]]
    found = [r["outputs"] for r in resources if r["type"].endswith(":CloudPC")]
    return [{name: value for name, value in each.items() if name != "credentials"} for each in found]


@given(recorded())
def test_what_is_recorded_comes_back_through_pulumi(pc: RecordedCloudPC) -> None:
    written = make.through_pulumi(outputs.written(pc))
    assert outputs.read(written) == pc
    assert outputs.written(outputs.read(written), written) == written


@pytest.mark.parametrize("values", _recorded_outputs(), ids=lambda values: values["userId"])
def test_what_an_earlier_version_has_written_is_written_the_same(values: dict[str, Any]) -> None:
    assert outputs.written(outputs.read(values)) == values


@given(recorded().filter(lambda pc: not pc.is_gone), st.booleans())
def test_what_a_newer_version_has_written_survives_a_change(pc: RecordedCloudPC, changes: bool) -> None:
    """At the top as well as inside of what did not change; only a machine that is made anew begins anew."""
    values = outputs.written(pc)
    values["settings"] = {**values["settings"], "wallpaper": "blue"}
    values["backup"] = {"sealed": "hunter2"}
    read = outputs.read(values)
    assert "hunter2" not in repr(read)
    after = findings.moved(read, "elsewhere", make.NOW) if changes else read
    written = outputs.written(after, values)
    assert written["backup"] == values["backup"]
    assert written["settings"]["wallpaper"] == "blue"
    assert (written == values) is not changes
