"""The guest of a cloud's machine: reached by its commands, of which there are few, so that scripts go together."""

from __future__ import annotations

import base64
import secrets
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Script
from cloudpc.model.watch import Watch

from .service import CloudError, CloudService, Item, Step

_LONGER = 30.0
"""Seconds that the service may take besides, until it says what came of a command."""


class CloudyGuest:
    """Implements cloudpc.model.guests.Guest."""

    def __init__(
        self,
        cloud: CloudService,
        host: str,
        machine: str,
        asking: Callable[[str, ErrorCode], AbstractContextManager[None]],
    ) -> None:
        self._cloud = cloud
        self._host = host
        self._machine = machine
        self._asking = asking

    def run(self, scripts: Sequence[Script], watch: Watch) -> list[Completed]:
        """All as one command, whose time is that of them together."""
        if not scripts:
            return []
        titles = ", ".join(script.title for script in scripts if script.title)
        steps = [Step(_as_shell(script), script.secrets, script.timeout) for script in scripts]
        with self._asking(f"run {titles or scripts[0].name} in {self._machine}", ErrorCode.GUEST_DIED):
            if titles:
                watch.note(titles)
            name = self._put(steps, watch)
            try:
                ended = self._wait(name, watch.within(sum(script.timeout for script in scripts) + _LONGER))
            finally:  # a script that runs on after Ctrl-C could do anything to its successor's work
                with suppress(CloudError):
                    self._cloud.delete_command(self._machine, name)
        return [_completed(script, step) for script, step in zip(scripts, ended, strict=True)]

    def _put(self, steps: Sequence[Step], watch: Watch) -> str:
        """Ask until the service takes it: it counts commands, and says when it takes the next one."""
        name = secrets.token_hex(4)
        while True:
            watch.check()
            try:
                self._cloud.put_command(self._machine, name, steps)
            except CloudError as error:
                if error.code != "TooManyRequests" or error.retry_after is None:
                    raise
                watch.note(f"{self._host} takes no more commands for now: going on in {error.retry_after:.0f} s")
                watch.wait(error.retry_after)
            else:
                return name

    def _wait(self, name: str, watch: Watch) -> list[Item]:
        pause = 0.01
        while (command := self._cloud.get_command(self._machine, name))["state"] != "done":
            if not watch.remaining:
                message = f"{self._host} does not say what came of a command in {self._machine}"
                raise ProvisioningError(ErrorCode.GUEST_AGENT_LOST, message)
            watch.wait(pause)
            pause = min(2 * pause, 1.0)
        steps: list[Item] = command["steps"]
        return steps


def _as_shell(script: Script) -> str:
    """The service runs shell scripts and gives them nothing to read: what the script reads is part of it."""
    command = shlex.join(script.argv)
    if not script.stdin:
        return f"exec {command} </dev/null\n"
    return f"base64 -d <<'cloudpc-end' | {command}\n{base64.encodebytes(script.stdin).decode()}cloudpc-end\n"


def _completed(script: Script, step: Item) -> Completed:
    if step["exit_code"] is None:
        return Completed(124, f"took longer than {script.timeout:.0f} s", timed_out=True)
    return Completed(step["exit_code"], step["output"])
