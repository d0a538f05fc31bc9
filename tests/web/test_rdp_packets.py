"""What the proxy changes in RDP's first packets, and that it changes nothing else."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from cloudpc.web.rdp_packets import (
    MAX_EARLY_BYTES,
    TLS,
    NotRdp,
    SignsIn,
    agreed_protocol,
    is_connection_request,
    keyboard_of,
)
from tests.web.scripted_rdp import CONFIRM, REFUSAL, REQUEST, WITHOUT_TLS, client_info, connect_initial, read_info, tpkt

ATTACH = tpkt(b"\x02\xf0\x80\x28")


def _alice(password: str = "pass ⚷") -> SignsIn:
    return SignsIn("alice", SecretStr(password))


def test_the_account_is_the_cloud_pcs_whatever_the_page_says() -> None:
    domain, user, password, flags, rest = read_info(_alice().feed(client_info("mallory", "guess", 0x4B0173 & ~0x8)))
    assert (domain, user, password, rest) == ("", "alice", "pass ⚷", b"more")
    assert flags == 0x4B0173 | 0x8


@given(st.lists(st.integers(1, 60), max_size=20), st.binary(max_size=50))
def test_it_makes_no_difference_how_packets_come_in_pieces(cuts: list[int], after: bytes) -> None:
    stream = connect_initial() + ATTACH + client_info() + after
    whole, pieces, at = _alice().feed(stream), _alice(), 0
    out = b""
    for size in [*cuts, len(stream)]:
        out += pieces.feed(stream[at : at + size])
        at += size
    assert out == whole
    assert whole.endswith(b"more" + after)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_password_is_what_the_guest_reads(password: str) -> None:
    assert read_info(_alice(password).feed(client_info()))[2] == password


@given(st.binary(max_size=300))
def test_nothing_changes_after_the_sign_in(after: bytes) -> None:
    signs_in = _alice()
    signs_in.feed(client_info())
    assert signs_in.feed(after) == after


def test_24_bits_of_colour_are_asked_for_over_a_fast_network() -> None:
    asked = _alice().feed(connect_initial())
    core = asked.index(struct.pack("<HH", 0xC001, 211))
    assert struct.unpack_from("<HHH", asked, core + 140) == (24, 0x000F, 0x082B)
    assert asked[core + 210] == 6
    restored = bytearray(asked)
    struct.pack_into("<HHH", restored, core + 140, 16, 0x000F, 0x0829)
    restored[core + 210] = 0
    assert bytes(restored) == connect_initial()


def test_the_keyboard_is_the_one_of_the_policys_locale() -> None:
    assert [keyboard_of(name) for name in ("de-DE", "en-US", "xx-XX")] == [0x407, 0x409, 0]
    asked = SignsIn("alice", SecretStr(""), keyboard_of("de-DE")).feed(connect_initial())
    core = asked.index(struct.pack("<HH", 0xC001, 211))
    assert struct.unpack_from("<I", asked, core + 16) == (0x407,)


@given(st.binary(max_size=400))
def test_whatever_a_page_sends_is_passed_on_or_refused(content: bytes) -> None:
    for packet in (
        content,
        tpkt(content),
        tpkt(b"\x02\xf0\x80" + content),
        tpkt(b"\x02\xf0\x80\x7f\x65Duca" + content),
    ):
        with contextlib.suppress(NotRdp):
            assert len(_alice().feed(packet)) <= len(packet) + 100


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1",
        b"\x03\x00\x00\x01",  # a frame that is shorter than its own head
        client_info()[:30] + b"\xff\xff" + client_info()[32:],  # a name that is longer than the packet
    ],
)
def test_what_is_not_rdp_is_refused(content: bytes) -> None:
    with pytest.raises(NotRdp):
        _alice().feed(content)


def test_a_page_that_never_signs_in_is_refused() -> None:
    signs_in = _alice()
    signs_in.feed(ATTACH * (MAX_EARLY_BYTES // len(ATTACH)))
    with pytest.raises(NotRdp):
        signs_in.feed(ATTACH)


def test_only_rdps_first_packet_begins_a_connection() -> None:
    assert is_connection_request(REQUEST)
    for other in (b"", REQUEST[:-1], REQUEST + b"x", CONFIRM, b"GET / HTTP/1.1\r\n\r\n"):
        assert not is_connection_request(other)


def test_what_the_guest_has_agreed_to_is_read() -> None:
    assert agreed_protocol(CONFIRM) == TLS
    assert agreed_protocol(WITHOUT_TLS) == 0
    for other in (REFUSAL, b"", CONFIRM[:11], REQUEST):
        with pytest.raises(NotRdp):
            agreed_protocol(other)
