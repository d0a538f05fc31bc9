"""What a Linux guest would say to the driver's run commands, for the fake's table: nothing runs."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.azure.back_ends import Command, Outcome, Vm

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr1oZs1LkO8Ry5N2yp7aYz0kEJzq8nZhb3bJm1yQy7M azure"
RESULT = '{"v1": {"datasource": "DataSourceAzure [seed=/dev/sr0]", "errors": []}}\n'
FACTS = f'system PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nkey {KEY}\n'
_BEGIN = re.compile(r"^one \d+ [\d.]+ \d+ ", re.MULTILINE)
Said = str | Callable[[Vm, list[str]], str]


@dataclass
class LinuxAnswers:
    """Give it to the table: `arm.table.otherwise = LinuxAnswers()`. Each script of a joined one gets its own answer.

    Args:
        says: by a text that is in a script: what it says; the latest word counts.
        exits: in the same way its exit code; 0 otherwise.
        ran: names of the scripts that ran, with their machine's.
    """

    says: dict[str, Said] = field(default_factory=lambda: {"result.json": RESULT, "PRETTY_NAME": FACTS})
    exits: dict[str, int] = field(default_factory=dict)
    ran: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, vm: Vm, command: Command) -> Outcome:
        lines = [
            f"cloudpc-script {number} {self._code(argv)} {base64.b64encode(self._said(vm, argv).encode()).decode()}"
            for number, argv in _scripts(command.script)
        ]
        return Outcome(0, "\n".join([*lines, "cloudpc-done 0"]) + "\n")

    def _said(self, vm: Vm, argv: list[str]) -> str:
        self.ran.append((vm.name, argv[4] if len(argv) > 4 else argv[0]))
        found = next((said for text, said in reversed(self.says.items()) if _has(argv, text)), "")
        return found if isinstance(found, str) else found(vm, argv)

    def _code(self, argv: list[str]) -> int:
        return next((code for text, code in reversed(self.exits.items()) if _has(argv, text)), 0)


def _has(argv: list[str], text: str) -> bool:
    return any(text in word for word in argv)


def _scripts(text: str) -> Iterator[tuple[int, list[str]]]:
    """The scripts of a joined one (model/joined_scripts.py): their numbers, and what is started."""
    for begin in _BEGIN.finditer(text):
        words = shlex.shlex(text[begin.start() :], posix=True, punctuation_chars=False)
        words.whitespace_split, words.commenters = True, ""
        _one, number, _seconds, _kept, *argv = [word or "" for word in iter(words.get_token, ")")]
        yield int(number), argv
