"""The shell scripts of run commands as Azure gets them: each runs once, and what became of it can be asked for."""

from __future__ import annotations

import re

MEMORY = "/var/lib/cloudpc/commands"
"""Folder in guests in which scripts leave what they have said: it is there after a restart, too."""
KEPT = "/var/lib/waagent/run-command-handler/download"
"""Where Azure's agent keeps scripts."""
DONE = re.compile(r"^cloudpc-done (\d+)\s*\Z", re.MULTILINE)
"""The last line of what a script has said that came to its end."""
_AT_WORK = re.compile(r"^cloudpc-at-work\s*\Z", re.MULTILINE)

# Azure may start a command twice, where it was asked twice because its first answer was lost: the second only repeats
# what the first has said. Azure's agent keeps each script in a folder of its own; each script removes those of
# earlier ones, so that the last one, which sets a password and holds nothing, is the only one that stays.
_ONCE = """#!/bin/sh
name=%(name)s
folder=%(memory)s/$name
mkdir -p %(memory)s
if mkdir -m 700 "$folder"; then
    echo $$ > "$folder/pid"
    cat /proc/sys/kernel/random/boot_id > "$folder/boot"
    {
        (
%(text)s
        )
        code=$?
        for old in %(memory)s/cloudpc-* %(kept)s/cloudpc-*; do
            [ "${old##*/}" = "$name" ] || rm -rf "$old"
        done
        printf 'cloudpc-done %%s\\n' "$code"
    } 2>&1 | tee "$folder/saying"
    mv "$folder/saying" "$folder/said"
elif [ -d "$folder" ]; then
    until [ -e "$folder/said" ]; do sleep 1; done
    cat "$folder/said"
else
    exit 1
fi
"""
_ASKS = """#!/bin/sh
folder=%(memory)s/%(name)s
if [ -e "$folder/said" ]; then
    tail -c 4050 "$folder/said"
    exit 0
fi
tail -c 4050 "$folder/saying" 2>/dev/null
boot=$(cat /proc/sys/kernel/random/boot_id)
if [ "$(cat "$folder/boot")" = "$boot" ] && kill -0 "$(cat "$folder/pid")"; then
    echo 'cloudpc-at-work'
else
    echo 'cloudpc-cut-off'
fi 2>/dev/null
"""


def once(name: str, text: str) -> str:
    """A shell script that runs once, whoever starts it again.

    Args:
        name: of the command.
        text: of the script.
    """
    return _ONCE % {"name": name, "text": text, "memory": MEMORY, "kept": KEPT}


def asks(name: str) -> str:
    """Asks the guest what became of the script of this name: it says so, or that it is at work, or was cut off."""
    return _ASKS % {"name": name, "memory": MEMORY}


def is_at_work(said: str) -> bool:
    """Whether the guest says of a script that it has not ended yet, and that nobody has ended it."""
    return _AT_WORK.search(said) is not None
