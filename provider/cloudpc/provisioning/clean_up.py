"""Removing what attempts have made on hosts, or keeping the last one's for a look."""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime, timedelta

from cloudpc.model.abilities import KeepsForDiagnosis
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import ErrorCode, ProvisioningError, unexpected_told
from cloudpc.model.machines import Host, Removed
from cloudpc.model.watch import REMOVED_WITHIN, Watch
from cloudpc.provisioning.attempt import Attempt

log = logging.getLogger(__name__)

KEPT_FOR = timedelta(hours=3)
"""How long the last attempt's disk and console are kept: as long as Windows 365 takes to clean up (rule 9)."""


class CleanUp:
    """Of all attempts at one Cloud PC.

    Args:
        cancel: a run that was asked to stop waits for no removal.
    """

    def __init__(self, cancel: Cancellation) -> None:
        self._cancel = cancel
        self._remains: dict[str, str] = {}
        self.kept = ""
        """What is kept of the last attempt, where and until when, in words."""

    @property
    def remains(self) -> list[str]:
        """What could not be removed yet, in words."""
        return [f"on {host}: {why}" for host, why in self._remains.items()]

    def forget(self, host: Host) -> None:
        """What could not be removed there is taken over."""
        self._remains.pop(host.name, None)

    def after(self, attempt: Attempt, host: Host, *, keep: bool) -> None:
        """Remove what the attempt has made, unless a newer one has made something else; or keep it."""
        if keep and self._keep(attempt, host):
            return
        with contextlib.suppress(ProvisioningError):
            self.delete(attempt, host, of_any_attempt=False)

    def delete(self, attempt: Attempt, host: Host, *, of_any_attempt: bool) -> None:
        """Raises ProvisioningError: it can't be removed now, or its host is still at it (MACHINE_GOING)."""
        name, watch = attempt.order.name, Watch().within(0 if self._cancel.is_set else REMOVED_WITHIN)
        try:
            with unexpected_told(f"removing {name}"):
                machine = host.describe(attempt.id)
                is_ours = machine is None or of_any_attempt or machine.tag.attempt == attempt.tag.attempt
                if is_ours and host.delete(attempt.id, watch) is Removed.GOING:
                    raise going(name, host)
        except ProvisioningError as error:
            self._remains[host.name] = error.message
            log.warning("could not remove %s: %s", name, error.message)
            raise
        self.forget(host)

    def _keep(self, attempt: Attempt, host: Host) -> bool:
        if not isinstance(host, KeepsForDiagnosis):
            return False
        until = datetime.now(UTC).replace(microsecond=0) + KEPT_FOR
        try:
            machine = host.describe(attempt.id)
            if machine is None or machine.tag.attempt != attempt.tag.attempt:
                return False
            kept = host.keep_for_diagnosis(attempt.id, until)
        except Exception:  # a driver may raise anything; then it is deleted, as what failed before
            log.exception("could not keep %s for diagnosis", attempt.order.name)
            return False
        self.kept = f"{kept} on {host.name}, until {until:%Y-%m-%d %H:%M} UTC" if kept else ""
        return bool(kept)


def going(machine: str, host: Host) -> ProvisioningError:
    """Its removal was accepted, and is not over."""
    return ProvisioningError(ErrorCode.MACHINE_GOING, f"{machine} on {host.name} is still being removed")
