"""What `cloudpc policy validate --hosts` makes of hosts' answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudpc.model.check import Check
from cloudpc.model.machines import Network
from cloudpc.operations.host_validation import HostValidation

from .fake_rim import ScriptedHost

FILE = "stacks/Pulumi.demo.yaml"
CORP = Network("network", "corp")


class _Checked(ScriptedHost):
    found: tuple[Check, ...] = ()

    def check(self) -> list[Check]:
        return list(self.found)


def _fields(*hosts: ScriptedHost, are_configured: bool = True) -> list[tuple[str, str]]:
    asked = HostValidation(FILE, hosts, [Network(), CORP], are_configured=are_configured)
    return [(problem.field, problem.message) for problem in asked.problems()]


def test_a_network_has_to_be_on_one_host(tmp_path: Path) -> None:
    without, with_it = ScriptedHost(tmp_path, "one"), ScriptedHost(tmp_path, "two", networks=["corp"])
    assert _fields(without, with_it) == []
    [(field, message)] = _fields(without)
    assert field == "cloudpc:policy.domainJoinConfigurations[1]"
    assert "one has no corp" in message


def test_who_is_silent_may_have_it(tmp_path: Path) -> None:
    without, away = ScriptedHost(tmp_path, "one"), ScriptedHost(tmp_path, "two")
    away.away = True
    asked = HostValidation(FILE, [without, away], [CORP], are_configured=True)
    assert asked.problems() == []
    assert [line.partition(":")[0] for line in asked.silent] == ["two"]


@pytest.mark.parametrize(("are_configured", "field"), [(True, "cloudpc:hosts[1]"), (False, "cloudpc:hosts")])
def test_what_is_wrong_with_a_host_is_told_with_what_to_do(tmp_path: Path, are_configured: bool, field: str) -> None:
    well, ill = ScriptedHost(tmp_path, "one", networks=["corp"]), _Checked(tmp_path, "two", networks=["corp"])
    ill.found = (Check("storage pool", "failed", "is logical.", "take another"), Check("version", "warning", "is old"))
    assert _fields(well, ill, are_configured=are_configured) == [(field, "two: storage pool: is logical: take another")]
