"""The guest of one Azure VM, by managed run commands: few, whole scripts, since Azure counts writes to a machine."""

# ruff: noqa: D102 - the protocol says what each call means

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudpc.guests.windows import powershell as windows
from cloudpc.machines.azure.errors import AzureFailed
from cloudpc.machines.azure.instance_view import PRIVATE_SUBNET, gone, look
from cloudpc.machines.azure.pace import reads
from cloudpc.machines.azure.run_command import RunCommand, Seen
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Guest, Script
from cloudpc.model.joined_scripts import apart, joined, reached
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

_BEGINS_WITHIN = 300.0
"""Seconds until the agent of a machine that works takes a script; as a rule 10 to 40."""
_REPORTS_WITHIN = 90.0
"""Seconds from a script's end until Azure knows of it."""


class AzureGuest(Guest):
    """Implements `cloudpc.model.guests.Guest`; says there what each call means.

    Each `run` is two writes. Azure allows a machine 12 at once, and 4 more a minute: the four runs of a provisioning
    (first boot, domain, set-up, password) never wait.
    """

    def __init__(self, arm: Arm, vm_name: str) -> None:
        self._arm = arm
        self._vm_name = vm_name

    def run(self, scripts: Sequence[Script], watch: Watch) -> list[Completed]:
        done: list[Completed] = []
        while len(done) < len(scripts):  # one that has its machine start again takes those behind it along
            done += self._run(scripts[len(done) :], watch)
        return done

    def _run(self, scripts: Sequence[Script], watch: Watch) -> list[Completed]:
        """Those that came to an end, and the first that did not; all of them where there is no time for more."""
        one = _as_one(scripts)
        if one.title:
            watch.note(one.title)
        watch.check()
        command = RunCommand(self._arm, self._vm_name, f"run {one.title or one.name} in {self._vm_name}")
        try:
            with self._explained(watch):
                command.start(one, watch)
                seen = self._ended(command, one, watch)
        finally:  # a script that runs on after Ctrl-C could do anything to its successor's work
            command.remove()
        ended = Completed(0, seen.output)
        found = apart(scripts, ended)
        return found if seen.is_whole or not watch.remaining else found[: reached(ended) + 1]

    def _ended(self, command: RunCommand, script: Script, watch: Watch) -> Seen:
        """What it has said when it is over, or should be."""
        begins, ends = watch.within(_BEGINS_WITHIN), None
        for pause in reads(self._arm):
            seen = command.look(watch)
            if seen.refused:
                raise self._lost(f"cannot run scripts: {seen.refused}")
            if seen.is_over:
                return seen
            if ends is None and seen.has_begun:
                ends = watch.within(script.timeout + _REPORTS_WITHIN)
            waits = ends or begins
            if not waits.remaining:
                return self._late(seen, watch)
            waits.wait(pause)
        raise AssertionError

    def _late(self, seen: Seen, watch: Watch) -> Seen:
        """It is not over in time: by itself, or because nobody is there any more to say so."""
        view = look(self._arm, self._vm_name, watch)
        if view.is_off:
            raise self._died(view.power)
        if not view.is_ready:
            raise self._lost(f"does not answer any more: {view.agent or 'it was never heard of'}")
        if not seen.has_begun:
            raise self._lost("does not take a script that it was given")
        return seen

    @contextmanager
    def _explained(self, watch: Watch) -> Iterator[None]:
        """Azure refuses commands of machines that are off or gone, in many words."""
        try:
            yield
        except AzureFailed as failed:
            if failed.arm.is_missing:
                raise gone(self._arm, self._vm_name) from failed
            if failed.arm.status == 409 and (view := look(self._arm, self._vm_name, watch)).is_off:
                raise self._died(view.power) from failed
            raise

    def _died(self, power: str) -> ProvisioningError:
        return ProvisioningError(ErrorCode.GUEST_DIED, f"{self._vm_name} on {self._arm.config.name} is {power}")

    def _lost(self, why: str) -> ProvisioningError:
        message = f"Azure's agent in {self._vm_name} on {self._arm.config.name} {why}"
        return ProvisioningError(ErrorCode.GUEST_AGENT_LOST, message, hint=PRIVATE_SUBNET)


def _as_one(scripts: Sequence[Script]) -> Script:
    """As what runs them, a shell or PowerShell, understands."""
    of_windows = {each.interpreter == windows.INTERPRETER for each in scripts}
    if len(of_windows) > 1:
        raise ValueError("scripts of a guest are of one kind")
    return windows.joined(scripts) if of_windows == {True} else joined(scripts)
