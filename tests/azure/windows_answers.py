"""What a Windows guest would say to the driver's run commands, for the fake's table: nothing runs."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

from tests.azure.arm import FakeArm
from tests.azure.back_ends import Command, Outcome, Vm
from tests.azure.linux_answers import LinuxAnswers

SYSTEM, THUMBPRINT = "Windows 11 Enterprise 24H2", "AB" * 32
_ONE = re.compile(r"^One (\d+) [\d.]+ \d+ @'\n(.*?)\n'@", re.MULTILINE | re.DOTALL)
_DEVICE = re.compile(r"DeviceId : (\S+)")


@dataclass
class Answers:
    """Of guests of either system: `arm.table.otherwise = Answers(arm)`. Each script of a joined one gets its own.

    Args:
        arm: knows which machines have joined Entra.
        linux: what Linux guests say.
        exits: of scripts of Windows guests by a text that is in them: exit codes other than 0.
        ran: scripts of Windows guests that ran, with their machine's name.
    """

    arm: FakeArm
    linux: LinuxAnswers = field(default_factory=LinuxAnswers)
    exits: dict[str, int] = field(default_factory=dict)
    ran: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, vm: Vm, command: Command) -> Outcome:
        if vm.os == "Linux":
            return self.linux(vm, command)
        lines = []
        for number, text in _ONE.findall(command.script):
            self.ran.append((vm.name, text))
            code = next((code for part, code in self.exits.items() if part in text), 0)
            said = base64.b64encode(self._said(vm, text).encode()).decode()
            lines.append(f"cloudpc-script {number} {code} {said}")
        return Outcome(output="\r\n".join([*lines, "cloudpc-done 0", ""]))

    def _said(self, vm: Vm, text: str) -> str:
        if "dsregcmd" not in text:
            return ""
        device = _DEVICE.search(self.arm.entra.status(vm))
        lines = [f"system Microsoft {SYSTEM}", f"thumbprint {THUMBPRINT}", *([f"device {device[1]}"] if device else [])]
        return "".join(f"{line}\r\n" for line in lines)
