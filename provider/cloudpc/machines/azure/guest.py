"""The guest of one Azure VM, by managed run commands: few, whole scripts, since Azure counts writes to a machine."""

# ruff: noqa: D102 - the protocol says what each call means

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cloudpc.guests.windows import powershell as windows
from cloudpc.machines.azure.errors import AzureFailed
from cloudpc.machines.azure.instance_view import PRIVATE_SUBNET, InstanceView, gone, look
from cloudpc.machines.azure.once import asks, is_at_work, once
from cloudpc.machines.azure.pace import scripts as looks
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
_ASKED_EVERY = 240.0
"""Seconds after which the guest itself is asked whether a script is still at work: two writes each time."""
_ANSWERS_WITHIN = 150.0
"""Seconds for that."""


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
        while len(done) < len(scripts):  # a script that restarts its machine takes those behind it along
            done += self._run(scripts[len(done) :], watch)
        return done

    def _run(self, scripts: Sequence[Script], watch: Watch) -> list[Completed]:
        """Those that came to an end, and the first that did not; all of them where there is no time for more."""
        one = _as_one(scripts)
        if one.title:
            watch.note(one.title)
        watch.check()
        command = RunCommand(self._arm, self._vm_name, f'run "{one.title or one.name}" in {self._vm_name}')
        try:
            with self._explained(watch):
                command.start(_as_sent(command.name, one), watch)
                seen = self._ended(command, one, watch)
        finally:  # a script that runs on after Ctrl-C could do anything to its successor's work
            command.remove()
        ended = Completed(0, seen.output)
        found = apart(scripts, ended)
        return found if seen.is_whole or not watch.remaining else found[: reached(ended) + 1]

    def _ended(self, command: RunCommand, script: Script, watch: Watch) -> Seen:
        """Its output when it is over, or should be."""
        pauses = looks(self._arm)
        seen = self._until(Seen.has_begun, command, pauses, watch.within(_BEGINS_WITHIN))
        if not seen.has_begun():
            return self._never_begun(seen, watch)
        ends = watch.within(script.timeout + _REPORTS_WITHIN)
        while not seen.is_over():
            seen = self._until(Seen.is_over, command, pauses, ends.within(_ASKED_EVERY))
            if seen.is_over() or not watch.remaining:
                break
            answer = self._asked(command, script, watch)
            if answer is not None:
                return answer
            if not ends.remaining:
                break
        return seen

    def _until(self, is_so: Callable[[Seen], bool], command: RunCommand, pauses: Iterator[float], watch: Watch) -> Seen:
        """Its view once this holds, or when the time is over."""
        for pause in pauses:
            watch.wait(pause)  # nothing is over at once
            seen = command.look(watch)
            if seen.refused:
                raise self._lost(f"cannot run scripts: {seen.refused}")
            if is_so(seen) or not watch.remaining:
                return seen
        raise AssertionError

    def _never_begun(self, seen: Seen, watch: Watch) -> Seen:
        """Not reported where only the watch's time is over."""
        view = self._view(watch)
        if not watch.remaining and view.is_ready:
            return seen
        raise self._lost(
            "does not take a script that it was given"
            if view.is_ready
            else f"no longer answers: {view.agent or 'it has never reported'}"
        )

    def _asked(self, command: RunCommand, script: Script, watch: Watch) -> Seen | None:
        """What the guest says of it, None while it is at work; after a restart Azure may never hear of its end."""
        if not self._view(watch).is_ready or script.interpreter == windows.INTERPRETER:
            return None
        asking = RunCommand(self._arm, self._vm_name, f"ask {self._vm_name} what became of a script")
        question = Script(text=asks(command.name), timeout=_ANSWERS_WITHIN, name="ask", repeatable=True)
        try:
            asking.start(question, watch)
            seen = self._until(Seen.is_over, asking, looks(self._arm), watch.within(_ANSWERS_WITHIN))
        finally:
            asking.remove()
        if not seen.is_over():
            if watch.remaining:
                raise self._lost("no longer says what became of scripts")
            return None
        return None if is_at_work(seen.output) else seen

    def _view(self, watch: Watch) -> InstanceView:
        view = look(self._arm, self._vm_name, watch)
        if view.is_off:
            raise self._died(view.power)
        return view

    @contextmanager
    def _explained(self, watch: Watch) -> Iterator[None]:
        """Azure refuses commands of machines that are off or gone, in many words."""
        try:
            yield
        except AzureFailed as failed:
            if failed.arm.is_missing:
                raise gone(self._arm, self._vm_name) from failed
            if failed.arm.status == 409:
                self._view(watch)
            raise

    def _died(self, power: str) -> ProvisioningError:
        return ProvisioningError(ErrorCode.GUEST_DIED, f"{self._vm_name} on {self._arm.config.name} is {power}")

    def _lost(self, why: str) -> ProvisioningError:
        message = f"Azure's agent in {self._vm_name} on {self._arm.config.name} {why}"
        return ProvisioningError(ErrorCode.GUEST_AGENT_LOST, message, hint=PRIVATE_SUBNET)


def _as_sent(name: str, script: Script) -> Script:
    """As Azure gets it."""
    is_windows = script.interpreter == windows.INTERPRETER
    return script if is_windows else replace(script, text=once(name, script.text))


def _as_one(scripts: Sequence[Script]) -> Script:
    """As what runs them, a shell or PowerShell, understands."""
    of_windows = {each.interpreter == windows.INTERPRETER for each in scripts}
    if len(of_windows) > 1:
        raise ValueError("scripts of a guest are of one kind")
    return windows.joined(scripts) if of_windows == {True} else joined(scripts)
