"""What an installation has on a host, seen from outside: by libvirt, in its folders, among the kernel's processes.

The driver is not asked: what it does not know is what a leak is made of.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from uuid import UUID

import libvirt

from cloudpc.machines.libvirt.networks import PORTS
from cloudpc.model.machine_names import machine_name

_FOLDERS = ("var/lib/libvirt", "var/cache/libvirt", "etc/libvirt", "run/libvirt")
"""Where a system's libvirt keeps things. Its log of each domain is not among them: libvirt itself keeps that."""

_LISTENING = "0A"
_LOOK_EVERY = 0.03


def things(installation: str, uri: str, root: Path = Path("/")) -> dict[str, list[str]]:
    """All there is, by kind; kinds of which there is nothing are left out. Processes are those of all hosts here."""
    prefix = machine_name(installation, UUID(int=0)).removesuffix("0" * 12)
    connection = libvirt.open(uri)
    try:
        domains = [domain.name() for domain in connection.listAllDomains()]
        pools = connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
        volumes = [volume.name() for pool in pools for volume in pool.listAllVolumes()]
    finally:
        connection.close()
    found = {
        "domain": [name for name in domains if name.startswith(prefix)],
        "volume": [name for name in volumes if name.startswith(prefix)],
        "file": [str(path) for folder in _folders(root) for path in folder.rglob(f"*{prefix}*")],
        "process": [line.decode() for line in command_lines() if f"guest={prefix}".encode() in line],
    }
    return {kind: sorted(names) for kind, names in found.items() if names}


def listening() -> set[int]:
    """The ports given to guests on which something listens here."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {port for line in lines if line[3] == _LISTENING and (port := int(line[1].split(":")[1], 16)) in PORTS}


def command_lines() -> Iterator[bytes]:
    """Those of all processes, their arguments separated by spaces."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield (process / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue  # it has ended


class CommandLines:
    """Every command line that anybody on this machine could have read, for as long as the block lasts."""

    def __enter__(self) -> Self:
        self.seen: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def with_(self, secret: str) -> list[bytes]:
        """Those that give this secret away."""
        return [line for line in self.seen if any(form in line for form in _forms(secret))]

    def _look(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            self.seen.update(command_lines())


def files_with(secret: str, *folders: Path) -> list[Path]:
    """Files that hold this secret."""
    found = []
    for folder in folders:
        for place, _folders_in, names in os.walk(folder):
            for path in (Path(place, name) for name in names):
                if path.is_file() and any(form in path.read_bytes() for form in _forms(secret)):
                    found.append(path)
    return found


def _forms(secret: str) -> tuple[bytes, bytes]:
    """As it is, and as the guest agent's protocol carries it."""
    return secret.encode(), base64.b64encode(secret.encode())


def _folders(root: Path) -> list[Path]:
    if os.geteuid() == 0:
        return [root / folder for folder in _FOLDERS]
    home = Path.home()
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or home / ".cache")
    return [home / ".config/libvirt", home / ".local/share/libvirt", home / ".local/share/cloudpc", runtime / "libvirt"]
