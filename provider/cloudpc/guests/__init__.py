"""Systems that guests run: one folder each, and its entry here."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import GuestOS
from cloudpc.model.image import QCOW2

SYSTEMS = {"linux": "cloudpc.guests.linux.system:Linux"}
"""By the name that images give. Imported when one is used."""
OF_CLOUDS = {"windows": "cloudpc.guests.windows.system:Windows"}
"""The same of those that only a cloud can boot: nothing here makes a first boot's disk that they read."""


def is_known(name: str, image_kind: str) -> bool:
    """Whether guests of images of this kind may have this system."""
    return name in SYSTEMS or (name in OF_CLOUDS and image_kind != QCOW2)


@cache
def named(name: str) -> GuestOS:
    """The system of this name.

    Raises:
        ProvisioningError: IMAGE_INVALID: there is none; a later version may have recorded it.
    """
    found = SYSTEMS.get(name) or OF_CLOUDS.get(name)
    if found is None:
        message = f"{name!r} is not a guest system; there are: {', '.join(sorted(SYSTEMS))}"
        raise ProvisioningError(ErrorCode.IMAGE_INVALID, message, retriable=False)
    module, _, kind = found.partition(":")
    system: GuestOS = getattr(import_module(module), kind)()
    return system
