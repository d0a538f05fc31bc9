"""RDCleanPath: how IronRDP in a page has a proxy begin a connection, and what it is answered.

A page can open no TCP connection and no TLS to a guest. Its first message asks for both (`Request`), with RDP's own
first packet inside; the proxy answers with the guest's reply and certificate (`Answer`), or with `refusal`. All after
that is RDP as it goes through TLS. The format is of Devolutions' crate ironrdp-rdcleanpath: DER, explicit tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyasn1.codec.der import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1.type import char, namedtype, tag, univ

VERSION = 3390
MAX_BYTES = 16_384
"""Of a request; IronRDP's has about 200."""

_GENERAL = 1


class Malformed(ValueError):  # noqa: N818 - an answer, not an error
    """It is no request. The message says no more than that: it comes from a page."""


def _field(name: str, number: int, kind: Any, *, optional: bool = True) -> namedtype.NamedType:
    explicit = tag.Tag(tag.tagClassContext, tag.tagFormatConstructed, number)
    return (namedtype.OptionalNamedType if optional else namedtype.NamedType)(name, kind.subtype(explicitTag=explicit))


class _Error(univ.Sequence):  # type: ignore[misc]
    componentType = namedtype.NamedTypes(  # noqa: N815 - pyasn1's name
        _field("code", 0, univ.Integer(), optional=False),
        _field("http", 1, univ.Integer()),
        _field("socket", 2, univ.Integer()),
        _field("alert", 3, univ.Integer()),
    )


class _Pdu(univ.Sequence):  # type: ignore[misc]
    componentType = namedtype.NamedTypes(  # noqa: N815 - pyasn1's name
        _field("version", 0, univ.Integer(), optional=False),
        _field("error", 1, _Error()),
        _field("destination", 2, char.UTF8String()),
        _field("token", 3, char.UTF8String()),
        _field("serverAuth", 4, char.UTF8String()),
        _field("preconnection", 5, char.UTF8String()),
        _field("x224", 6, univ.OctetString()),
        _field("certificates", 7, univ.SequenceOf(componentType=univ.OctetString())),
        _field("ocsp", 8, char.UTF8String()),
        _field("address", 9, char.UTF8String()),
    )


@dataclass(frozen=True)
class Request:
    """What a page asks for. Where it wants to go is in it, too, and is read by nobody: the token says that."""

    token: str
    x224: bytes
    """RDP's connection request, whole."""

    @classmethod
    def parse(cls, content: bytes) -> Request:
        """Raises Malformed: it is none, or has more around it."""
        if len(content) > MAX_BYTES:
            raise Malformed
        try:
            pdu, rest = decoder.decode(content, asn1Spec=_Pdu())
            if rest or int(pdu["version"]) != VERSION:
                raise Malformed
            values = pdu["token"], pdu["x224"]
            if not all(value.hasValue() for value in values):
                raise Malformed
            return cls(str(values[0]), bytes(values[1]))
        except (PyAsn1Error, ValueError, ArithmeticError, LookupError, RecursionError):
            raise Malformed from None

    def build(self) -> bytes:
        """As IronRDP sends it, in tests."""
        pdu = _pdu()
        pdu["token"], pdu["x224"] = self.token, self.x224
        return bytes(encoder.encode(pdu))


@dataclass(frozen=True)
class Answer:
    """The connection stands."""

    x224: bytes
    """RDP's connection confirm, whole."""
    certificates: Sequence[bytes]
    """The guest's chain, in DER."""
    address: str
    """Shown by nobody; the format wants one."""

    def build(self) -> bytes:
        """As it is sent."""
        pdu = _pdu()
        pdu["x224"], pdu["address"] = self.x224, self.address
        pdu["certificates"].extend(self.certificates)
        return bytes(encoder.encode(pdu))

    @classmethod
    def parse(cls, content: bytes) -> Answer:
        """What a page reads, in tests. Raises Malformed."""
        try:
            pdu, _ = decoder.decode(content, asn1Spec=_Pdu())
            return cls(bytes(pdu["x224"]), [bytes(each) for each in pdu["certificates"]], str(pdu["address"]))
        except PyAsn1Error:
            raise Malformed from None


def refusal(http: int) -> bytes:
    """There is no connection.

    Args:
        http: what it would be if it were HTTP's: 403, 502.
    """
    pdu = _pdu()
    pdu["error"]["code"], pdu["error"]["http"] = _GENERAL, http
    return bytes(encoder.encode(pdu))


def _pdu() -> Any:
    pdu = _Pdu()
    pdu["version"] = VERSION
    return pdu
