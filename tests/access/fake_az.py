"""A program `az` that opens tunnels as the real one does, to a port of this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# as the real one: a shell script that starts Python as its child, and takes its time
_AZ = """#!/bin/bash
echo "$@" >'{folder}/arguments'
'{python}' '{folder}/forward.py' {target} "$@"
"""
_FORWARD = """
import os, pathlib, signal, socket, sys, threading, time
if {deaf}: signal.signal(signal.SIGTERM, signal.SIG_IGN)
port = int(sys.argv[sys.argv.index("--port") + 1])
pathlib.Path({folder!r}, "pid").write_text(str(os.getpid()))
time.sleep(0.3)
def copy(a, b):
    while data := a.recv(65536): b.sendall(data)
    b.shutdown(socket.SHUT_WR)
with socket.create_server(("127.0.0.1", port)) as server:
    while True:
        here, there = server.accept()[0], socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        for pair in ((here, there), (there, here)): threading.Thread(target=copy, args=pair, daemon=True).start()
"""


class FakeAz:
    """First on PATH; forwards to a port, whatever machine is named."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def says(self, script: str) -> None:
        (self.folder / "az").write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / "az").chmod(0o755)

    def forwards(self, target: int, *, deaf: bool = False) -> None:
        (self.folder / "forward.py").write_text(_FORWARD.format(folder=str(self.folder), deaf=deaf))
        (self.folder / "az").write_text(_AZ.format(folder=self.folder, python=sys.executable, target=target))
        (self.folder / "az").chmod(0o755)

    @property
    def arguments(self) -> list[str]:
        return (self.folder / "arguments").read_text().split()

    @property
    def is_running(self) -> bool:
        try:
            os.kill(int((self.folder / "pid").read_text()), 0)
        except ProcessLookupError:
            return False
        return True
