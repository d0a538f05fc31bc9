"""The QEMU guest agent of one domain, through libvirt."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import libvirt
import libvirt_qemu

from cloudpc.machines.libvirt import answers
from cloudpc.machines.libvirt.answers import AgentRefused
from cloudpc.machines.libvirt.definitions import is_running
from cloudpc.machines.libvirt.errors import has_code, is_connection_error
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.guests import Completed

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
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""An agent that is given an environment no longer passes on its own."""
_PATIENCE = 90.0
"""Seconds in which a busy guest's agent may come back; under TCG on a loaded host it is silent for half a minute."""
_ASK_AGAIN_EVERY = 0.5
_FILE_LIMIT, _FILE_TIMEOUT = 64 * 1024, 90.0
"""Bytes of a guest's file, and seconds, that reading it may take at most: a guest may be anybody's."""
_OUTPUT_KEPT = 256 * 1024
"""Bytes of what a program said, from its end; the agent itself carries 16 MB."""
_EXIT_CODES, _SIGNALS = range(-(2**31), 2**32), range(256)  # Windows has codes of 32 bits


class AgentUnavailable(Exception):  # noqa: N818 - a state, more often than an error
    """The agent does not answer: not started yet, busy, or the guest is gone."""


class _NotOverError(Exception):
    """It did not end in its time."""


class _AnswerLostError(Exception):
    """It ended, and nobody knows how."""


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

    def ping(self) -> None:
        """Return when it answers. Raises AgentUnavailable: it does not, as long as there is patience."""
        self._command("guest-ping")

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes,
        timeout: float,
        secrets: Mapping[str, str] | None = None,
        repeatable: bool = False,
    ) -> Completed:
        """Run a command; a program that is not there ends with 127, as in a shell.

        Args:
            argv: the command.
            stdin: what it reads.
            timeout: seconds it may take.
            secrets: variables of its environment; with some, it has no others but PATH.
            repeatable: running it twice does no harm, so that a silent agent is asked again.

        Raises:
            TimeoutError: it took longer than `timeout` seconds, and was killed with what it had started in its
                process group; or how it ended was lost on the way.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self._run(argv, stdin, secrets or {}, deadline, repeatable=repeatable)
            except _AnswerLostError as lost:
                if not repeatable or time.monotonic() > deadline:
                    raise TimeoutError(str(lost)) from lost
            except _NotOverError as late:
                raise TimeoutError(f"took longer than {timeout:.0f} s") from late

    def _run(
        self, argv: Sequence[str], stdin: bytes, secrets: Mapping[str, str], deadline: float, *, repeatable: bool
    ) -> Completed:
        arguments: dict[str, object] = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        if stdin:
            arguments["input-data"] = base64.b64encode(stdin).decode()
        if secrets:
            arguments["env"] = [_PATH, *(f"{name}={value}" for name, value in secrets.items())]
        try:
            left = max(0.0, deadline - time.monotonic())
            patience = min(self._patience, left) if repeatable else 0  # twice would run it twice
            answer = self._command("guest-exec", arguments, patience)
        except AgentRefused as refused:
            if "failed to execute child" in str(refused).lower():
                return Completed(_EXIT_NOT_FOUND, str(refused))
            raise
        pid = answers.number(answer, "pid")
        pause = _FIRST_PAUSE
        finished = False
        try:
            while not answers.flag(status := self._status(pid, argv[0], deadline), "exited"):
                if time.monotonic() > deadline:
                    raise _NotOverError
                self._cancel.wait(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
            finished = True
        finally:
            if not finished:
                self._kill(pid)
        output = b"".join(answers.data(status, part) for part in ("out-data", "err-data"))
        return Completed(_exit_code(status), output[-_OUTPUT_KEPT:].decode(errors="replace"))

    def read_file(self, path: str, *, limit: int = _FILE_LIMIT, timeout: float = _FILE_TIMEOUT) -> bytes:
        """Read a whole file of at most `limit` bytes, within `timeout` seconds in all.

        Raises:
            FileNotFoundError: there is none.
            AgentRefused: it is larger, or what is read makes no sense.
            TimeoutError: it took longer.
        """
        deadline = time.monotonic() + timeout
        # From the beginning each time: after a read whose answer was lost the agent would go on behind it.
        return self._patiently(lambda: self._read_file(path, limit, deadline), min(self._patience, timeout))

    def write_file(self, path: str, content: bytes) -> None:
        """Write a whole file, of no more than the agent takes in one piece; what is there is replaced."""
        # From the beginning each time, as in reading; what is written may lie in the agent's buffer until it is closed.
        self._patiently(lambda: self._write_file(path, content), self._patience)

    def _write_file(self, path: str, content: bytes) -> None:
        handle = answers.whole(self._ask("guest-file-open", {"path": path, "mode": "w"}), "handle")
        try:
            encoded = base64.b64encode(content).decode()
            answer = self._ask("guest-file-write", {"handle": handle, "buf-b64": encoded})
            if answers.number(answer, "count") != len(content):
                raise AgentRefused(f"{path} was not written whole")
        finally:
            self._ask("guest-file-close", {"handle": handle})

    def set_password(self, user: str, password: str) -> None:
        """Set an account's password."""
        encoded = base64.b64encode(password.encode()).decode()
        self._command("guest-set-user-password", {"username": user, "password": encoded, "crypted": False})

    def addresses(self, mac: str) -> list[str]:
        """The addresses that the guest's card of this MAC has, IPv4 first."""
        return answers.addresses(self._command("guest-network-get-interfaces"), mac)

    def _status(self, pid: int, program: str, deadline: float) -> Any:
        patience = min(self._patience, max(0.0, deadline - time.monotonic()))
        try:
            return self._command("guest-exec-status", {"pid": pid}, patience=patience)
        except AgentRefused as refused:
            if "invalid parameter" in str(refused).lower():  # it forgets a program once it has reported its end
                raise _AnswerLostError(f"{program} ended, but the guest agent's answer of how was lost") from refused
            raise

    def _read_file(self, path: str, limit: int, deadline: float) -> bytes:
        try:
            handle = answers.whole(self._ask("guest-file-open", {"path": path, "mode": "r"}), "handle")
        except AgentRefused as refused:
            if "no such file" in str(refused).lower():
                raise FileNotFoundError(path) from refused
            raise
        content = b""
        try:
            while True:
                part = self._ask("guest-file-read", {"handle": handle, "count": _CHUNK})
                more = answers.data(part, "buf-b64")
                content += more
                if len(content) > limit:  # /dev/zero has no end
                    raise AgentRefused(f"{path} has more than {limit} bytes")
                if answers.flag(part, "eof") or not more:
                    return content
                self._cancel.check()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"reading {path} took too long")
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
        return answers.returned(answer)


def _exit_code(status: Any) -> int:
    """How a program ended, as a shell says it."""
    if "exitcode" in status:
        return answers.number(status, "exitcode", _EXIT_CODES)
    return 128 + (answers.number(status, "signal", _SIGNALS) if "signal" in status else 0)
