"""RDCleanPath: what a page asks for is read back as it was written, and nothing else is taken for it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.web.rdp_clean_path import MAX_BYTES, Answer, Malformed, Request, refusal

requests = st.builds(Request, token=st.text(max_size=200), x224=st.binary(max_size=600))
answers = st.builds(
    Answer,
    x224=st.binary(max_size=40),
    certificates=st.lists(st.binary(max_size=900), max_size=3),
    address=st.text(max_size=40),
)


@given(requests)
def test_a_request_is_read_as_it_was_written(request: Request) -> None:
    assert Request.parse(request.build()) == request


@given(answers)
def test_an_answer_is_read_as_it_was_written(answer: Answer) -> None:
    assert Answer.parse(answer.build()) == answer


def test_a_request_has_the_bytes_that_the_format_says() -> None:
    expected = bytes.fromhex("3015 a00402020d3e a3060c04746f6b31 a6050403e00102")
    assert Request("tok1", b"\xe0\x01\x02").build() == expected


def test_where_a_page_wants_to_go_is_read_by_nobody() -> None:
    with_destination = bytes.fromhex("301c a00402020d3e a2050c03623a31 a3060c04746f6b31 a6050403e00102")
    assert Request.parse(with_destination) == Request("tok1", b"\xe0\x01\x02")


@given(requests, st.data())
def test_a_request_that_was_cut_or_has_more_behind_it_is_none(request: Request, data: st.DataObject) -> None:
    content = request.build()
    with pytest.raises(Malformed):
        Request.parse(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(Malformed):
        Request.parse(content + data.draw(st.binary(min_size=1, max_size=20)))


@given(st.binary(max_size=300))
def test_whatever_a_page_sends_is_a_request_or_is_none(content: bytes) -> None:
    with contextlib.suppress(Malformed):
        Request.parse(content)


@given(requests, st.data())
def test_a_changed_byte_makes_another_request_or_none(request: Request, data: st.DataObject) -> None:
    content = bytearray(request.build())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Malformed):
        Request.parse(bytes(content))


@pytest.mark.parametrize(
    "content",
    [
        b"\x30\x80" * 5000,  # nested without an end
        b"\xa0\x80" * 5000,
        Request("t" * MAX_BYTES, b"").build(),
        refusal(403),
        b"\x30\x84\xff\xff\xff\xff",
    ],
)
def test_what_only_costs_time_or_memory_is_none(content: bytes) -> None:
    with pytest.raises(Malformed):
        Request.parse(content)
