"""Whether a domain works, in libvirt's words and ours."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from cloudpc.machines.libvirt import power
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import PowerState


class _Domain:
    """A domain whose guest goes on as long as its disk lets it."""

    def __init__(self, state: int, reason: int = 0, *, full: bool = False, answers: bool = True) -> None:
        self._state = state, reason
        self.full, self._answers = full, answers
        self.asked: list[str] = []

    def state(self) -> tuple[int, int]:
        return self._state

    def diskErrors(self) -> dict[str, int]:
        if not self._answers:
            raise libvirt.libvirtError("the monitor does not answer")
        return {"vda": libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE} if self.full else {}

    def __getattr__(self, name: str) -> Any:
        def ask(*_flags: int) -> None:
            self.asked.append(name)
            if not self.full:
                self._state = libvirt.VIR_DOMAIN_RUNNING, 0

        return ask


_DISK = "its disk can't be read or written"


def _paused(reason: int, **more: bool) -> _Domain:
    return _Domain(libvirt.VIR_DOMAIN_PAUSED, reason, **more)


@pytest.mark.parametrize(
    ("domain", "now", "why"),
    [
        (_Domain(libvirt.VIR_DOMAIN_RUNNING), PowerState.RUNNING, ""),
        (_Domain(libvirt.VIR_DOMAIN_BLOCKED), PowerState.RUNNING, ""),
        (_Domain(libvirt.VIR_DOMAIN_SHUTDOWN), PowerState.RUNNING, ""),
        (_Domain(libvirt.VIR_DOMAIN_SHUTOFF), PowerState.STOPPED, ""),
        (_Domain(libvirt.VIR_DOMAIN_CRASHED), PowerState.PAUSED, "its guest has crashed"),
        (_Domain(libvirt.VIR_DOMAIN_PMSUSPENDED), PowerState.PAUSED, "its guest has put itself to sleep"),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_USER), PowerState.PAUSED, "somebody has paused it"),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_IOERROR, full=True), PowerState.PAUSED, power.NO_ROOM),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_IOERROR), PowerState.PAUSED, _DISK),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_IOERROR, answers=False), PowerState.PAUSED, _DISK),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_CRASHED), PowerState.PAUSED, "its guest has crashed"),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_UNKNOWN), PowerState.PAUSED, "libvirt does not say why"),
        (_paused(4711), PowerState.PAUSED, "libvirt does not say why"),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT), PowerState.RUNNING, ""),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_MIGRATION), PowerState.RUNNING, ""),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_STARTING_UP), PowerState.RUNNING, ""),
    ],
)  # fmt: skip
def test_each_state_has_its_words(domain: _Domain, now: PowerState, why: str) -> None:
    assert power.power(domain) == (now, why)


@pytest.mark.parametrize(
    ("domain", "asked"),
    [
        (_Domain(libvirt.VIR_DOMAIN_RUNNING), []),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT), []),
        (_Domain(libvirt.VIR_DOMAIN_SHUTOFF), ["create"]),
        (_Domain(libvirt.VIR_DOMAIN_PMSUSPENDED), ["pMWakeup"]),
        (_Domain(libvirt.VIR_DOMAIN_CRASHED), ["reset", "resume"]),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_CRASHED), ["reset", "resume"]),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_USER), ["resume"]),
        (_paused(libvirt.VIR_DOMAIN_PAUSED_IOERROR), ["resume"]),
    ],
)
def test_each_goes_on_in_its_own_way(domain: _Domain, asked: list[str]) -> None:
    power.turn_on(domain)
    assert domain.asked == asked
    power.turn_on(domain)
    assert domain.asked == asked, "what works is left alone"


def test_one_that_is_stopped_again_by_a_full_disk_says_so() -> None:
    domain = _paused(libvirt.VIR_DOMAIN_PAUSED_IOERROR, full=True)
    with pytest.raises(ProvisioningError) as stopped:
        power.turn_on(domain)
    assert stopped.value.code is ErrorCode.STORAGE_FULL
    assert power.NO_ROOM in stopped.value.message
    domain.full = False
    power.turn_on(domain)
    assert power.power(domain) == (PowerState.RUNNING, "")
