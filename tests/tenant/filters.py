"""OData's $filter, as much of it as Graph's clients here use. What is not understood is an error, never ignored."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.tenant.errors import bad_request

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')"
    r"|(?P<guid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b)"
    r"|(?P<word>[A-Za-z_][\w/]*)"
    r"|(?P<mark>[(),:]))"
)
Matches = Callable[[Any], bool]


@dataclass(frozen=True)
class Filter:
    """A parsed filter.

    Args:
        matches: whether an object does.
        uses: each property with what is done to it, for example `("physicalIds", "any startswith")`.
        clauses: how many comparisons there are.
    """

    matches: Matches
    uses: tuple[tuple[str, str], ...]
    clauses: int


def parse(text: str) -> Filter:
    """Read a filter.

    Raises:
        GraphError: 400, it can't be read.
    """
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split(text))
        self._at = 0
        self._uses: list[tuple[str, str]] = []
        self._clauses = 0

    def whole(self) -> Filter:
        matches = self._any_of()
        if self._at != len(self._tokens):
            raise self._error()
        return Filter(matches, tuple(self._uses), self._clauses)

    def _split(self, text: str) -> list[tuple[str, str]]:
        tokens, at = [], 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise bad_request(f"Invalid filter clause: syntax error at position {at} in '{text}'.")
            tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        return tokens

    def _error(self) -> Exception:
        return bad_request(f"Invalid filter clause: '{self._text}' is not understood at word {self._at + 1}.")

    def _next(self, kind: str, value: str | None = None) -> str:
        if self._at < len(self._tokens):
            found, text = self._tokens[self._at]
            if found == kind and value in (None, text):
                self._at += 1
                return text
        raise self._error()

    def _accept(self, kind: str, value: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == (kind, value):
            self._at += 1
            return True
        return False

    def _any_of(self) -> Matches:
        parts = [self._all_of()]
        while self._accept("word", "or"):
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else lambda item: any(p(item) for p in parts)

    def _all_of(self) -> Matches:
        parts = [self._one()]
        while self._accept("word", "and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda item: all(p(item) for p in parts)

    def _one(self) -> Matches:
        if self._accept("mark", "("):
            inner = self._any_of()
            self._next("mark", ")")
            return inner
        if self._accept("word", "startswith"):
            name, test = self._startswith()
            self._note(name, "startswith")
            return lambda item: test(_value(item, name))
        name = self._next("word")
        if name.endswith("/any"):
            return self._any(name.removesuffix("/any"))
        return self._comparison(name)

    def _comparison(self, name: str) -> Matches:
        operator = self._next("word")
        if operator == "eq":
            wanted = self._literal()
            self._note(name, "eq")
            return lambda item: _equal(_value(item, name), wanted)
        if operator != "in":
            self._at -= 1
            raise self._error()
        self._next("mark", "(")
        choices = [self._literal()]
        while self._accept("mark", ","):
            choices.append(self._literal())
        self._next("mark", ")")
        self._note(name, "in", len(choices))
        return lambda item: any(_equal(_value(item, name), choice) for choice in choices)

    def _any(self, name: str) -> Matches:
        """`physicalIds/any(p:p eq '…')` or `…/any(p:startswith(p,'…'))`."""
        self._next("mark", "(")
        variable = self._next("word")
        self._next("mark", ":")
        if self._accept("word", "startswith"):
            what, test = self._startswith()
            self._note(name, "any startswith")
        else:
            what = self._next("word")
            self._next("word", "eq")
            wanted = self._literal()
            test = lambda value: _equal(value, wanted)  # noqa: E731 - the other branch gets its test from a function
            self._note(name, "any eq")
        if what != variable:
            raise bad_request(f"Invalid filter clause: '{what}' is not the variable '{variable}' of any().")
        self._next("mark", ")")
        return lambda item: any(test(value) for value in _value(item, name) or ())

    def _startswith(self) -> tuple[str, Matches]:
        self._next("mark", "(")
        name = self._next("word")
        self._next("mark", ",")
        start = str(self._literal()).casefold()
        self._next("mark", ")")
        return name, lambda value: isinstance(value, str) and value.casefold().startswith(start)

    def _literal(self) -> str | bool | None:
        for kind in ("text", "guid", "word"):
            if self._at < len(self._tokens) and self._tokens[self._at][0] == kind:
                text = self._next(kind)
                if kind == "text":
                    return text[1:-1].replace("''", "'")
                if kind == "guid":
                    return text
                if text in _CONSTANTS:
                    return _CONSTANTS[text]
                self._at -= 1
        raise self._error()

    def _note(self, name: str, operation: str, clauses: int = 1) -> None:
        self._uses.append((name, operation))
        self._clauses += clauses


_CONSTANTS = {"true": True, "false": False, "null": None}


def _value(item: Any, name: str) -> Any:
    for part in name.split("/"):
        item = item.get(part) if isinstance(item, dict) else None
    return item


def _equal(found: Any, wanted: Any) -> bool:
    """As the directory compares: texts without regard to case."""
    if isinstance(found, str) and isinstance(wanted, str):
        return found.casefold() == wanted.casefold()
    return bool(found == wanted)
