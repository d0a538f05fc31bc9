"""Systems that guests run: one folder each, and its entry here."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import GuestOS

SYSTEMS = {"linux": "cloudpc.guests.linux.system:Linux"}
"""By the name that images give. Imported when one is used."""


@cache
def named(name: str) -> GuestOS:
    """The system of this name.

    Raises:
        ProvisioningError: IMAGE_INVALID: there is none; a later version may have recorded it.
    """
    if name not in SYSTEMS:
        message = f"{name!r} is no system of guests; there: {', '.join(sorted(SYSTEMS))}"
        raise ProvisioningError(ErrorCode.IMAGE_INVALID, message, retriable=False)
    module, _, kind = SYSTEMS[name].partition(":")
    system: GuestOS = getattr(import_module(module), kind)()
    return system
