"""JSON of Microsoft Graph as tools export it, in Graph's own spelling again.

PowerShell writes names in PascalCase, a list of one as its entry, longer ones as {value, Count}, and what an object has
beside its type's properties as AdditionalProperties.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MORE = "additionalproperties"
_DEEP = 50
"""Levels; deeper ones are left as they are."""


def value_of(content: Mapping[str, Any], name: str) -> Any:
    """A property whatever the case of its name; None where it is missing."""
    exact = content.get(name)
    return exact if exact is not None else next((v for n, v in content.items() if n.lower() == name.lower()), None)


def in_graphs_spelling(content: Any, names: Mapping[str, str], level: int = 0) -> Any:
    """A copy with the names that Graph has, and lists and properties where Graph has them.

    Args:
        content: JSON, parsed.
        names: Graph's names, by themselves in small letters; others begin with a small letter.
        level: how deep it lies.
    """
    if level > _DEEP:
        return content
    if isinstance(content, list):
        return [in_graphs_spelling(each, names, level + 1) for each in content]
    if not isinstance(content, dict):
        return content
    if {name.lower() for name in content} == {"value", "count"} and isinstance(value_of(content, "value"), list):
        return in_graphs_spelling(value_of(content, "value"), names, level + 1)
    found: dict[str, Any] = {}
    for name, value in _properties(content):
        spelled = names.get(name.lower(), name[:1].lower() + name[1:])
        if found.get(spelled) is None:
            found[spelled] = in_graphs_spelling(value, names, level + 1)
    return found


def _properties(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Those of the type before the others."""
    own, more = [], []
    for name, value in content.items():
        if name.lower() == _MORE and isinstance(value, Mapping):
            more += list(value.items())
        else:
            own.append((name, value))
    return [*own, *more]


def is_cut_off(value: Any) -> bool:
    """Whether this is what PowerShell writes of an object that lies deeper than it was told to go."""
    return isinstance(value, str) and value.startswith(("@{", "Microsoft.Graph.", "System."))
