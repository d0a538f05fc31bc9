"""Progress of a Cloud PC in Pulumi's own display: steps that replace each other, lines that stay."""

from __future__ import annotations

from cloudpc.iac.engine_log import Severity, log
from cloudpc.iac.stages_now import Teller
from cloudpc.model.cloud_pc import Status
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.outcome import Outcome
from cloudpc.model.text import with_hint


class EngineReporter:
    """A ResultReporter that tells the engine.

    Args:
        urn: the resource the lines belong to.
        who: comes before each line, where the resource's name tells nobody whose it is.
        teller: gets each step, too.
    """

    def __init__(self, urn: str, who: str, teller: Teller) -> None:
        self._urn, self._teller = urn, teller
        self._is_at_work = False
        self._who = f"{who}: " if who else ""

    def step(self, text: str) -> None:
        """See ResultReporter."""
        log(self._urn, self._who + text, ephemeral=True)
        self._is_at_work = True
        self._teller.tell(self._urn, text)

    def over(self) -> None:
        """Nothing more is done with it."""
        if self._is_at_work:
            self._teller.tell(self._urn, "")

    def milestone(self, text: str, *, warning: bool = False) -> None:
        """See ResultReporter."""
        log(self._urn, self._who + text, severity=Severity.WARNING if warning else Severity.INFO)

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """The line that stays at the end: what came of it, and what to do if that is not what was wanted."""
        error = outcome.error
        match outcome.status:
            case Status.FAILED if error is not None:
                attempts = "1 attempt" if outcome.attempts == 1 else f"{outcome.attempts} attempts"
                text = f"failed in {outcome.stage} after {attempts}: {_told(error)}"
                log(self._urn, self._who + text, severity=Severity.ERROR)
            case Status.PENDING_PROVISION | Status.NOT_PROVISIONED if error is not None:
                self.milestone(f"{outcome.status}: {_told(error)}", warning=True)
            case _:
                access = outcome.access
                reached = f", {access.protocol} at {access.address}" if access else ""
                self.milestone(f"{outcome.status} on {outcome.host}{reached}, {seconds:.0f} s")
                for warned in outcome.warnings:
                    self.milestone(f"{warned.message} [{warned.code}]", warning=True)
        if outcome.kept:
            self.milestone(f"kept for diagnosis: {outcome.kept}")
        if outcome.remains:
            self.milestone(f"an attempt's machine could not be removed yet: {outcome.remains}", warning=True)


def _told(error: ProvisioningError) -> str:
    return with_hint(f"{error.message} [{error.code}]", error.hint)
