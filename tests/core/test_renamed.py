"""A stack under another name than its policy's."""

from __future__ import annotations

import pytest

from cloudpc.operations.renamed import refusal


@pytest.mark.parametrize(
    ("policies", "made_by"),
    [([], []), (["new"], []), (["new"], ["new"]), (["new"], ["moved here", "new"]), ([], ["new"])],
)
def test_its_own_name_is_fine(policies: list[str], made_by: list[str]) -> None:
    assert refusal("new", dict.fromkeys(policies, "urn"), made_by) == ""


@pytest.mark.parametrize(
    ("policies", "made_by"),
    [
        (["old"], ["old"]),
        (["old"], []),
        ([], ["old"]),
        (["old", "new"], ["old", "old", "new"]),
        (["new", "old"], ["new", "old"]),
    ],
)
def test_it_goes_back(policies: list[str], made_by: list[str]) -> None:
    said = refusal("new", {name: f"urn of {name}" for name in policies}, made_by)
    assert "`pulumi stack rename old --stack new`" in said
    assert "state delete" not in said


@pytest.mark.parametrize("made_by", [[], ["old", "old", "new"]])
def test_back_again_the_second_policy_goes(made_by: list[str]) -> None:
    said = refusal("old", {"new": "urn of new", "old": "urn of old"}, made_by)
    assert "`pulumi state delete --force --yes --stack old 'urn of new'`" in said
    assert "rename" not in said
