"""Systems that guests run: one folder each, and its entry here."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from cloudpc.model.guests import GuestOS

SYSTEMS = {"linux": "cloudpc.guests.linux.system:Linux"}
"""By the name that images give. Imported when one is used."""


@cache
def named(name: str) -> GuestOS:
    """The system of this name. Raises KeyError."""
    module, _, kind = SYSTEMS[name].partition(":")
    system: GuestOS = getattr(import_module(module), kind)()
    return system
