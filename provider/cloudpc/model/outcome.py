"""How provisioning a Cloud PC ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloudpc.model.access import Access
from cloudpc.model.cloud_pc import DesiredCloudPC, Status
from cloudpc.model.credentials import Credentials
from cloudpc.model.devices import ComputerAccount, RegisteredDevice
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.guests import Warned
from cloudpc.model.stages import Stage


@dataclass(frozen=True)
class Outcome:
    """How provisioning ended. Failure is an outcome, not an exception (rule 5)."""

    status: Status
    attempts: int
    host: str = ""
    access: Access | None = None
    credentials: Credentials | None = None
    error: ProvisioningError | None = None
    stage: Stage | None = None
    warnings: tuple[Warned, ...] = ()
    desired: DesiredCloudPC | None = None
    """What the machine was made with, if there is one: an adopted one may differ from the current settings."""
    device: RegisteredDevice | None = None
    computer: ComputerAccount | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    """What its host says of its machine."""
    connection: str = ""
    """Name of the network connection it was made through."""
    remains: str = ""
    """What attempts left and why it could not be removed yet, if so; later runs sweep it."""
    kept: str = ""
    """What is kept of the last attempt for diagnosis, where and until when, in words."""
