from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tenant.errors import GraphError
from tests.tenant.filters import parse


@given(st.text(), st.text())
def test_a_quoted_text_is_that_text_and_no_other(name: str, other: str) -> None:
    quoted = name.replace("'", "''")
    for text in (f"displayName eq '{quoted}'", f"displayName in ('a', '{quoted}')"):
        found = parse(text)
        assert found.matches({"displayName": name})
    assert parse(f"displayName eq '{quoted}'").matches({"displayName": other}) == (name.casefold() == other.casefold())


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("a eq 'x' or b eq true", [{"a": "X"}, {"b": True}], [{"a": "y", "b": False}, {}]),
        ("a eq 'x' and (b eq 'y' or b eq 'z')", [{"a": "x", "b": "z"}], [{"a": "x"}, {"b": "y"}]),
        ("startswith(a,'x''y')", [{"a": "x'yz"}], [{"a": "x"}, {"a": None}, {}]),
        ("p/any(q:startswith(q,'[o]:'))", [{"p": ["b", "[O]:1"]}], [{"p": ["x[o]:"]}, {"p": []}, {"p": None}]),
        ("p/any(q:q eq '[o]:1')", [{"p": ["[o]:1"]}], [{"p": ["[o]:12"]}]),
        ("a/b eq null", [{"a": {"b": None}}, {}], [{"a": {"b": "x"}}]),
        ("id eq 545e3611-3af8-49a5-9a0a-b7867968f4b0", [{"id": "545E3611-3af8-49a5-9a0a-b7867968f4b0"}], [{"id": "5"}]),
    ],
)
def test_what_matches(text: str, yes: list[object], no: list[object]) -> None:
    matches = parse(text).matches
    assert all(matches(item) for item in yes)
    assert not any(matches(item) for item in no)


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "a eq", "a eq x", "a ne 'x'", "a eq 'x", "a eq 'x''", "a eq 'x' b", "a eq 'x') or (b eq 'y'",
        "not (a eq 'x')", "endswith(a,'x')", "p/any(q:r eq 'x')", "p/any(q:startswith(r,'x'))", "p/all(q:q eq 'x')",
        "a in ()", "a in 'x'", "a eq 1",
    ],
)  # fmt: skip
def test_what_is_refused(text: str) -> None:
    with pytest.raises(GraphError) as refused:
        parse(text)
    assert refused.value.status == 400
