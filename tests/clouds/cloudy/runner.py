"""The cloud's own program in a guest: runs the scripts of one command, and ends what takes too long.

Started in the command's folder; what to run is read, so that no command line and no file shows a secret.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


def end_with_all(process: int) -> None:
    """End a process and all that it has started, whatever sessions those are in."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    for one in found:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def main() -> None:
    """Run each, and write how it ended: its exit code, or nothing if its time was over."""
    for number, step in enumerate(json.load(sys.stdin)):
        script = Path(f"{number}.script")
        script.write_text(step["script"])
        with Path(f"{number}.output").open("wb") as output:
            process = subprocess.Popen(
                ["/bin/sh", str(script)], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], **step["environment"]},
            )  # fmt: skip
            try:
                code = str(process.wait(step["seconds"]))
            except subprocess.TimeoutExpired:
                end_with_all(process.pid)
                process.wait()
                code = ""
        new = Path(f"{number}.new")
        new.write_text(code)
        new.rename(f"{number}.code")


if __name__ == "__main__":
    main()
