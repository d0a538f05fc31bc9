"""Several scripts as one, for hosts that count how often they are asked to run one, and its output taken apart again.

Each script's output comes as base64 in a line of its own when the script ends. So nothing that a script says can be
taken for another's, and what a host cuts off at the beginning costs the output of the first scripts alone.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Sequence

from cloudpc.model.guests import Completed, Script

ROOM = 4000
"""Characters of its output that a host keeps; Azure the last 4,096."""
_MARK, _LATE = "cloudpc-script", "late"
_OF_A_LINE = 40
"""Characters of it at most that are no output."""
_LINE = re.compile(rf"^{_MARK} (\d+) (\d+|{_LATE}) ([A-Za-z0-9+/]*={{0,2}})\s*$", re.MULTILINE)
_BESIDES = 10.0
"""Seconds for each script that are not its own."""
# Who watches the time has a session of its own, as scripts have: both are ended with all that they have started, also
# where somebody else ends the shell that runs them, and its session with it.
_ONE = """
one() { # NUMBER SECONDS KEPT COMMAND...: runs it with $folder/in as its input
    number=$1 seconds=$2 kept=$3
    shift 3
    rm -f "$folder/late"
    "$@" < "$folder/in" > "$folder/out" 2>&1 &
    running=$!
    setsid /bin/sh -c 'sleep "$1"; : > "$2"; kill -KILL "-$3" || kill -KILL "$3"' \\
        watch "$seconds" "$folder/late" "$running" < /dev/null > /dev/null 2>&1 &
    watch=$!
    printf '%s %s' "$watch" "$running" > "$folder/now"
    wait "$running"
    code=$?
    [ ! -e "$folder/late" ] || code=late
    kill -KILL "-$watch" 2> /dev/null
    printf 'cloudpc-script %s %s %s\\n' "$number" "$code" "$(tail -c "$kept" "$folder/out" | base64 | tr -d '\\n')"
}
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT || exit 1
setsid /bin/sh -c '
    while kill -0 "$1" && [ -d "$2" ]; do sleep 1; done
    for pid in $(cat "$2/now"); do kill -KILL "-$pid" || kill -KILL "$pid"; done
    rm -rf "$2"
' guard $$ "$folder" < /dev/null > /dev/null 2>&1 &
"""


def joined(scripts: Sequence[Script], room: int = ROOM) -> Script:
    """One script that runs these in their order, whatever becomes of each; it reads nothing.

    Args:
        scripts: some.
        room: characters of the output that the host keeps.
    """
    kept = kept_of_each(scripts, room)
    secrets = {secret_of(number, name): v for number, each in enumerate(scripts) for name, v in each.secrets.items()}
    parts = [_part(number, each, kept, list(secrets)) for number, each in enumerate(scripts)]
    return Script(
        text=_ONE + "\n".join(parts),
        timeout=sum(each.timeout + _BESIDES for each in scripts),
        title=", ".join(each.title for each in scripts if each.title),
        name=scripts[0].name,
        secrets=secrets,
        repeatable=all(each.repeatable for each in scripts),
    )


def apart(scripts: Sequence[Script], ended: Completed) -> list[Completed]:
    """What became of each, from what the joined one has said: those of which it said nothing were not run to an end."""
    said = {int(number): (code, output) for number, code, output in _LINE.findall(ended.output)}
    return [_completed(each, *said.get(number, ("", ""))) for number, each in enumerate(scripts)]


def reached(ended: Completed) -> int:
    """How many of them came to an end, from what the joined one has said so far."""
    return max((int(number) + 1 for number, _code, _output in _LINE.findall(ended.output)), default=0)


def _completed(script: Script, code: str, output: str) -> Completed:
    if not code.isdigit():
        why = f"took longer than {script.timeout:.0f} s" if code == _LATE else "did not come to an end"
        return Completed(124, why, timed_out=True)
    return Completed(int(code), base64.b64decode(output).decode(errors="replace"))


def kept_of_each(scripts: Sequence[Script], room: int) -> int:
    """Bytes of its output that each may say."""
    return max(0, (room // len(scripts) - _OF_A_LINE) // 4 * 3)


def secret_of(number: int, name: str) -> str:
    """The variable of the joined one that holds a secret of one of them."""
    return f"CLOUDPC_{number}_{name}"


def _part(number: int, script: Script, kept: int, all_secrets: Sequence[str]) -> str:
    """Runs in a shell of its own, whose environment has this script's secrets only."""
    own = [f'export {name}="${secret_of(number, name)}"' for name in script.secrets]
    forgotten = [f"unset {' '.join(all_secrets)}"] if all_secrets else []
    data = base64.b64encode(script.stdin).decode()
    command = shlex.join(["one", str(number), f"{script.timeout:.3f}", str(kept), *script.argv])
    return "\n".join(["(", *own, *forgotten, "base64 -d > \"$folder/in\" <<'END'", data, "END", command, ")"])
