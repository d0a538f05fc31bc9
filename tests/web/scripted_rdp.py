"""A guest's RDP as far as a proxy has to do with it, over TLS; and a client's first packets."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REQUEST = bytes.fromhex("0300 0013 0ee0 0000 0000 00 01 00 0800 01000000")
CONFIRM = bytes.fromhex("0300 0013 0ed0 0000 1234 00 02 1f 0800 01000000")
WITHOUT_TLS = CONFIRM[:15] + bytes(4)
REFUSAL = CONFIRM[:11] + bytes.fromhex("03 00 0800 02000000")


def tpkt(content: bytes) -> bytes:
    return struct.pack(">BBH", 3, 0, 4 + len(content)) + content


def connect_initial(depth: int = 16) -> bytes:
    """A client's first data: its core block (211 bytes), after one of another kind."""
    core = bytearray(211)
    struct.pack_into("<HH", core, 0, 0xC001, len(core))
    struct.pack_into("<HHH", core, 140, depth, 0x000F, 0x0829)
    blocks = struct.pack("<HHI", 0xC004, 8, 0) + bytes(core)
    return tpkt(b"\x02\xf0\x80\x7f\x65\x82\x01\x00" + b"Duca" + (0x8000 | len(blocks)).to_bytes(2, "big") + blocks)


def client_info(user: str = "", password: str = "", flags: int = 0x10, rest: bytes = b"more") -> bytes:
    """Who signs in, as IronRDP says it: [MS-RDPBCGR] 2.2.1.11."""
    texts = [text.encode("utf-16-le") for text in ("WORK", user, password, "", "")]
    info = struct.pack("<II5H", 0x409, flags, *map(len, texts)) + b"".join(text + b"\0\0" for text in texts) + rest
    data = struct.pack("<HH", 0x40, 0) + info
    return tpkt(b"\x02\xf0\x80\x64\x00\x06\x03\xeb\x70" + (0x8000 | len(data)).to_bytes(2, "big") + data)


def read_info(packet: bytes) -> tuple[str, str, str, int, bytes]:
    """Domain, user, password, flags and what follows, of a packet as a server reads it."""
    assert int.from_bytes(packet[2:4], "big") == len(packet)
    assert int.from_bytes(packet[13:15], "big") & 0x3FFF == len(packet) - 15
    _, flags, *sizes = struct.unpack_from("<II5H", packet, 19)
    texts, at = [], 19 + 18
    for size in sizes:
        texts.append(packet[at : at + size].decode("utf-16-le"))
        at += size + 2
    return texts[0], texts[1], texts[2], flags, packet[at:]


class Guest:
    """Answers one connection after another; says afterwards what reached it.

    Args:
        folder: for its key.
        confirm: its answer to a connection request.
    """

    def __init__(self, folder: Path, confirm: bytes = CONFIRM) -> None:
        self._confirm = confirm
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CPC-ALI")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        self.certificate = certificate.public_bytes(serialization.Encoding.DER)
        self.fingerprint = hashlib.sha256(self.certificate).hexdigest()
        pem = folder / "guest.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self.received = b""
        self.requests: list[bytes] = []
        self.closed = threading.Event()

    @contextlib.contextmanager
    def reach(self) -> Iterator[socket.socket]:
        """A connection to it, as ssh would make one."""
        ours, theirs = socket.socketpair()
        serving = threading.Thread(target=self._serve, args=(theirs,), daemon=True)
        serving.start()
        try:
            yield ours
        finally:
            ours.close()
            serving.join(10)
            self.closed.set()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self.requests.append(connection.recv(4096))
            connection.sendall(self._confirm)
            if self._confirm != CONFIRM:
                return
            with self._context.wrap_socket(connection, server_side=True) as tls:
                while content := tls.recv(65_536):
                    self.received += content
                    if content.endswith(b"bye"):
                        return
                    tls.sendall(b"seen:" + content[-4:])
