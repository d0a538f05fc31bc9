"""The QEMU guest agent of one domain, through libvirt."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import libvirt
import libvirt_qemu

from cloudpc.machines.interface import Completed
from cloudpc.machines.libvirt.definitions import is_running
from cloudpc.machines.libvirt.errors import has_code, is_connection_error
from cloudpc.provisioning.cancellation import Cancellation

_T = TypeVar("_T")
_CHUNK = 48 * 1024
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_NOT_ANSWERING = (
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_AGENT_UNSYNCED,
    libvirt.VIR_ERR_OPERATION_TIMEOUT,
    libvirt.VIR_ERR_OPERATION_INVALID,  # the domain isn't running
    libvirt.VIR_ERR_NO_DOMAIN,
)
_EXIT_NOT_FOUND = 127
_PATIENCE = 90.0
"""Seconds in which a busy guest's agent may come back; under TCG on a loaded host it is silent for half a minute."""
_ASK_AGAIN_EVERY = 0.5


class AgentUnavailable(Exception):  # noqa: N818 - a state, more often than an error
    """The agent does not answer: not started yet, busy, or the guest is gone."""


class AgentRefused(Exception):  # noqa: N818
    """The agent answered with an error; its text is the message."""


class Agent:
    """Talks to the agent of one domain. Raises the two above, and libvirtError if libvirt itself is gone.

    Args:
        domain: whose agent.
        answer_within: seconds for one answer.
        patience: seconds in which a question that may be asked twice is asked again of an agent that is silent.
        cancel: ends the waiting.
    """

    def __init__(
        self,
        domain: Any,
        *,
        answer_within: int = 20,
        patience: float = _PATIENCE,
        cancel: Cancellation | None = None,
    ) -> None:
        self._domain = domain
        self._answer_within = answer_within
        self._patience = patience
        self._cancel = cancel or Cancellation()

    def run(self, argv: Sequence[str], *, stdin: bytes, timeout: float) -> Completed:
        """Run a command; a program that is not there ends with 127, as in a shell.

        Raises:
            TimeoutError: it took longer than `timeout` seconds, and was killed with what it had started in its
                process group; or how it ended was lost on the way.
        """
        deadline = time.monotonic() + timeout
        arguments: dict[str, object] = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        if stdin:
            arguments["input-data"] = base64.b64encode(stdin).decode()
        try:
            pid = self._command("guest-exec", arguments, patience=0)["pid"]  # twice would run it twice
        except AgentRefused as refused:
            if "failed to execute child" in str(refused).lower():
                return Completed(_EXIT_NOT_FOUND, str(refused))
            raise
        pause = _FIRST_PAUSE
        finished = False
        try:
            while not (status := self._status(pid, argv[0], deadline))["exited"]:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"took longer than {timeout:.0f} s")
                self._cancel.wait(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            finished = True
        finally:
            if not finished:
                self._kill(pid)
        output = b"".join(base64.b64decode(status.get(part, "")) for part in ("out-data", "err-data"))
        code = status["exitcode"] if "exitcode" in status else 128 + int(status.get("signal", 0))
        return Completed(int(code), output.decode(errors="replace"))

    def read_file(self, path: str) -> bytes:
        """Read a whole file. Raises FileNotFoundError."""
        # From the beginning each time: after a read whose answer was lost the agent would go on behind it.
        return self._patiently(lambda: self._read_file(path), self._patience)

    def set_password(self, user: str, password: str) -> None:
        """Set an account's password."""
        encoded = base64.b64encode(password.encode()).decode()
        self._command("guest-set-user-password", {"username": user, "password": encoded, "crypted": False})

    def addresses(self, mac: str) -> list[str]:
        """The addresses that the guest's card of this MAC has, IPv4 first."""
        cards = self._command("guest-network-get-interfaces")
        found = [
            (address["ip-address-type"], address["ip-address"])
            for card in cards
            if card.get("hardware-address", "").lower() == mac
            for address in card.get("ip-addresses", ())
        ]
        return [address for _family, address in sorted(found)]

    def _status(self, pid: int, program: str, deadline: float) -> Any:
        patience = min(self._patience, max(0.0, deadline - time.monotonic()))
        try:
            return self._command("guest-exec-status", {"pid": pid}, patience=patience)
        except AgentRefused as refused:
            if "invalid parameter" in str(refused).lower():  # it forgets a program when it has told of its end
                raise TimeoutError(f"{program} ended, but the guest agent's answer of how was lost") from refused
            raise

    def _read_file(self, path: str) -> bytes:
        try:
            handle = self._ask("guest-file-open", {"path": path, "mode": "r"})
        except AgentRefused as refused:
            if "no such file" in str(refused).lower():
                raise FileNotFoundError(path) from refused
            raise
        content = b""
        try:
            while True:
                part = self._ask("guest-file-read", {"handle": handle, "count": _CHUNK})
                content += base64.b64decode(part["buf-b64"])
                if part["eof"] or not part["count"]:
                    return content
        finally:
            with suppress(AgentUnavailable, AgentRefused):
                self._ask("guest-file-close", {"handle": handle})

    def _kill(self, pid: int) -> None:
        """Best effort: nothing may go on in the guest that nobody waits for."""
        arguments: dict[str, object] = {"path": "/bin/kill", "arg": ["-KILL", "--", f"-{pid}", str(pid)]}
        with suppress(AgentUnavailable, AgentRefused, libvirt.libvirtError):
            self._ask("guest-exec", arguments)

    def _command(self, name: str, arguments: dict[str, object] | None = None, patience: float | None = None) -> Any:
        """One command, asked again while the agent is silent, for as long as `patience` says."""
        return self._patiently(
            lambda: self._ask(name, arguments or {}), self._patience if patience is None else patience
        )

    def _patiently(self, question: Callable[[], _T], patience: float) -> _T:
        deadline = time.monotonic() + patience
        while True:
            try:
                return question()
            except AgentUnavailable:
                if time.monotonic() >= deadline or not is_running(self._domain):
                    raise
            self._cancel.wait(_ASK_AGAIN_EVERY)

    def _ask(self, name: str, arguments: dict[str, object]) -> Any:
        request = json.dumps({"execute": name, "arguments": arguments} if arguments else {"execute": name})
        try:
            answer = libvirt_qemu.qemuAgentCommand(self._domain, request, self._answer_within, 0)
        except libvirt.libvirtError as error:
            if is_connection_error(error):
                raise
            if has_code(error, *_NOT_ANSWERING):
                raise AgentUnavailable(error.get_error_message()) from error
            text = str(error.get_error_message())
            _, _, refusal = text.partition(f"'{name}': ")
            if refusal:
                raise AgentRefused(refusal) from error
            raise
        return json.loads(answer)["return"]
