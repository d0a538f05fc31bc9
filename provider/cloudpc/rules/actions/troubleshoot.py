"""Troubleshoot: check a Cloud PC from its power to its ways in, fix what can be fixed, and give one of four outcomes.

Source: Windows 365, "Troubleshoot a Cloud PC" (Graph's `troubleshoot`), whose four outcomes are Outcome's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from cloudpc.model.access import Access
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Finding, Troubleshoots
from cloudpc.model.machines import PowerState
from cloudpc.rules.actions.case import Request
from cloudpc.rules.actions.on_machine import Came, OnMachine
from cloudpc.rules.actions.power import IsOff
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.asked import Asked
from cloudpc.rules.notices import Reason

_ACCESS_WITHIN = 60.0
"""Seconds in which a guest that answers has to have its address."""


class Outcome(StrEnum):
    """What Windows 365 tells its user."""

    NOTHING_FOUND = "no issues found"
    RESOLVED = "issues found and resolved"
    UNAVAILABLE = "its host is not available now"
    NOT_RESOLVED = "issues found that could not be resolved"


class Troubleshoot(OnMachine[Asked]):
    """What it finds is reported and recorded; its status stays what it is."""

    name = command = graph = "troubleshoot"
    help = (
        "Look for what keeps users from their Cloud PCs, and fix it where that is possible.\n\n"
        "Looks at power, guest, first boot, disk, clock, address, ssh and remote desktop; no data is lost. "
        "It ends with one of four outcomes: no issues found, issues found and resolved, issues found that could not be "
        "resolved, its host is not available now."
    )
    description = "Raised: what keeps its user from it is looked for, and fixed where that is possible."
    can_be = "looked at"
    notice = "will be checked for what keeps its user from it"
    by_users = True
    not_done = "not looked at, tried again by the next run"

    def why_not(self, request: Request[Asked]) -> Reason | None:
        return IsOff() if request.recorded.is_kept_off else None

    def work(self, at: Workplace) -> Came:
        findings, access = list[Finding](), at.recorded.access
        try:
            findings += _outside(at)
            findings += _inside(at)
            access = at.host.access(at.recorded.machine_id, at.watch.within(_ACCESS_WITHIN))
        except ProvisioningError as error:
            if error.code is ErrorCode.HOST_UNREACHABLE:
                return Came(f"{self.name}: {Outcome.UNAVAILABLE}: {error.message}", warning=True)
            findings.append(Finding(f"{error.message} [{error.code}]", mended=False))
        moved = _moved(at.recorded.access, access)
        if moved is not None:
            findings.append(Finding(f"its address has changed, and is {moved.address} now", mended=True))
        return _told(findings, {"access": moved} if moved is not None else {})


def _told(findings: Sequence[Finding], changes: Mapping[str, object]) -> Came:
    if not findings:
        return Came(f"{TROUBLESHOOT.name}: {Outcome.NOTHING_FOUND}")
    left = [each for each in findings if not each.mended]
    outcome = Outcome.NOT_RESOLVED if left else Outcome.RESOLVED
    what = "; ".join(each.what for each in [*left, *(each for each in findings if each.mended)])
    return Came(f"{TROUBLESHOOT.name}: {outcome}: {what}", warning=bool(left), changes=changes)


def _moved(recorded: Access | None, now: Access | None) -> Access | None:
    """Where it is reached now, if that is elsewhere; what it is known by there stays pinned."""
    if recorded is None or now is None or (recorded.host, recorded.port) == (now.host, now.port):
        return None
    return recorded.model_copy(update={"host": now.host, "port": now.port})


def _outside(at: Workplace) -> Iterator[Finding]:
    """Its power: one that is off or paused is started; a guest that answers after that has booted completely."""
    machine = at.host.describe(at.recorded.machine_id)
    at.wake()
    if machine is not None and machine.power is not PowerState.RUNNING:
        how = f"paused ({machine.paused_because})" if machine.power is PowerState.PAUSED else "off"
        yield Finding(f"it was {how}, and works again", mended=True)


def _inside(at: Workplace) -> Sequence[Finding]:
    """What is found inside its guest."""
    system = at.guest_os
    if not isinstance(system, Troubleshoots):
        return []
    [done] = at.host.guest(at.recorded.machine_id).run([system.troubleshoot(at.now)], at.watch)
    if done.timed_out or done.exit_code:
        return [
            Finding(f"its guest could not be looked at: {done.output or f'exit code {done.exit_code}'}", mended=False)
        ]
    return system.findings(done.output)


TROUBLESHOOT = Troubleshoot()
