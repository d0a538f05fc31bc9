"""Taking back what directories know of a Cloud PC: its device, its computer account."""

from __future__ import annotations

import logging

from cloudpc.model.cloud_pc import WAITING, RecordedCloudPC, Status
from cloudpc.model.machines import Host, Machine
from cloudpc.operations.consent import Consent
from cloudpc.operations.organisation import Organisation
from cloudpc.provisioning.registration import mark_of, release

log = logging.getLogger(__name__)


class Releasing:
    """Releases from the organisation's directories; each answer is what could not be released now, in words."""

    def __init__(self, organisation: Organisation, consent: Consent) -> None:
        self._organisation = organisation
        self._consent = consent

    def recorded(self, recorded: RecordedCloudPC) -> list[str]:
        """What state remembers of it, or says may be there (`may_be_registered`)."""
        joined = [network.connection for network in recorded.settings.networks if network.joins_domain]
        still_joined = remains(recorded) or bool(recorded.leftovers)  # asking a domain once more does no harm
        left = release(
            self._organisation.registration(recorded.device.registration if recorded.device else None),
            recorded.identity,
            device=recorded.device,
            computer=recorded.computer,
            connections=joined if still_joined and recorded.computer is None else (),
        )
        return self._unless_forgotten(recorded.policy_id, left)

    def tagged(self, host: Host, machine: Machine) -> list[str]:
        """What may be there of a machine whose tag alone says so."""
        tag, mark = machine.tag, mark_of(host, machine.id)
        return release(self._organisation.registration(), tag.identity, connections=tag.joined, mark=mark)

    def tagged_of(self, policy_id: str, host: Host, machine: Machine) -> list[str]:
        """The same, for a policy of which somebody may have said that its registrations may stay behind."""
        return self._unless_forgotten(policy_id, self.tagged(host, machine))

    def _unless_forgotten(self, policy_id: str, left: list[str]) -> list[str]:
        """A tenant or domain that is gone for good must not keep a policy for ever: people may say so."""
        if left and self._consent.forget_registrations == policy_id:
            log.warning("forgotten on demand: %s", "; ".join(left))
            return []
        return left


def may_be_registered(recorded: RecordedCloudPC) -> bool:
    """Whether state says that directories know it; else what was begun has been taken back."""
    is_none = recorded.status in WAITING or (recorded.status is Status.FAILED and not recorded.is_lost)
    return remains(recorded) or not is_none


def remains(recorded: RecordedCloudPC) -> bool:
    """Whether something of it could not be taken back when it failed."""
    detail = recorded.status_detail
    return detail is not None and "remains" in detail.additional_information
