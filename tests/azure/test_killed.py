"""Killed after each of every request: one more run, and there is what there should be; what is others' is untouched."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cloudpc.machines.azure import parts
from cloudpc.model.cloud_pc import Status
from tests.azure.arm import FakeArm
from tests.azure.client import Http
from tests.azure.life import Life, is_killed
from tests.azure.linux_answers import LinuxAnswers

SOMEBODY = {"virtualMachines": ["vm"], "networkInterfaces": ["nic"], "disks": ["nic-os"]}
ONE = dict.fromkeys(SOMEBODY, 1)
NONE = dict.fromkeys(SOMEBODY, 0)
LATER = 20 * 60
"""Seconds until the next run: a network card is not reserved any longer, and what has no machine is left over."""


@pytest.fixture
def killed_arm(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeArm]:
    """One that checks no contracts, which takes most of the time; with somebody's machine."""
    with FakeArm(check=False) as arm:
        arm.table.otherwise = LinuxAnswers()
        monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token(30 * 24 * 3600))
        with Http(arm) as http:
            http.made()
        yield arm
    assert not arm.violations


def test_a_create(killed_arm: FakeArm, tmp_path: Path) -> None:
    def begin(life: Life) -> None: ...

    def go_on(life: Life) -> None:
        life.up()
        assert life.outcome.status is Status.PROVISIONED, life.outcome.error

    _each(killed_arm, tmp_path, begin, go_on, ONE)


def test_a_reprovision(killed_arm: FakeArm, tmp_path: Path) -> None:
    def go_on(life: Life) -> None:
        life.up(generation=2)
        assert life.outcome.status is Status.PROVISIONED, life.outcome.error
        assert life.recorded is not None
        assert life.recorded.generation == 2

    _each(killed_arm, tmp_path, Life.up, go_on, ONE)


def test_an_end(killed_arm: FakeArm, tmp_path: Path) -> None:
    def begin(life: Life) -> None:
        life.up()
        life.up(entitled=False)

    def go_on(life: Life) -> None:
        life.up(entitled=False, days=30)
        assert life.recorded is not None
        assert life.recorded.status is Status.DEPROVISIONING

    _each(killed_arm, tmp_path, begin, go_on, NONE)


def _each(
    arm: FakeArm,
    folder: Path,
    begin: Callable[[Life], None],
    go_on: Callable[[Life], None],
    left: dict[str, int],
) -> None:
    """For a Cloud PC each: `go_on` is killed after each of its requests, and runs again later."""
    others = _others(arm)
    life = Life(arm, folder, "never-killed")
    begin(life)
    arm.clock.advance(LATER)
    before = arm.count()
    go_on(life)
    requests = arm.count() - before
    assert requests > 5
    _look(arm, left)
    life.remove(arm)
    for number in range(1, requests):
        life = Life(arm, folder, f"killed-{number}")
        begin(life)
        arm.clock.advance(LATER)
        assert is_killed(number, partial(go_on, life)), f"it had no more than {number} requests"
        arm.clock.advance(LATER)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(parts, "YOUNG", timedelta(0))
            go_on(life)
            _look(arm, left, f"killed after {number} of {requests} requests: {arm.requests()[-requests * 2 :]}")
            life.remove(arm)
        _look(arm, NONE)
        assert _others(arm) == others


def _others(arm: FakeArm) -> list[Any]:
    """What is somebody's, whole."""
    there = [arm.resources.find(arm.account.id(kind, name)) for kind, names in SOMEBODY.items() for name in names]
    return [copy.deepcopy(each.body) for each in there if each]


def _look(arm: FakeArm, left: dict[str, int], why: Any = "") -> None:
    there = {kind: sorted(set(names) - set(SOMEBODY[kind])) for kind, names in arm.left.items()}
    assert {kind: len(names) for kind, names in there.items()} == left, (there, why)
