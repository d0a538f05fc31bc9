"""Running the host's programs for a build: progress out of their output, and no half-finished work on Ctrl-C."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cloudpc.model.errors import ErrorCode, ProvisioningError

Note = Callable[[str], None]

# program: Debian package. mke2fs and debugfs live in sbin, which is not on an ordinary user's path.
PROGRAMS = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "qemu-img": "qemu-utils",
    "tar": "tar",
}
PROGRAMS_WITHOUT_ROOT = {"newuidmap": "uidmap", "unshare": "util-linux"}
_RESTRICTION = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
"""Ubuntu's, since 23.10: where it is 1, user namespaces give no rights to programs without an AppArmor profile."""
NO_RANGE = "this user has no range of subordinate ids, which building without root needs"
HINT_FOR_RANGE = 'sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 "$USER"'
SECONDS_TO_CLEAN_UP = 60
"""How long a program that was asked to stop may take to remove its temporary files."""


def environment() -> dict[str, str]:
    """The environment for builds: sbin on the path, one language, so that messages and sorting are always the same."""
    path = os.environ.get("PATH", os.defpath)
    return os.environ | {"PATH": f"{path}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}


def require_programs() -> None:
    """Raises ProvisioningError naming all missing programs at once and the packages that have them.

    Also where they are all there, but this system does not let them own files as root does.
    """
    needed = PROGRAMS if os.geteuid() == 0 else PROGRAMS | PROGRAMS_WITHOUT_ROOT
    path = environment()["PATH"]
    missing = {program: package for program, package in needed.items() if not shutil.which(program, path=path)}
    if missing:
        raise ProvisioningError(
            ErrorCode.IMAGE_NOT_FOUND,
            f"Building an image needs {', '.join(missing)}, not installed here.",
            retriable=False,
            hint=f"sudo apt-get install {' '.join(sorted(set(missing.values())))}",
        )
    refusal = _refusal_of_rights()
    if refusal is None:
        return
    # `unshare` reads both files before it asks the system for anything, and names the one that has no range.
    if "/etc/subuid" in refusal or "/etc/subgid" in refusal:
        message, hint = f"An image cannot be built: {NO_RANGE}.", HINT_FOR_RANGE
    else:
        message = "Building an image without root needs user namespaces, and this system's AppArmor restricts them"
        message += f" ({refusal})." if refusal else "."
        hint = (
            "Build it as root, or lift that for all programs until the next boot: "
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False, hint=hint)


def _refusal_of_rights() -> str | None:
    """What was said where `as_root` gives no rights; None: it gives them. Asked only where they may be missing."""
    if os.geteuid() == 0 or not _RESTRICTION.exists() or _RESTRICTION.read_text().strip() == "0":
        return None
    argv = [*as_root(), "setpriv", "--reuid=1", "--clear-groups", "true"]
    asked = subprocess.run(
        argv, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    return " | ".join(asked.stderr.splitlines()) if asked.returncode else None


def as_root() -> list[str]:
    """Prefix of a command that has to own files as root does: a user namespace, unless we are root."""
    return [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--map-auto"]


class ToolError(Exception):
    """A program ended with an error."""

    def __init__(self, program: str, status: int, lines: Sequence[str]) -> None:
        super().__init__(f"{program} ended with exit code {status}: {' | '.join(lines[-3:])}")
        self.lines = tuple(lines)


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Note | None = None,
) -> None:
    """Run a program to its end; its output goes line by line to `on_line`, the last lines into the error.

    It runs in a session of its own, so that Ctrl-C reaches us first: then it is asked to stop and given time to clean
    up after itself before the exception goes on.

    Raises:
        ToolError: it ended with a status other than 0.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment() | dict(env or {}),
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines: deque[str] = deque(maxlen=60)
    assert process.stdout is not None  # noqa: S101 - asked for above
    with process.stdout:
        try:
            if process.stdin is not None and stdin is not None:
                process.stdin.write(stdin)
                process.stdin.close()
            for raw in process.stdout:
                line = re.split(r"\r", raw.rstrip("\r\n"))[-1]
                lines.append(line)
                if on_line:
                    on_line(line)
            process.wait()
        except BaseException:
            # not left to Popen's own `with`, which waits for the program to end by itself
            _stop(process)
            raise
    if process.returncode:
        raise ToolError(argv[0], process.returncode, list(lines))


_MOST_MEMORY = 2 << 30
_MOST_SECONDS = 120


def run_limited(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program that reads what others have made: little time and memory, and nothing that it may write.

    One that passes its limits ends with a code of its own or by a signal. Raises FileNotFoundError.
    """
    for program in ("prlimit", "timeout", argv[0]):
        if shutil.which(program, path=environment()["PATH"]) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), program)
    limits = [f"--as={_MOST_MEMORY}", f"--cpu={_MOST_SECONDS}", "--fsize=0", "--core=0"]
    wait = ["timeout", "--signal=KILL", str(2 * _MOST_SECONDS)]  # for one that only sleeps
    return subprocess.run(
        ["prlimit", *limits, "--", *wait, *argv],
        env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip


def _stop(process: subprocess.Popen[str]) -> None:
    """End a program and everything it started."""
    for number, patience in ((signal.SIGINT, SECONDS_TO_CLEAN_UP), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
        return
