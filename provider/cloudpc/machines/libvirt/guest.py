"""The guest of one machine, through its agent."""

# ruff: noqa: D102 - the protocol says what each call means

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from cloudpc.machines.libvirt.agent import Agent
from cloudpc.model import patience
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import ErrorCode
from cloudpc.model.guests import Completed, Guest, Script, SetsPasswords
from cloudpc.model.watch import Watch

Asking = Callable[[str, ErrorCode, Cancellation], AbstractContextManager[Agent]]
"""Gives the machine's agent for a purpose, in words; an error is reported as that, with the code if it refused."""


@patience.of_its_host
class LibvirtGuest(Guest, SetsPasswords):
    """Implements `cloudpc.model.guests.Guest` and `SetsPasswords`; says there what each call means.

    Args:
        name: its host's.
        asking: gives its agent.
    """

    def __init__(self, name: str, asking: Asking) -> None:
        self.name = name
        self._asking = asking

    def run(self, scripts: Sequence[Script], watch: Watch) -> list[Completed]:
        return [self._run(script, watch) for script in scripts]

    def _run(self, script: Script, watch: Watch) -> Completed:
        if script.title:
            watch.note(script.title)
        watch.check()
        doing = f"run {script.title or script.name}"
        with self._asking(doing, ErrorCode.SET_UP_FAILED, watch.cancel) as agent:
            try:
                return agent.run(
                    script.argv,
                    stdin=script.stdin,
                    secrets=script.secrets,
                    timeout=min(script.timeout, watch.remaining),
                    repeatable=script.repeatable,
                )
            except TimeoutError as error:
                return Completed(124, str(error), timed_out=True)

    def set_password(self, user: str, password: str, watch: Watch) -> None:
        with self._asking(f"set the password of {user}", ErrorCode.CREDENTIALS_FAILED, watch.cancel) as agent:
            agent.set_password(user, password)
