"""What a Linux guest says of itself, also one that has next to nothing."""

from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from cloudpc.guests.linux import extras, facts
from cloudpc.model.guests import Script


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """All the programs that a small image may be taken to have."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("head", "sed", "cut"):
        (folder / name).symlink_to(shutil.which(name) or name)
    return folder


@pytest.mark.parametrize(
    "script", [facts.script(), extras.keep_first_boot("/no/root").script], ids=lambda each: each.name
)
def test_an_image_without_setsid_is_asked_all_the_same(script: Script, programs: Path) -> None:
    ended = subprocess.run(
        script.argv, env={"PATH": str(programs)}, capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_its_desktop_is_known_by_the_sha256_of_its_certificate(programs: Path, tmp_path: Path) -> None:
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run([*make, "-subj", "/CN=x", "-keyout", str(key), "-out", str(made)], check=True, capture_output=True)
    der = ssl.PEM_cert_to_DER_cert(made.read_text())
    assert facts.read(_said(programs, desktop=made)).desktop == hashlib.sha256(der).hexdigest()
    assert facts.read("desktop AAA").desktop == ""
    assert facts.read("system x").desktop == ""


def test_what_it_says_is_read(programs: Path) -> None:
    assert facts.read(_said(programs)).version


_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@pytest.mark.parametrize(
    ("content", "proof"),
    [
        (f"{_KEY}\n", _KEY),
        (_KEY, _KEY),
        (f"\n\n{_KEY} root@cpc\n{_KEY[:-1]}A\n", _KEY),
        (f"\\{_KEY}\n", ""),
        ("x" * 70_000 + f"\n{_KEY}\n", ""),
        ("\n" * 70_000 + f"{_KEY}\n", ""),
        ("", ""),
    ],
    ids=["a line", "no end of line", "after empty ones", "a backslash", "a long line", "too far", "empty"],
)
def test_a_key_is_the_first_line_within_64_kib(programs: Path, tmp_path: Path, content: str, proof: str) -> None:
    key = tmp_path / "key"
    key.write_text(content)
    assert facts.read(_said(programs, key=key)).proof == proof


def test_a_file_without_an_end_is_read_for_a_moment_only(programs: Path) -> None:
    assert len(_said(programs, key=Path("/dev/zero"))) < 2_000
    assert len(_said(programs, key=Path("/dev/urandom"))) < 10_000


def _said(programs: Path, **files: Path) -> str:
    """What the script says: of this machine, but for the files that are given."""
    script = facts.script()
    names = ("system", "key", "device", "desktop")
    own = tuple(str(files.get(name, here)) for name, here in zip(names, script.arguments, strict=True))
    argv = replace(script, arguments=own).argv
    ended = subprocess.run(argv, env={"PATH": str(programs)}, capture_output=True, timeout=30, check=True)
    return ended.stdout.decode(errors="replace")
