"""What is recorded goes through Pulumi's outputs and comes back; what this version does not know stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from cloudpc.iac import outputs
from cloudpc.model.access import Ssh
from cloudpc.model.cloud_pc import Account, RecordedCloudPC, Status
from cloudpc.model.credentials import RecordedCredentials
from cloudpc.rules import findings

from . import fake_rim, make
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


def test_what_is_kept_of_a_cloud_pc_stays_small() -> None:
    """State is rewritten at each step: 3 kB a Cloud PC at most. 920 bytes are the engine's own and its provider's."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr1oZs1LkO8Ry5N2yp7aYz0kEJzq8nZhb3bJm1yQy7M"
    account = Account(name="alice", display_name="Alice", ssh_public_keys=(f"{key} alice@contoso.example",))
    desired = fake_rim.desired().model_copy(update={"account": account})
    pc = RecordedCloudPC(
        **desired.model_dump(),
        status=Status.PROVISIONED,
        last_modified_date_time=make.NOW,
        attempts=1,
        host="kvm1",
        access=Ssh(host="127.0.0.1", port=22001, via="root@kvm1", host_key=key),
        credentials=RecordedCredentials(user="alice", password=SecretStr("abcde-fghjk-mnpqr-stuvw")),
        events=("2026-11-24T09:00:00Z provisioned: on kvm1",),
    )
    both = [outputs.pinned(desired), outputs.written(pc)]
    assert len(json.dumps(both, separators=(",", ":"))) < 2_080
