"""What is done on the machine of a Cloud PC that stays: it is woken, and what failed of its set-up is done again."""

from __future__ import annotations

from collections.abc import Collection

from cloudpc.model.cloud_pc import DesiredCloudPC
from cloudpc.model.errors import ErrorCode, unexpected_told
from cloudpc.model.guests import Extra, GuestOS, Warned
from cloudpc.model.machines import Host
from cloudpc.model.watch import Watch
from cloudpc.provisioning import set_up
from cloudpc.provisioning.resources import Resources


class Afterwards:
    """Works on one machine.

    Args:
        desired: what it is asked to be.
        host: where it is.
        resources: for its settings.
        watch: receives each step, and may end it; the next run repeats what is half done.
    """

    def __init__(self, desired: DesiredCloudPC, host: Host, resources: Resources, watch: Watch) -> None:
        self._settings = desired.settings
        self._id = desired.machine_id
        self._host = host
        self._resources = resources
        self._watch = watch

    def wake(self) -> None:
        """Have it work, and wait for a guest that is busy. Raises as `try_extras`."""
        self._watch.check()
        self._host.power_on(self._id, self._watch.within(self._settings.first_boot_in_seconds))
        set_up.facts(self._host.guest(self._id), self._guest_os, self._watch)

    def try_extras(self, failed: Collection[ErrorCode]) -> list[Warned]:
        """Run these extras again; returns what fails this time, too.

        Raises:
            ProvisioningError: the machine or its host is in trouble, so that nothing is known.
            Cancelled: by whoever runs it.
        """
        with unexpected_told(f"setting up {self._id}"):
            failed_before = self._extras(failed)
            self.wake()
            self._host.access(self._id, self._watch.within(self._settings.first_boot_in_seconds))  # they may need it
            return set_up.again(self._host.guest(self._id), failed_before, self._watch)

    @property
    def _guest_os(self) -> GuestOS:
        return self._resources.guest_os(self._settings.guest_os)

    def _extras(self, failed: Collection[ErrorCode]) -> list[Extra]:
        """The script is read only if it failed itself: the one that succeeded may no longer exist."""
        script = self._resources.script() if ErrorCode.POST_PROVISIONING_SCRIPT_FAILED in failed else None
        return [extra for extra in self._guest_os.extras(self._settings, script) if extra.code in failed]
