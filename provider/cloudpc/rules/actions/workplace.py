"""Where an action is carried out: one Cloud PC, its machine, and what may be done with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from cloudpc.model.cloud_pc import DesiredCloudPC, PolicySettings, RecordedCloudPC
from cloudpc.model.errors import ErrorCode
from cloudpc.model.guests import GuestOS, Warned
from cloudpc.model.image import Image
from cloudpc.model.machines import Host
from cloudpc.model.report import Reporter
from cloudpc.model.watch import Watch


class Workplace(Protocol):
    """One Cloud PC. Every call may raise Cancelled, since the run may be asked to stop."""

    @property
    def recorded(self) -> RecordedCloudPC:
        """By state."""

    @property
    def desired(self) -> DesiredCloudPC:
        """What the run was planned to make of it."""

    @property
    def report(self) -> Reporter:
        """Receives lines that stay on the terminal."""

    @property
    def watch(self) -> Watch:
        """What long calls report to; ends them."""

    @property
    def now(self) -> datetime:
        """With a time zone."""

    @property
    def guest_os(self) -> GuestOS:
        """The system that its guest runs."""

    # ---- on its machine as it is

    @property
    def host(self) -> Host:
        """Where its machine is. Raises ProvisioningError: it is not in cloudpc:hosts."""

    def image(self, settings: PolicySettings) -> Image:
        """The image of these settings, verified; may take long. Raises ProvisioningError."""

    def wake(self) -> None:
        """Have its machine work, and wait for its guest. Raises ProvisioningError."""

    def set_up(self, failed: Collection[ErrorCode]) -> Sequence[Warned]:
        """Do these parts of its set-up again; returns what fails this time, too. Raises ProvisioningError."""

    # ---- in its machine's place

    def check_before(self) -> None:
        """See what would fail whatever host a new one is on. Raises ProvisioningError."""

    def remove(self) -> Sequence[str]:
        """Remove its machine, but for one of the generation that is desired. What is left and why; nothing, if gone."""

    def provision(self) -> RecordedCloudPC:
        """Make it, in three attempts; failing is an outcome."""
