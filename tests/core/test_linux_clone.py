"""A copied guest becomes one of its own: what is run in it, in which order, with which values."""

from __future__ import annotations

import subprocess
from uuid import UUID

from cloudpc.guests.linux import clone

ID, MAC = UUID(int=7), "52:54:00:01:02:03"


def test_randomness_comes_before_anything_else() -> None:
    script = clone.identify(ID, MAC)
    first = next(line for line in script.text.splitlines() if line and not line.startswith(("set ", "reseed=")))
    assert script.text.splitlines()[1] == "set -eu"
    assert first == 'perl -e "$reseed"'
    assert len(script.stdin) == clone.ENTROPY == 64
    assert "0x5207" in script.arguments[0], "RNDRESEEDCRNG"


def test_no_two_get_the_same() -> None:
    scripts = [clone.identify(UUID(int=n), MAC) for n in range(8)]
    assert len({script.stdin for script in scripts}) == 8
    for part in (2, 3, 4):  # machine-id, boot id, the firmware's UUID
        assert len({script.arguments[part] for script in scripts}) == 8
    assert scripts[7].arguments[2] == ID.hex
    assert scripts[7].arguments[4] == str(ID)
    assert not scripts[0].repeatable, "the randomness of a second run would be the first one's"


def test_too_little_randomness_ends_it() -> None:
    """Run for real, but for what it would change."""
    script = clone.identify(ID, MAC)
    text = script.text.split("date -s", 1)[0] + "\necho went on"
    done = subprocess.run(
        ["/bin/sh", "-c", text, script.name, *script.arguments], input=b"x" * 63, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert b"went on" not in done.stdout
    assert b"no entropy" in done.stderr


def test_it_is_a_shells_own_language() -> None:
    assert subprocess.run(["/bin/sh", "-n", "-c", clone.identify(ID, MAC).text], check=False).returncode == 0
