"""A copied guest becomes one of its own: what is run in it, in which order, with which values."""

from __future__ import annotations

import subprocess
from uuid import UUID

from cloudpc.guests.linux import clone
from cloudpc.model.guests import Script, Seed

ID, MAC = UUID(int=7), "52:54:00:01:02:03"
SEED = Seed(meta_data="{}\n", user_data="#cloud-config\n{'name': 'Jörg'}\n")


def identify(machine_id: UUID = ID) -> Script:
    return clone.identify(machine_id, MAC, SEED)


def test_randomness_comes_before_anything_else() -> None:
    script = identify()
    lines = [line for line in script.text.splitlines() if line and not line.startswith(("sub ", " ", "}", "my ("))]
    assert lines[:2] == [
        "my $new = taken(64);",
        "open my $kernel, '+<', '/dev/urandom' or die \"/dev/urandom: $!\\n\";",
    ]
    assert "ioctl($kernel, 0x5207, 0)" in lines[2], "RNDRESEEDCRNG"
    assert clone.ENTROPY == 64
    assert len(script.stdin) == 64 + len(SEED.user_data.encode()) + len(SEED.meta_data)


def test_no_two_get_the_same() -> None:
    scripts = [identify(UUID(int=n)) for n in range(8)]
    assert len({script.stdin[: clone.ENTROPY] for script in scripts}) == 8
    for part in (1, 2, 3):  # machine-id, boot id, the firmware's UUID
        assert len({script.arguments[part] for script in scripts}) == 8
    assert scripts[7].arguments[1] == ID.hex
    assert scripts[7].arguments[3] == str(ID)
    assert not scripts[0].repeatable, "the randomness of a second run would be the first one's"


def test_too_little_randomness_ends_it() -> None:
    """Run for real, but for what it would change."""
    script = identify()
    text = script.text.split("open my $kernel", 1)[0] + "\nprint 'went on';"
    done = subprocess.run(
        ["perl", "-e", text, script.name, *script.arguments], input=b"x" * 63, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert b"went on" not in done.stdout
    assert b"too little was sent" in done.stderr


def test_it_is_perls_own_language_without_modules() -> None:
    text = identify().text
    assert subprocess.run(["perl", "-c", "-e", text], capture_output=True, check=False).returncode == 0
    assert "use " not in text, "micro has none of its modules"
