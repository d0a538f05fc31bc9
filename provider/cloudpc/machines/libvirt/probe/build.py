"""Makes rom.z from rom.S with GNU binutils: `python -m cloudpc.machines.libvirt.probe.build`.

Only needed after a change of rom.S; a test compares the two where binutils are installed.
"""

from __future__ import annotations

import subprocess
import tempfile
import zlib
from pathlib import Path

_HERE = Path(__file__).parent


def assemble() -> bytes:
    """The ROM's bytes, from its source."""
    with tempfile.TemporaryDirectory() as folder:
        code, binary = Path(folder, "rom.o"), Path(folder, "rom")
        subprocess.run(["as", "--64", "-o", code, _HERE / "rom.S"], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", code, binary], check=True)
        return binary.read_bytes()


if __name__ == "__main__":
    (_HERE / "rom.z").write_bytes(zlib.compress(assemble(), 9))
