"""The fingerprint of a certificate: SHA-256 of its DER, in hex, as guests tell it and people write it."""

from __future__ import annotations

import hashlib


def of(certificate: bytes) -> str:
    """That of a certificate in DER, as it is recorded of Linux guests: lower case, without colons."""
    return hashlib.sha256(certificate).hexdigest()


def is_of(thumbprint: str, certificate: bytes) -> bool:
    """Whether this is the certificate's, in whatever case, with colons or without; an empty one is nothing's."""
    return _plain(thumbprint) == of(certificate)


def shown(thumbprint: str) -> str:
    """As clients show it: hex with colons, the only form that FreeRDP 2 compares."""
    plain = _plain(thumbprint)
    return ":".join(plain[at : at + 2] for at in range(0, len(plain), 2))


def _plain(thumbprint: str) -> str:
    return thumbprint.replace(":", "").lower()
