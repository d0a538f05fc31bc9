"""Virtual machines whose scripts run for real, in this machine's own shell: no guest, but quoting, secrets, tails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

from tests.azure.back_ends import Command, Outcome, Table, Vm

_FIXED = ("/run", "/var/lib/waagent/run-command-handler/download", "/var/lib/cloudpc/commands")


class Shell(Table):
    """A table (what it has an answer for is answered), and this machine's shell for all else.

    Args:
        folder: stands for those folders of a guest that scripts are kept in; may have a `bin` with other programs.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.otherwise = self.in_shell

    def in_shell(self, vm: Vm, command: Command) -> Outcome:
        """Run it here."""
        script = command.script
        for number, fixed in enumerate(_FIXED):
            place = self.folder / vm.name / str(number)
            place.mkdir(parents=True, exist_ok=True)
            script = re.sub(rf"(?<![\w.]){fixed}(?=[/\s])", str(place), script)
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        file = self.folder / vm.name / f"{len(self.commands)}.sh"
        file.write_text(script)
        file.chmod(0o700)
        with subprocess.Popen(
            [str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={"PATH": path, "HOME": str(self.folder), **command.environment},
        ) as process:
            return _followed(process, command)


def _followed(process: subprocess.Popen[bytes], command: Command) -> Outcome:
    left = command.timeout
    while True:
        try:
            output, error = process.communicate(timeout=0.05)
        except subprocess.TimeoutExpired:
            left -= 0.05
            if left > 0 and not command.cancelled.is_set():
                continue
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise TimeoutError from None
        return Outcome(process.returncode, output.decode(errors="replace"), error.decode(errors="replace"))
