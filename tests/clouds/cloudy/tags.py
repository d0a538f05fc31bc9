"""A machine's tag as a cloud's tags: at most 50, of at most 256 characters each.

Each field is one, so that bills and searches show whose a machine is; a longer one goes on in `<name>.1`, `<name>.2`.
What the machine was made with, a thousand characters and more, is compressed first, and left out should it not fit: it
is needed only where state is lost.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import fields

from cloudpc.model.tags import Phase, Tag

_PREFIX = "cloudpc-"
_LONGEST, _MOST = 256, 50
_PACKED = "made_with"
PHASE = f"{_PREFIX}phase"


def to_tags(tag: Tag) -> dict[str, str]:
    """What the machine, its card and its disk carry."""
    plain = {field.name: str(getattr(tag, field.name)) for field in fields(Tag) if field.name != _PACKED}
    told = {key: text for name, value in plain.items() for key, text in _split(name, value)}
    packed = dict(_split(_PACKED, base64.b64encode(zlib.compress(tag.made_with.encode(), 9)).decode()))
    return {**told, **packed} if len(told) + len(packed) <= _MOST else told


def from_tags(tags: Mapping[str, str]) -> Tag | None:
    """The tag, or None if it can't be read. Others' tags, and what a later version says besides, are passed over."""
    known = {field.name: _joined(field.name, tags) for field in fields(Tag)}
    try:
        said = {name: value for name, value in known.items() if value is not None}
        made_with = zlib.decompress(base64.b64decode(said.pop(_PACKED, "") or _NOTHING)).decode()
        generation, phase = int(said.pop("generation")), Phase(said.pop("phase"))
        return Tag(**said, generation=generation, phase=phase, made_with=made_with)
    except (KeyError, TypeError, ValueError, zlib.error):
        return None


def installation_of(tags: Mapping[str, str]) -> str | None:
    """Whose something is, whether or not all the rest can be read."""
    return _joined("installation", tags)


def policy_of(tags: Mapping[str, str]) -> str:
    """The same of its policy; nothing if that can't be read."""
    return _joined("policy_id", tags) or ""


_NOTHING = base64.b64encode(zlib.compress(b"")).decode()


def _split(name: str, value: str) -> list[tuple[str, str]]:
    parts = [value[at : at + _LONGEST] for at in range(0, len(value), _LONGEST)] or [""]
    return [(f"{_PREFIX}{name}" + (f".{number}" if number else ""), part) for number, part in enumerate(parts)]


def _joined(name: str, tags: Mapping[str, str]) -> str | None:
    first = tags.get(f"{_PREFIX}{name}")
    if first is None:
        return None
    parts = [first]
    while (more := tags.get(f"{_PREFIX}{name}.{len(parts)}")) is not None:
        parts.append(more)
    return "".join(parts)
