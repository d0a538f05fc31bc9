"""Waiting for a guest's first boot: led by events, noticing at once when it dies."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import libvirt

from cloudpc.guests.linux.first_boot_end import RESULT_FILE, errors_in
from cloudpc.machines.libvirt.agent import Agent, AgentUnavailable
from cloudpc.machines.libvirt.answers import AgentRefused
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.console import Console
from cloudpc.machines.libvirt.definitions import agent_is_connected, find_domain, is_running
from cloudpc.machines.libvirt.errors import classified, classify, is_connection_error
from cloudpc.machines.libvirt.events import Happening
from cloudpc.model.errors import ErrorCode, ProvisioningError, unexpected_told
from cloudpc.model.watch import Watch

_LOOK_EVERY = 0.1
_ASK_EVERY = 0.2
_LISTEN_FOR = 5.0
"""Seconds after which the agent is asked, and the domain looked at, though no event has said anything."""
_ANSWER_WITHIN = 2
_LAST_WORDS = 0.5
_RESULT_LIMIT, _RESULT_TIMEOUT = 256 * 1024, 30.0
_NEVER_ALLOWED = ("has been disabled", "has not been found", "not been enabled")
"""How an agent refuses commands that its image forbids or that it lacks: waiting changes nothing."""


@dataclass(frozen=True)
class Answer:
    """What the guest says of its first boot."""

    so_far: str
    done: bool = False
    errors: tuple[str, ...] = ()
    lost: ProvisioningError | None = None


class FirstBoot:
    """One wait for one machine."""

    def __init__(self, connection: Connection, machine_id: UUID, console: Console | None) -> None:
        self._connection = connection
        self._id = machine_id
        self._console = console
        self._look_at = 0.0

    def wait(self, watch: Watch) -> None:
        """Return when first-boot set-up is done; see `Making.wait_ready`."""
        timeout = watch.remaining
        self._look_at = time.monotonic() + _LISTEN_FOR
        with self._connection.watchers.watch(self._id) as happenings:
            # Watched from before the first look, so that nothing can happen in between unseen.
            domain = self._running_domain()
            with _Questions(domain) as questions:
                while not self._is_over(happenings, questions):
                    watch.check()
                    if watch.remaining == 0:
                        message = f"The guest was not ready within {timeout:.0f} s: {questions.answer.so_far}"
                        hint = "If it is merely slow: timeouts.firstBootInSeconds in the policy."
                        raise self._failed(ErrorCode.BOOT_TIMEOUT, message, hint)

    def _running_domain(self) -> Any:
        with classified("look for the machine"):
            domain = find_domain(self._connection.get(), self._id)
            if domain is None or not is_running(domain):
                raise self._died("The machine is not running")
            return domain

    def _is_over(self, happenings: queue.SimpleQueue[Happening], questions: _Questions) -> bool:
        """Wait a moment for something to happen; raises if the boot has failed."""
        try:
            happening = happenings.get(timeout=_LOOK_EVERY)
        except queue.Empty:
            if time.monotonic() > self._look_at:
                self._look_at = time.monotonic() + _LISTEN_FOR
                self._running_domain()
        else:
            self._react(happening, questions)
        if self._console is not None and self._console.panicked:
            raise self._died("The guest's kernel panicked")
        answer = questions.answer
        if answer.lost is not None:
            raise answer.lost
        if answer.errors:
            message = f"First-boot set-up failed: {'; '.join(answer.errors)}"
            raise self._failed(ErrorCode.FIRST_BOOT_FAILED, message)
        return answer.done

    def _react(self, happening: Happening, questions: _Questions) -> None:
        match happening:
            case Happening.STOPPED:
                raise self._died("The guest stopped during its first boot")
            case Happening.CRASHED:
                raise self._died("The guest crashed during its first boot")
            case Happening.DISK_FAILED:
                message = "The guest was paused because its disk could not be written; the host's storage may be full"
                raise self._failed(ErrorCode.STORAGE_FULL, message)
            case Happening.CONNECTION_LOST:
                raise ProvisioningError(
                    ErrorCode.HOST_UNREACHABLE, "The connection to libvirt broke while the guest was booting."
                )
            case Happening.AGENT_CONNECTED:
                questions.connected.set()
            case Happening.AGENT_DISCONNECTED:
                questions.connected.clear()

    def _died(self, what: str) -> ProvisioningError:
        if self._console is not None:
            self._console.drain(_LAST_WORDS)
        return self._failed(ErrorCode.GUEST_DIED, what)

    def _failed(self, code: ErrorCode, message: str, hint: str = "") -> ProvisioningError:
        tail = "" if self._console is None else self._console.tail()
        return ProvisioningError(code, f"{message}.", console=tail, hint=hint)


class _Questions:
    """Asks the agent again and again, on a thread of its own: who waits must stay free to be cancelled.

    Only while the agent has its channel open: a question to one that has not would wait in libvirtd, which works
    on no more than five calls of a client at once.
    """

    def __init__(self, domain: Any) -> None:
        self._agent = Agent(domain, answer_within=_ANSWER_WITHIN, patience=0)
        self._stopped = threading.Event()
        self.connected = threading.Event()
        self.answer = Answer("the guest agent has not reported yet")
        with classified("look at the guest agent's channel"):
            if agent_is_connected(domain.XMLDesc(0)):
                self.connected.set()
        self._thread = threading.Thread(target=self._ask, name="first-boot", daemon=True)

    def __enter__(self) -> _Questions:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.connected.set()

    def _ask(self) -> None:
        while not (self._stopped.is_set() or self.answer.done or self.answer.lost):
            # An event can get lost where libvirtd is hard pressed; measured once in some hundred boots at full load.
            self.connected.wait(_LISTEN_FOR)
            if not self._stopped.is_set():
                self.answer = self._answered()
                self._stopped.wait(_ASK_EVERY)

    def _answered(self) -> Answer:
        """This thread has to live for as long as somebody waits for what it hears."""
        try:
            with unexpected_told(f"asking the guest agent for {RESULT_FILE}"):
                return self._question()
        except ProvisioningError as error:
            return Answer("", lost=error)

    def _question(self) -> Answer:
        try:
            result = self._agent.read_file(RESULT_FILE, limit=_RESULT_LIMIT, timeout=_RESULT_TIMEOUT)
        except TimeoutError as error:
            return Answer(f"the guest agent is too slow ({error})")
        except AgentUnavailable:
            return Answer("the guest agent was there, but does not answer")
        except FileNotFoundError:
            return Answer("the guest agent answers, but first-boot set-up is not done")
        except AgentRefused as refused:
            return _refused(refused)
        except libvirt.libvirtError as error:
            if is_connection_error(error):
                return Answer("", lost=classify(error, "ask the guest agent"))
            return Answer(f"the guest agent cannot be asked ({error.get_error_message()})")
        errors = errors_in(result)
        if errors is None:
            return Answer(f"{RESULT_FILE} is not complete")
        return Answer("first-boot set-up is done", done=True, errors=tuple(errors))


def _refused(refused: AgentRefused) -> Answer:
    so_far = f"the guest agent cannot read {RESULT_FILE} ({refused})"
    if not any(sign in str(refused) for sign in _NEVER_ALLOWED):
        return Answer(so_far)
    return Answer(
        so_far,
        lost=ProvisioningError(
            ErrorCode.FIRST_BOOT_FAILED,
            f"{so_far[0].upper()}{so_far[1:]}.",
            retriable=False,
            hint="The image's guest agent must allow guest-exec and guest-file-*: /etc/sysconfig/qemu-ga in Fedora's "
            "kin; see docs/images.md.",
        ),
    )
