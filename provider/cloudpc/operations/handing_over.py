"""Marking machines as their users' after a run that has written its state at its end alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from cloudpc.model.cloud_pc import RecordedCloudPC
from cloudpc.model.errors import ProvisioningError, unexpected_told
from cloudpc.model.machines import Host, State
from cloudpc.model.tags import Phase

_AT_ONCE = 16
_TELL_EVERY = 10.0
"""Seconds."""


def hand_over(hosts: Sequence[Host], made: Sequence[RecordedCloudPC], tell: Callable[[int], None]) -> int:
    """Mark the machines of these Cloud PCs, which state has; returns how many could not be marked now.

    Args:
        hosts: the policy's.
        made: as state has them.
        tell: is given every few seconds how many are done.
    """
    by_name = {host.name: host for host in hosts}
    done = left = 0
    told = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = [pool.submit(_is_handed_over, by_name.get(pc.host), pc) for pc in made]
        try:
            for each in as_completed(asked):
                done += 1
                left += not each.result()
                if time.monotonic() - told >= _TELL_EVERY:
                    told = time.monotonic()
                    tell(done)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C: the next run does the rest
            raise
    return left


def _is_handed_over(host: Host | None, pc: RecordedCloudPC) -> bool:
    """Looks first: the lock is no longer held, so another run may have made it again, or ended it."""
    if host is None:
        return False
    with contextlib.suppress(ProvisioningError), unexpected_told(f"handing over {pc.machine_id}"):
        machine = host.describe(pc.machine_id)
        if machine is None or machine.state is State.GOING or machine.tag.phase is Phase.HANDED_OVER:
            return True
        if (machine.tag.policy_id, machine.tag.generation) == (pc.policy_id, pc.generation):
            host.finish(pc.machine_id, Phase.HANDED_OVER)
        return True
    return False
