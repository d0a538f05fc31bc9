"""Provisioning one Cloud PC: the way in."""

from __future__ import annotations

from cloudpc.model.cancellation import Cancellation
from cloudpc.model.cloud_pc import DesiredCloudPC
from cloudpc.model.errors import unexpected_told
from cloudpc.model.outcome import Outcome
from cloudpc.model.report import Reporter
from cloudpc.model.stages import Stage
from cloudpc.model.watch import Watch
from cloudpc.provisioning.attempts import Attempts
from cloudpc.provisioning.resources import Resources


def provision(desired: DesiredCloudPC, resources: Resources, report: Reporter, cancel: Cancellation) -> Outcome:
    """Make the Cloud PC, or say why not.

    Raises:
        Cancelled: the run was asked to stop; what was begun has been removed.
    """
    return Attempts(desired, resources, report, cancel).run()


def check_before(desired: DesiredCloudPC, resources: Resources, report: Reporter) -> None:
    """See what would fail whatever host it is on, while the machine that is to be replaced is still there.

    Raises:
        ProvisioningError: as provisioning would.
    """
    plan = desired.service_plan
    with unexpected_told("looking at image and script"):
        image = resources.image(Watch(tell=report.step, stage=Stage.IMAGE))
        image.check_fits(plan.memory_mib, plan.storage_in_gb)
        resources.script()
