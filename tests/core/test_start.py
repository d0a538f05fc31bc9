"""An interrupt while the command still reads its modules: no traceback, 130; afterwards commands end in order."""

from __future__ import annotations

import subprocess
import sys

_INTERRUPTED_AT = """
import os, signal, sys
from cloudpc.cli import start

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
sys.argv = ["cloudpc", "--version"]
start.main()
"""
_AFTERWARDS = """
import signal, sys
from cloudpc.cli import start

sys.argv = ["cloudpc", "--version"]
try:
    start.main()
finally:
    print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def _run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_an_interrupt_while_modules_are_read_says_nothing() -> None:
    for module in ("typer", "cloudpc.cli.down"):
        ran = _run(_INTERRUPTED_AT.format(module=module))
        assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_afterwards_an_interrupt_is_the_command_s() -> None:
    ran = _run(_AFTERWARDS)
    assert ran.stdout.split("\n")[-2] == "True", ran
