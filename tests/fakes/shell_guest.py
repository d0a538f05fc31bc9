"""A guest that is this machine: runs scripts of tests for real, as a user of it would see them run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile

from cloudpc.model.guests import Completed, Script
from cloudpc.model.watch import Watch

_TAIL = 64 * 1024


def run(script: Script, watch: Watch) -> Completed:
    """Run it, within its time and the watch's. Raises Cancelled."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(script.stdin)
        given.seek(0)
        environment = {"PATH": os.environ["PATH"], **script.secrets}
        process = subprocess.Popen(  # which makes a session of its own
            script.argv, stdin=given, stdout=said, stderr=subprocess.STDOUT, env=environment
        )
        within, pause = watch.within(script.timeout), 0.001
        try:
            while process.poll() is None and within.remaining:
                within.wait(pause)
                pause = min(2 * pause, 0.1)
            timed_out = process.poll() is None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.wait()
        if timed_out:
            return Completed(124, f"took longer than {script.timeout:.0f} s", timed_out=True)
        said.seek(max(0, said.seek(0, os.SEEK_END) - _TAIL))
        return Completed(process.returncode, said.read().decode("utf-8", "replace"))
