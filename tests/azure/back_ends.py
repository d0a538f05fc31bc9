"""What a virtual machine of the fake Azure really is: nothing but canned answers, or (elsewhere) a real guest."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tests.azure.errors import ArmFault

Power = Literal["start", "powerOff", "deallocate", "restart", "redeploy"]


@dataclass(frozen=True)
class Vm:
    """A virtual machine, as a back end sees it.

    Args:
        id: its resource id.
        name: its resource name.
        os: of its image.
        address: private address of its network interface.
        body: what it was ordered with, secrets included.
        vcpus: of its size.
        memory_mb: of its size.
    """

    id: str
    name: str
    os: Literal["Linux", "Windows"]
    address: str
    body: Mapping[str, Any]
    vcpus: int
    memory_mb: int

    @property
    def custom_data(self) -> bytes:
        """What cloud-init gets."""
        return base64.b64decode(self.body["properties"].get("osProfile", {}).get("customData", ""))

    @property
    def computer_name(self) -> str:
        """The guest's own name."""
        return str(self.body["properties"].get("osProfile", {}).get("computerName", self.name))


@dataclass(frozen=True)
class GuestStatus:
    """How a guest is at the moment.

    Args:
        provisioned: its system has told Azure that it is set up.
        agent: its agent answers.
        running: False: shut down from inside, and billed still.
        thumbprint: of RDP's certificate.
        failure: why it will never be set up.
    """

    provisioned: bool = True
    agent: bool = True
    running: bool = True
    thumbprint: str | None = None
    failure: ArmFault | None = None


@dataclass(frozen=True)
class Command:
    """A script that is to run in a guest.

    Args:
        script: its text.
        environment: parameters and protected parameters (on Windows they are arguments).
        timeout: seconds.
        cancelled: set when it is to end.
        name: of the run command.
    """

    script: str
    environment: Mapping[str, str]
    timeout: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    name: str = "script"


@dataclass(frozen=True)
class Outcome:
    """What came of a script."""

    exit_code: int = 0
    output: str = ""
    error: str = ""


class ComputeBackEnd(Protocol):
    """Real or pretended guests. All but `run` are called with the fake's lock held and must return at once."""

    prefix: str | None
    """Address prefix of the subnet that is ready-made: where guests answer; None: of no importance."""

    def created(self, vm: Vm) -> None:
        """Hardware was found: begin to boot. ArmFault: the operation ends with it."""

    def status(self, vm: Vm) -> GuestStatus:
        """How it is now; asked often."""

    def run(self, vm: Vm, command: Command) -> Outcome:
        """Run a script and wait for it, on a thread of its own. TimeoutError: it took too long."""

    def power(self, vm: Vm, action: Power) -> None:
        """Begin to do this."""

    def console(self, vm: Vm) -> bytes:
        """What it has written on its serial console."""

    def deleted(self, vm: Vm) -> None:
        """It is gone: end it and forget it."""


Answering = Outcome | Callable[[Vm, Command], Outcome]


class Table:
    """Guests that are nothing but a table: of scripts, by a text that is in them, and their answers."""

    prefix: str | None = None

    def __init__(self) -> None:
        self._answers: list[tuple[re.Pattern[str], Answering]] = []
        self.otherwise: Answering = Outcome()
        """The answer to all other scripts."""
        self.commands: list[tuple[str, Command]] = []
        """All that ran: the machine's name and the script."""
        self.states: dict[str, GuestStatus] = {}
        """Of machines by name that are not as they should be; `*` for all."""
        self.consoles: dict[str, bytes] = {}

    def answer(
        self, pattern: str, answering: Answering | None = None, *, output: str = "", error: str = "", exit_code: int = 0
    ) -> None:
        """Scripts in which this regular expression is found are answered so; the latest word counts."""
        found = Outcome(exit_code, output, error) if answering is None else answering
        self._answers.insert(0, (re.compile(pattern), found))

    # ---- ComputeBackEnd

    def created(self, vm: Vm) -> None:
        self.consoles.setdefault(vm.name, f"[    0.000000] Linux version 6.1.0\n{vm.computer_name} login: ".encode())

    def status(self, vm: Vm) -> GuestStatus:
        usual = GuestStatus(thumbprint="A1B2C3D4E5F60718293A4B5C6D7E8F9012345678" if vm.os == "Windows" else None)
        return self.states.get(vm.name) or self.states.get("*") or usual

    def run(self, vm: Vm, command: Command) -> Outcome:
        self.commands.append((vm.name, command))
        answering = next((a for pattern, a in self._answers if pattern.search(command.script)), self.otherwise)
        return answering if isinstance(answering, Outcome) else answering(vm, command)

    def power(self, vm: Vm, action: Power) -> None: ...

    def console(self, vm: Vm) -> bytes:
        return self.consoles.get(vm.name, b"")

    def deleted(self, vm: Vm) -> None:
        self.consoles.pop(vm.name, None)
