"""What a person has said yes to reaches the run as it was said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.operations.consent import Consent

_words = st.from_regex(r"[A-Za-z0-9/._-]{1,8}", fullmatch=True)


@given(
    st.builds(
        Consent,
        delete=st.none() | _words,
        accept_loss=st.none() | st.integers(0, 99_999),
        adopt=st.lists(_words).map(tuple),
        forget_hosts=st.lists(_words).map(tuple),
        forget_registrations=st.none() | _words,
    )
)
def test_a_run_knows_what_was_said(consent: Consent) -> None:
    assert Consent.of_this_run(consent.environment()) == consent


@pytest.mark.parametrize("count", ["", "all", "-1", "3.0", "yes"])
def test_what_is_no_number_is_no_yes(count: str) -> None:
    assert Consent.of_this_run({"CLOUDPC_ACCEPT_LOSS": count}) == Consent()
