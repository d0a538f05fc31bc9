"""Values in OData: the one place where text from outside becomes part of a query."""

from __future__ import annotations


def text(value: str) -> str:
    """A string literal for `$filter`: in quotes, with its own doubled. The SDK does the URL's own escaping."""
    return "'" + value.replace("'", "''") + "'"
