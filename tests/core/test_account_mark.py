"""What a computer account's description says, and to whom."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from cloudpc.devices import account_mark

OWNER = "0123456789abcdef/u-alice/plan/1"
_PART = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=6)


def test_a_mark_names_nobody() -> None:
    assert re.fullmatch(r"cloudpc:[0-9a-f]{64}", account_mark.mark(OWNER))
    assert not account_mark.names_parts(account_mark.mark(OWNER))
    assert account_mark.names_parts(f"cloudpc:{OWNER}")


@given(_PART, _PART, _PART, _PART, st.integers(1, 9), st.integers(1, 9))
def test_whose_it_is(installation: str, user: str, other: str, plan: str, first: int, second: int) -> None:
    owner = f"{installation}/{user}/{plan}/{first}"
    for description in account_mark.of(owner):
        assert account_mark.is_mark(description)
        assert account_mark.same_cloud_pc(description, f"{installation}/{user}/{plan}/{second}")
        assert account_mark.same_cloud_pc(description, f"{installation}/{other}/{plan}/{first}") == (user == other)
        assert description.startswith(account_mark.queries(installation))
        assert (description in account_mark.of(f"{installation}/{user}/{plan}/{second}")) == (first == second)


def test_what_is_no_mark_is_nobody_s() -> None:
    for description in ("", "cloudpc", "cloudpc:", "Alice's PC", OWNER):
        assert not account_mark.same_cloud_pc(description, OWNER)
        assert not account_mark.same_cloud_pc(description, "")
