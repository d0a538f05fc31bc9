"""Rights as Azure counts them: each role gives actions and excepts some; what one excepts, another may give."""

from __future__ import annotations

from cloudpc.machines.azure.permissions import missing

READ, WRITE = "Microsoft.Compute/virtualMachines/read", "Microsoft.Compute/virtualMachines/write"


def test_an_owner_may_everything() -> None:
    assert missing([READ, WRITE], [{"actions": ["*"], "notActions": []}]) == []


def test_nobody_may_anything_without_a_role() -> None:
    assert missing([READ, WRITE], []) == [READ, WRITE]
    assert missing([READ], [{"actions": None}]) == [READ]


def test_a_star_stands_for_anything_with_slashes_and_case_does_not_matter() -> None:
    assert missing([READ, WRITE], [{"actions": ["*/READ"]}]) == [WRITE]
    assert missing([READ, WRITE], [{"actions": ["microsoft.compute/*"]}]) == []
    assert missing([READ], [{"actions": ["Microsoft.Compute/virtualMachines"]}]) == [READ]


def test_what_a_role_excepts_it_does_not_give() -> None:
    contributor = {"actions": ["*"], "notActions": ["Microsoft.Compute/virtualMachines/write"]}
    assert missing([READ, WRITE], [contributor]) == [WRITE]


def test_what_one_role_excepts_another_gives() -> None:
    contributor = {"actions": ["*"], "notActions": [WRITE]}
    assert missing([READ, WRITE], [contributor, {"actions": [WRITE]}]) == []
