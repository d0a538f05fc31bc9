"""What an Azure VM's first boot reads: `customData`, never a secret, never changed."""

from __future__ import annotations

import base64

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Seed

LARGEST = 65_535
"""Bytes that Azure takes, before base64."""
_ATTEMPT = "# attempt "


def custom_data(seed: Seed, attempt: str) -> str:
    """The seed as base64, with the attempt's token in it: Azure never changes it, so it says whose a machine is.

    Raises:
        ProvisioningError: FIRST_BOOT_FAILED, it is larger than Azure takes.
    """
    head, _, rest = seed.user_data.partition("\n")
    data = f"{head}\n{_ATTEMPT}{attempt}\n{rest}".encode()
    if len(data) > LARGEST:
        message = f"what the first boot reads has {len(data)} bytes, and Azure takes {LARGEST}"
        hint = "Fewer or shorter SSH keys of the user make it smaller."
        raise ProvisioningError(ErrorCode.FIRST_BOOT_FAILED, message, retriable=False, hint=hint)
    return base64.b64encode(data).decode()
