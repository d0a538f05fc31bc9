"""What is done on the machine of a Cloud PC that stays as it is: what failed of its set-up, another build's kernel."""

from __future__ import annotations

from collections.abc import Collection

from cloudpc.model.cancellation import Cancellation
from cloudpc.model.cloud_pc import DesiredCloudPC
from cloudpc.model.errors import ErrorCode, ProvisioningError, unexpected_told
from cloudpc.model.guests import Extra, Warned
from cloudpc.model.machines import Host, MovesKernels
from cloudpc.model.report import Reporter
from cloudpc.model.stages import Stage
from cloudpc.model.watch import Watch
from cloudpc.provisioning import extras
from cloudpc.provisioning.resources import Resources


class Afterwards:
    """Works on one machine.

    Args:
        desired: what it is asked to be.
        host: where it is.
        resources: for its settings.
        report: is told of each step.
        cancel: ends it; what is half done is done again by the next run.
    """

    def __init__(
        self, desired: DesiredCloudPC, host: Host, resources: Resources, report: Reporter, cancel: Cancellation
    ) -> None:
        self._settings = desired.settings
        self._id = desired.machine_id
        self._host = host
        self._resources = resources
        self._watch = Watch(cancel, report.step, stage=Stage.SET_UP)

    def try_extras(self, failed: Collection[ErrorCode]) -> list[Warned]:
        """Run these extras again; returns what fails this time, too.

        Raises:
            ProvisioningError: the machine or its host is in trouble, so that nothing is known.
            Cancelled: by whoever runs it.
        """
        with unexpected_told(f"setting up {self._id}"):
            failed_before = self._extras(failed)
            self._start()
            self._host.access(self._id, self._watch.within(self._settings.first_boot_in_seconds))  # they may need it
            return extras.set_up(self._host.guest(self._id), self._resources.guest_os, failed_before, self._watch)[0]

    def move_kernel(self) -> str:
        """Give it the kernel of its settings' image for its next start; returns what came of it, in words.

        Raises:
            ProvisioningError: it is as it was.
            Cancelled: by whoever runs it; it is as it was.
        """
        with unexpected_told(f"giving another kernel to {self._id}"):
            host = self._moves_kernels()
            image = self._resources.image(self._watch)
            host.bring_image(image, self._watch)
            self._start()
            self._watch.note(f"kernel of {image.image_id} on {self._host.name}")
            return host.update_kernel(self._id, image, self._watch)

    def _moves_kernels(self) -> MovesKernels:
        if isinstance(self._host, MovesKernels):
            return self._host
        message = f"machines on {self._host.name} boot a kernel of their own disk; update it there"
        raise ProvisioningError(ErrorCode.SET_UP_FAILED, message, retriable=False)

    def _extras(self, failed: Collection[ErrorCode]) -> list[Extra]:
        """The script is read only if it failed itself: what it was when it succeeded may be no longer there."""
        script = self._resources.script() if ErrorCode.POST_PROVISIONING_SCRIPT_FAILED in failed else None
        return [extra for extra in self._resources.guest_os.extras(self._settings, script) if extra.code in failed]

    def _start(self) -> None:
        self._watch.check()
        self._host.power_on(self._id, self._watch.within(self._settings.first_boot_in_seconds))
        extras.facts(self._host.guest(self._id), self._resources.guest_os, self._watch)  # waits for one that is busy
