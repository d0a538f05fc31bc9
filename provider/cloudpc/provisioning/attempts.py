"""Three attempts at one Cloud PC, with cleaning up in between, and what is left when they are over.

Source of the three attempts: Windows 365 "Provisioning": first try and two automatic ones, then `failed`.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import tenacity

from cloudpc.model import patience
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.cloud_pc import DesiredCloudPC, Status
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.outcome import Outcome
from cloudpc.model.report import Reporter
from cloudpc.model.stages import Stage
from cloudpc.model.text import with_hint
from cloudpc.model.watch import Watch
from cloudpc.provisioning.attempt import Attempt, Earlier, Placed, is_failure
from cloudpc.provisioning.claim import Claim
from cloudpc.provisioning.clean_up import CleanUp
from cloudpc.provisioning.enrolment import Enrolment
from cloudpc.provisioning.order import order_of
from cloudpc.provisioning.resources import Resources
from cloudpc.provisioning.stages import Stages

log = logging.getLogger(__name__)

ATTEMPTS = 3
_ONLY_ELSEWHERE = (ErrorCode.NO_CAPACITY, ErrorCode.HOST_REFUSES)
"""Another attempt is worthwhile only on another host: there is no room here, or somebody has to change something."""
_WAITED_FOR_AFTER_ALL = (*_ONLY_ELSEWHERE, ErrorCode.POOL_UNUSABLE)
_WITHOUT_DISK = (Stage.PLACING, Stage.IMAGE, Stage.DISK)


class Attempts:
    """At one Cloud PC; `run` once."""

    def __init__(self, desired: DesiredCloudPC, resources: Resources, report: Reporter, cancel: Cancellation) -> None:
        self._desired = desired
        self._resources = resources
        self._report = report
        self._cancel = cancel
        self._enrolment = Enrolment(resources.registration)
        self._earlier = Earlier()
        self._clean_up = CleanUp(cancel)
        self._attempt = self._begin(0)

    def run(self) -> Outcome:
        """Failure is an outcome. Raises Cancelled: what was begun has been removed."""
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential(multiplier=self._resources.pause),
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, ProvisioningError) and e.retriable),
            sleep=self._cancel.wait,
            before_sleep=self._announce_retry,
            reraise=True,
        )
        try:
            with patience.telling(lambda text: self._attempt.watch.say(text)):
                outcome = retrying(self._one)
            self._enrolment.take_back_others(self._attempt.desired.identity, self._attempt.connection)
            return replace(outcome, remains=self._remains())
        except Placed as placed:
            return self._placed(placed)
        except ProvisioningError as error:
            return self._failed(error)
        except BaseException:
            # also where the pause between two attempts was cancelled
            self._enrolment.take_back(self._attempt.desired.identity)
            raise

    def _placed(self, placed: Placed) -> Outcome:
        """The host is recorded as well where something remains on it, since it is looked for there."""
        host, remains = self._attempt.host, self._remains()
        return Outcome(
            placed.status,
            self._attempt.number,
            host=host.name if host and remains else "",
            error=placed.error,
            stage=Stage.PLACING,
            remains=remains,
        )

    def _failed(self, error: ProvisioningError) -> Outcome:
        attempt = self._attempt
        return Outcome(
            Status.FAILED,
            attempt.number,
            host=attempt.host.name if attempt.host else "",
            error=error,
            stage=attempt.watch.now,
            remains=self._remains(),
            kept=self._clean_up.kept,
        )

    def _remains(self) -> str:
        return "; ".join([*self._clean_up.remains, *self._enrolment.left])

    def _announce_retry(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0
        failed = f"attempt {self._attempt.number} of {ATTEMPTS} failed in {self._attempt.watch.now}: {error}"
        self._report.milestone(with_hint(failed, f"next in {pause:.0f} s"), warning=True)

    def _begin(self, number: int) -> Attempt:
        mark = f" (attempt {number} of {ATTEMPTS})" if number > 1 else ""
        order = order_of(self._desired, self._resources, self._see_others)
        return Attempt(number, self._desired, order, Watch(self._cancel, self._report.step, mark=mark))

    def _see_others(self) -> None:
        self._attempt.others = self._enrolment.others(self._desired.device_name, self._attempt.mark)

    def _one(self) -> Outcome:
        self._attempt = attempt = self._begin(self._attempt.number + 1)
        try:
            claim = Claim(attempt, self._resources, self._earlier, self._clean_up, self._enrolment)
            return Stages(attempt, claim, self._resources, self._enrolment, self._report).run()
        except BaseException as raised:
            error = self._waiting(raised) or raised
            self._end(error)  # Ctrl-C and unexpected errors clean up as well: nothing may be left over
            if error is not raised:
                raise error from raised
            if not is_failure(error):
                raise
            told = error if isinstance(error, ProvisioningError) else self._unexpected(error)
            self._earlier.failure = (told, attempt.watch.now)
            if told is error:
                raise
            raise told from error

    def _waiting(self, error: BaseException) -> Placed | None:
        """The answer that it has to wait, if its host turned out not to take it after all, in whatever stage.

        A host that is lost on the way is none: its machine may be its user's, and what is left there is not known.
        """
        if isinstance(error, ProvisioningError) and error.code in _WAITED_FOR_AFTER_ALL and self._is_last(error):
            return Placed(Status.PENDING_PROVISION, error)
        return None

    def _unexpected(self, error: BaseException) -> ProvisioningError:
        log.exception("unexpected error while provisioning %s", self._attempt.order.name)
        return ProvisioningError(ErrorCode.INTERNAL_ERROR, f"unexpected {type(error).__name__}: {error}")

    def _end(self, error: BaseException) -> None:
        """Take back and remove what an attempt that ended without a Cloud PC has left."""
        attempt = self._attempt
        if isinstance(error, ProvisioningError) and error.code is ErrorCode.DOMAIN_JOIN_FAILED:
            self._earlier.doubted.add(attempt.connection)
        is_last = self._is_last(error)
        if is_last:
            self._enrolment.take_back(attempt.desired.identity)
        if attempt.host is None:
            return
        # without a failure to record, the machine's tag alone remembers what could not be taken back yet
        if self._enrolment.left and not (is_failure(error) or isinstance(error, Placed)):
            return
        self._earlier.failed_on.add(attempt.host.name)
        is_worth_a_look = is_failure(error) and attempt.watch.now not in _WITHOUT_DISK
        self._clean_up.after(attempt, attempt.host, keep=is_last and is_worth_a_look)

    def _is_last(self, error: BaseException) -> bool:
        """Whether no attempt comes after this one."""
        if not is_failure(error):
            return True
        if self._attempt.number == ATTEMPTS:
            return True
        return isinstance(error, ProvisioningError) and not self._is_worth_another(error)

    def _is_worth_another(self, error: ProvisioningError) -> bool:
        """Not on hosts that did not take it: they would not in a minute either."""
        if not error.retriable or error.code not in _ONLY_ELSEWHERE or self._attempt.host is None:
            return error.retriable
        here, tried = self._attempt.host.name, self._earlier.failed_on
        # back on a host that it was to avoid: no other host has taken it
        return here not in tried and any(host.name not in {*tried, here} for host in self._resources.places)
