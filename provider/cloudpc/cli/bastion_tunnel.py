"""A tunnel by Azure Bastion, as long as it is needed: `az network bastion tunnel`, which only Microsoft's program has.

Whoever ends us ends it, too: it waits for the end of a pipe whose other end nobody has but us.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cloudpc.cli.loopback import free_port
from cloudpc.cli.output import CommandError, err
from cloudpc.model.access import Bastion
from cloudpc.model.text import command_line, last_lines

OPENING_SECONDS = 90.0
"""Until a tunnel that does not open is given up: `az` alone takes ten seconds to start on a slow machine."""
_PAUSE = 0.1
_READ = 4000
"""Where `az` fails, so many of the last bytes it printed are looked at."""
_LISTENS = "0A"
"""The state of a listening socket in /proc/net/tcp."""
# `az` is a shell script that starts Python as its child, so the whole group has to end
_ENDS_WITH_US = """exec 3<&0 </dev/null
{ trap '' TERM; cat <&3 >/dev/null; kill -TERM 0; sleep 1; kill -KILL 0; } &
exec 3<&-
exec "$@"
"""


def command(bastion: Bastion, port: int, here: int | None = None) -> list[str]:
    """The command line that opens a tunnel until it is interrupted.

    Args:
        bastion: by which one, to which machine.
        port: the machine's.
        here: the loopback's; None for a word that people replace.
    """
    return [
        "az", "network", "bastion", "tunnel", "--ids", bastion.bastion_id, "--target-resource-id", bastion.target_id,
        "--resource-port", str(port), "--port", "PORT" if here is None else str(here),
    ]  # fmt: skip


@contextlib.contextmanager
def opened(bastion: Bastion, port: int) -> Iterator[int]:
    """Give a port of the loopback that leads to this port of the machine, until the block ends, however it ends.

    Raises:
        CommandError: there is no `az`, with what to run elsewhere; or it did not open a tunnel, with what it said.
    """
    if shutil.which("az") is None:
        raise CommandError(
            f"there is no `az` on the PATH, which opens the tunnel of Azure Bastion {bastion.name}; install Azure CLI, "
            f"or run where it is\n  {command_line(*command(bastion, port))}\n"
            "and connect to that port of its loopback, with what `cloudpc credentials` shows"
        )
    here = free_port()
    err.print(f"cloudpc: opening a tunnel by Azure Bastion {bastion.name}")
    with tempfile.TemporaryFile() as said, _started(command(bastion, port, here), said) as process:
        _wait_until_open(process, here, said, bastion)
        yield here


@contextlib.contextmanager
def _started(argv: list[str], said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        ["/bin/sh", "-c", _ENDS_WITH_US, *argv[:1], *argv],
        stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.stdin:
            process.stdin.close()
        process.wait()


def _wait_until_open(process: subprocess.Popen[bytes], port: int, said: IO[bytes], bastion: Bastion) -> None:
    deadline = time.monotonic() + OPENING_SECONDS
    while not _is_listening(port):
        if process.poll() is not None:
            reason = f"`az` ended with {process.returncode}"
        elif time.monotonic() > deadline:
            reason = f"`az` opened no port within {OPENING_SECONDS:.0f} s"
        else:
            time.sleep(_PAUSE)
            continue
        said.seek(max(0, said.seek(0, os.SEEK_END) - _READ))
        words = last_lines(said.read().decode("utf-8", "replace"))
        raise CommandError(f"the tunnel by Azure Bastion {bastion.name} did not open: {reason}: {words}")


def _is_listening(port: int) -> bool:
    """Without connecting, which would have Bastion connect as well."""
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, address, _, state, *_ = line.split()
        if state == _LISTENS and int(address.rpartition(":")[2], 16) == port:
            return True
    return False
