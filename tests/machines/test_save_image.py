"""The head of saved memory: rewritten in its own length, and refused where it is not as known."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.machines.libvirt import save_image
from cloudpc.machines.libvirt.save_image import UnknownSaveFormatError

XML, COOKIE = "<domain type='qemu'><name>tëmplate</name></domain>", b"<cookie/>"


def saved(
    xml: str = XML, cookie: bytes = COOKIE, room: int = 4096, magic: bytes = b"LibvirtQemudSave", version: int = 2
) -> bytes:
    """As libvirt writes it, with a byte of QEMU's stream."""
    data = xml.encode() + b"\0"
    at = len(data) if cookie else 0
    data += cookie + b"\0" if cookie else b""
    return magic + struct.pack("<5I", version, room, 1, 0, at) + b"\0" * 56 + data.ljust(room, b"\0") + b"Q"


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=200), st.booleans())
def test_only_the_xml_changes(words: str, has_cookie: bool) -> None:
    content = saved(cookie=COOKIE if has_cookie else b"")
    head = save_image.read(content)
    assert (head.xml, head.cookie, head.length) == (XML, COOKIE if has_cookie else b"", len(content) - 1)
    assert save_image.data_length(content) == head.length - save_image.FIXED_LENGTH
    fresh = head.with_xml(f"<domain>{words}</domain>").to_bytes()
    assert len(fresh) == head.length
    assert save_image.read(fresh) == head.with_xml(f"<domain>{words}</domain>")
    assert head.to_bytes() + b"Q" == content


@pytest.mark.parametrize(
    "content",
    [
        saved(version=3), saved(magic=b"LibvirtQemudPart"), saved(xml="no xml"), saved()[:91], saved()[:500],
        saved(room=64 << 20), b"", saved(room=8),
        struct.pack("<16s5I56s", b"LibvirtQemudSave", 2, 4096, 1, 0, 5000, b"") + b"<" * 4096,
        struct.pack("<16s5I56s", b"LibvirtQemudSave", 2, 4, 1, 0, 0, b"") + b"<\xff\xff\0",
    ],
    ids=["version", "another kind", "no XML", "cut", "cut later", "endless", "nothing", "cookie", "cookie at", "text"],
)  # fmt: skip
def test_what_is_not_as_known_is_refused(content: bytes) -> None:
    with pytest.raises(UnknownSaveFormatError):
        save_image.read(content)


def test_what_has_no_room_is_refused() -> None:
    head = save_image.read(saved())
    with pytest.raises(UnknownSaveFormatError, match="room"):
        head.with_xml("<domain>" + "x" * 4096).to_bytes()
