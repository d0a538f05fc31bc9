"""Takes apart what a guest agent answers. Whoever rules the guest writes it, so nothing of it is believed."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
from collections.abc import Iterator
from typing import Any

_NUMBERS = range(2**63)
_CARDS, _ADDRESSES = 64, 32
"""More than these of a guest, and of each card, are not looked at."""


class AgentRefused(Exception):  # noqa: N818 - an answer
    """The agent answered with an error, or with what makes no sense; the text is the message."""


def returned(answer: str) -> Any:
    """What a command returned. Raises AgentRefused."""
    try:
        values = json.loads(answer)
    except (ValueError, RecursionError):  # also: a number of thousands of digits, lists within lists without end
        raise AgentRefused("the guest agent's answer is not JSON") from None
    return field(values, "return")


def field(answer: Any, name: str) -> Any:
    """One field of an object. Raises AgentRefused."""
    if not isinstance(answer, dict) or name not in answer:
        raise AgentRefused(f"the guest agent's answer has no {name!r}")
    return answer[name]


def number(answer: Any, name: str, within: range = _NUMBERS) -> int:
    """A whole number. Raises AgentRefused."""
    return whole(field(answer, name), name, within)


def whole(value: Any, name: str, within: range = _NUMBERS) -> int:
    """The same, of a value that stands for itself. Raises AgentRefused."""
    if isinstance(value, bool) or not isinstance(value, int) or value not in within:
        raise AgentRefused(f"the guest agent's answer has a {name!r} that makes no sense")
    return value


def flag(answer: Any, name: str) -> bool:
    """Yes or no. Raises AgentRefused."""
    value = field(answer, name)
    if not isinstance(value, bool):
        raise AgentRefused(f"the guest agent's answer has a {name!r} that is neither true nor false")
    return value


def data(answer: Any, name: str) -> bytes:
    """Bytes, as agents write them; none where the field is not there. Raises AgentRefused."""
    value = answer.get(name, "") if isinstance(answer, dict) else ""
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise AgentRefused(f"the guest agent's answer has a {name!r} that is not base64") from None


def addresses(cards: Any, mac: str) -> list[str]:
    """The addresses of the card with this MAC, IPv4 first; whatever is not one is left out."""
    found = {
        address
        for card in _objects(cards)[:_CARDS]
        if str(card.get("hardware-address", "")).lower() == mac
        for entry in _objects(card.get("ip-addresses"))[:_ADDRESSES]
        for address in _address(entry.get("ip-address"))
    }
    return [str(address) for address in sorted(found, key=lambda a: (a.version, int(a)))]


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _address(value: Any) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        address = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        return
    # behind a % anything may stand, and addresses go into files and commands
    if address is not None and not getattr(address, "scope_id", None):
        yield address
