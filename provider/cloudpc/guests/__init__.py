"""Systems that guests run: one folder each, and its entry here."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import GuestOS

SYSTEMS = {
    "linux": "cloudpc.guests.linux.system:Linux",
    "windows": "cloudpc.guests.windows.system:Windows",
}
"""By the name that images give. Imported when one is asked for."""


def of_images(image_kind: str) -> list[str]:
    """The systems that guests of images of this kind may have, by name."""
    return [name for name in sorted(SYSTEMS) if named(name).boots(image_kind)]


@cache
def named(name: str) -> GuestOS:
    """The system of this name.

    Raises:
        ProvisioningError: IMAGE_INVALID: there is none; a later version may have recorded it.
    """
    if name not in SYSTEMS:
        message = f"{name!r} is not a guest system; there are: {', '.join(sorted(SYSTEMS))}"
        raise ProvisioningError(ErrorCode.IMAGE_INVALID, message, retriable=False)
    module, _, kind = SYSTEMS[name].partition(":")
    system: GuestOS = getattr(import_module(module), kind)()
    return system
