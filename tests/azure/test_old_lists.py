"""A list of Azure may be an old one: nobody loses a machine because a list still has its forerunner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudpc.cli.doctor_hosts import Ours, findings
from cloudpc.cli.doctor_organisation import SeenOnHosts
from cloudpc.configuration.parsing import parse_surroundings
from cloudpc.model.tags import Phase
from cloudpc.operations.inventory import Inventory
from cloudpc.operations.second_look import is_still_there
from tests.azure.arm import FakeArm
from tests.azure.life import Life
from tests.azure.linux_answers import LinuxAnswers
from tests.core import make


@pytest.fixture
def life(arm: FakeArm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Life]:
    """One Cloud PC that was made again a moment ago; lists have its former machine, which is being removed."""
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token(2 * 3600))
    arm.table.otherwise = LinuxAnswers()
    arm.buckets.on = False
    life = Life(arm, tmp_path)
    life.up()
    arm.delays.lists = 3600
    life.up(generation=2)
    yield life
    assert arm.left["virtualMachines"], "its machine is gone"
    assert arm.left["disks"]
    with life.runtime() as runtime:
        [host] = runtime.hosts
        assert life.recorded
        machine = host.describe(life.recorded.machine_id)
    assert machine
    assert machine.tag.phase is Phase.HANDED_OVER
    assert machine.tag.generation == 2


def test_a_run_leaves_what_was_made_anew(life: Life) -> None:
    life.up(generation=2)


def test_a_run_leaves_what_was_made_anew_where_state_lost_it(life: Life) -> None:
    with life.runtime() as runtime:
        [host] = runtime.hosts
        [old] = host.owned(make.INSTALLATION)
        assert old.tag.phase is Phase.GOING
        assert not is_still_there(host, old)
        assert runtime.removal.delete_unknown(host, old) == []


def test_doctor_leaves_it_too(life: Life) -> None:
    ours = Ours([make.INSTALLATION], Inventory(), set(), remove=True)
    surroundings = {"lab": parse_surroundings({"cloudpc:hosts": life.hosts})}
    assert not [check for check in findings(surroundings, ours, SeenOnHosts()) if check.detail.startswith("removed")]
