"""What may be secret in a URL or URI (user info, query) is shown nowhere: not in messages, state, logs or checks.

Rather too much than too little: a password may have any letter that should have been percent-encoded, so what stands
before the last @ counts as user info. A user's plain name is shown, except in the web's URLs: there, tokens are names.
"""

from __future__ import annotations

import logging
import re
from typing import Any

_WORD = re.compile(r"\S+")
_SLASHES = re.compile(
    r"//|\b(?:https?|ftps?|sftp|ssh|s3|gs|azblob|postgres|postgresql|qemu(?:\+[a-z]{1,9})?):/(?!/)", re.IGNORECASE
)
"""What the place of a URL follows; a path that was made of one has a single slash."""
_SCHEME_BACKWARDS = re.compile(r":([A-Za-z0-9+.-]+)")
_SCHEME_FIRST = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")
_PLAIN_NAME = re.compile(r"[\w.-]+")
_QUERY = re.compile(r"[?#]")
_AFTER_A_URL = "'\"<>`().,;:]}…"
_WEB = ("http", "https", "ftp", "ftps")


def masked(text: str) -> str:
    """A text for people, without what may be secret in the URLs and URIs in it. Masking twice changes nothing."""
    return _WORD.sub(lambda word: _url(word[0]), text) if "//" in text or ":/" in text else text


def masked_value(value: Any) -> Any:
    """A value that somebody wrote where a URL may be meant, or lists and mappings of such; also one that is none."""
    match value:
        case str():
            return _whole(value)
        case dict():
            return {name: masked_value(each) for name, each in value.items()}
        case list() | tuple():
            return [masked_value(each) for each in value]
    return value


def _url(text: str) -> str:
    """A URL with what a sentence has around it; a text without one as it is."""
    slashes = _SLASHES.search(text)
    if slashes is None:
        return text
    before, rest = text[: slashes.end()], text[slashes.end() :]
    user, at, place = rest.rpartition("@")
    shown = _user(user, _scheme(before.rstrip("/"))) if at else ""
    return f"{before}{shown}{at}{_without_query(place)}"


def _scheme(before: str) -> str:
    """The scheme that a text ends in. From its end: a search would start again at each letter that a guest wrote."""
    found = _SCHEME_BACKWARDS.match(before[::-1])
    return found[1][::-1].lstrip("0123456789+.-") if found else ""


def _whole(text: str) -> str:
    """The text as a URL, where all of it is one: also with blanks in it, or without its scheme or slashes."""
    user, at, place = text.rpartition("@")
    if _SCHEME_FIRST.match(text):
        return _url(text)
    if at:
        name, colon, _ = user.partition(":")
        return f"{name}{colon}…@{_without_query(place)}" if colon else f"{user}@{_without_query(place)}"
    return _without_query(text) if "/" in text else text


def _user(info: str, scheme: str) -> str:
    name, colon, _ = info.partition(":")
    if scheme.lower() in _WEB or not _PLAIN_NAME.fullmatch(name):
        return "…"
    return f"{name}:…" if colon else name


def _without_query(place: str) -> str:
    mark, end = _QUERY.search(place), len(place.rstrip(_AFTER_A_URL))
    return place if mark is None or end <= mark.end() else f"{place[: mark.end()]}…{place[end:]}"


class MaskingFormatter(logging.Formatter):
    """Of log files: masks the whole entry, its traceback too."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        return masked(super().format(record))
