"""The few of RDP's first packets that the proxy reads: how each is framed, what was agreed, and who signs in.

[MS-RDPBCGR] 2.2.1 has their forms. The page never holds a password: its client sends an empty one, and the packet with
the client's information (2.2.1.11) gets name, password and "sign in without asking" here.

IronRDP's client asks for 16 bits of colour, for which xrdp sends plain bitmaps; those it draws skewed, and ends with a
panic (IronRDP #1251, repaired after 0.7.0). With 24 bits, which are asked for here (2.2.1.3.2), xrdp sends RemoteFX.
"""

from __future__ import annotations

import locale
import struct
from dataclasses import dataclass, field

from pydantic import SecretStr

TLS = 1
"""PROTOCOL_SSL, as it is agreed in a connection confirm."""
MAX_EARLY_BYTES = 262_144
"""Until the client has said who it is; clipboard and drawing come later. IronRDP has about 1,500."""

_KEYBOARDS = {name: number for number, name in locale.windows_locale.items()}
_TPKT = 3
_DATA = b"\x02\xf0\x80"
_SEND_DATA_REQUEST = 0x64
_INFO_PACKET = 0x0040
_AUTO_LOGON = 0x0008
_UNICODE = 0x0010
_CONNECT_INITIAL = _DATA + b"\x7f\x65"
_CLIENT_DATA = b"Duca"
"""What stands before a client's blocks in a conference request ([MS-RDPBCGR] 2.2.1.3), then their length."""
_CORE = 0xC001
_CORE_BYTES = 211
"""As far as the kind of connection; older clients' are shorter."""
_CONFIRM = 0xD0
_AGREED = 2
_LONGEST = 0x3FFF
"""What a length of MCS can say; a name or a password comes nowhere near."""
_FIXED = struct.Struct("<II5H")
"""Code page, flags, and the sizes of domain, user name, password, shell and folder, without their ends."""


class NotRdp(ValueError):  # noqa: N818 - an answer, not an error
    """It is not what RDP has there."""


def keyboard_of(locale_name: str) -> int:
    """The number of the layout that a locale's keyboards usually have, which Windows calls like the locale; 0: none."""
    return _KEYBOARDS.get(locale_name.replace("-", "_"), 0)


def is_connection_request(packet: bytes) -> bool:
    """Whether it is one frame with RDP's first packet, and nothing after it."""
    is_frame = len(packet) >= 11 and packet[0] == _TPKT and int.from_bytes(packet[2:4], "big") == len(packet)
    return is_frame and packet[4] == len(packet) - 5 and packet[5] == 0xE0


def agreed_protocol(confirm: bytes) -> int:
    """Which security the server has chosen. Raises NotRdp: none, with a refusal, or this is no confirm."""
    if len(confirm) < 19 or confirm[5] != _CONFIRM or confirm[11] != _AGREED:
        raise NotRdp
    return int.from_bytes(confirm[15:19], "little")


@dataclass
class SignsIn:
    """What a page's client sends, in which it signs in as this account. Everything else stays as it is.

    Args:
        user: the account's name.
        password: the account's.
        keyboard: Windows' number of a keyboard layout; 0: the server's own.
    """

    user: str
    password: SecretStr
    keyboard: int = 0
    _signs: bool = True
    """Whether it still has to sign in: all after that is none of ours."""
    _early: bytes = field(default=b"", repr=False)
    _seen: int = 0

    def feed(self, content: bytes) -> bytes:
        """What goes to the server of this and of what was held back earlier. Raises NotRdp."""
        if self.has_signed_in():
            return content
        self._early += content
        self._seen += len(content)
        if self._seen > MAX_EARLY_BYTES:
            raise NotRdp
        out = bytearray()
        while not self.has_signed_in() and (size := self._frame()):
            frame, self._early = self._early[:size], self._early[size:]
            out += self._signed_in(frame)
        if self.has_signed_in():
            out += self._early
            self._early = b""
        return bytes(out)

    def has_signed_in(self) -> bool:
        """Whether the guest has got who signs in."""
        return not self._signs

    def _frame(self) -> int:
        """Size of the frame that has come whole; 0: it has not."""
        if self._early and self._early[0] != _TPKT:
            raise NotRdp
        if len(self._early) < 4:
            return 0
        size = int.from_bytes(self._early[2:4], "big")
        if size < 7:
            raise NotRdp
        return size if len(self._early) >= size else 0

    def _signed_in(self, frame: bytes) -> bytes:
        if frame[4:].startswith(_CONNECT_INITIAL):
            return _in_true_colour(frame, self.keyboard)
        start = _user_data(frame)
        if start is None or len(frame) < start + 4 + _FIXED.size:
            return frame
        if not int.from_bytes(frame[start : start + 2], "little") & _INFO_PACKET:
            return frame
        head, info = frame[7:13], self._information(frame[start + 4 :])
        self._signs = False
        data = frame[start : start + 4] + info
        if len(data) > _LONGEST:
            raise NotRdp
        mcs = head + (0x8000 | len(data)).to_bytes(2, "big") + data
        return struct.pack(">BBH", _TPKT, 0, 7 + len(mcs)) + _DATA + mcs

    def _information(self, packet: bytes) -> bytes:
        """The client's information, with who signs in."""
        page, flags, *sizes = _FIXED.unpack_from(packet)
        texts, at = [], _FIXED.size
        end = 2 if flags & _UNICODE else 1
        for size in sizes:
            if at + size + end > len(packet):
                raise NotRdp
            texts.append(packet[at : at + size])
            at += size + end
        coding = "utf-16-le" if flags & _UNICODE else "utf-8"
        texts[:3] = b"", self.user.encode(coding), self.password.get_secret_value().encode(coding)
        fixed = _FIXED.pack(page, flags | _AUTO_LOGON, *map(len, texts))
        return fixed + b"".join(text + bytes(end) for text in texts) + packet[at:]


def _in_true_colour(frame: bytes, keyboard: int) -> bytes:
    """A client's first data, in which it asks for 24 bits of colour over a fast network, and has this keyboard."""
    before, found, blocks = frame.partition(_CLIENT_DATA)
    at = len(before) + len(found) + (2 if blocks[:1] >= b"\x80" else 1)
    while at + 4 <= len(frame):
        kind, size = struct.unpack_from("<HH", frame, at)
        if kind == _CORE and size >= _CORE_BYTES and at + size <= len(frame):
            changed = bytearray(frame)
            [flags] = struct.unpack_from("<H", frame, at + 144)
            # highColorDepth, supportedColorDepths; earlyCapabilityFlags: 32 bits too, and the kind of connection: LAN
            struct.pack_into("<HHH", changed, at + 140, 24, 0x000F, flags | 0x0022)
            changed[at + 210] = 6
            if keyboard:
                struct.pack_into("<I", changed, at + 16, keyboard)
            return bytes(changed)
        at += max(size, 4)
    return frame


def _user_data(frame: bytes) -> int | None:
    """Where the data of a frame begins that a client sends to a channel; None in other frames."""
    if frame[4:7] != _DATA or len(frame) < 15 or frame[7] != _SEND_DATA_REQUEST:
        return None
    return 15 if frame[13] & 0x80 else 14
