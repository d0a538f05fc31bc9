"""What runs in a guest: whole scripts, given together, since a cloud counts how often it is asked to run one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class Script:
    """A script that root runs in a guest, in a session of its own. What it says is its output and its errors alike.

    Args:
        text: of it; hosts and logs may show it, so it holds no secret.
        timeout: seconds it may take; what it has started ends with it.
        title: what users see while it runs; empty: nothing.
        name: what it calls itself.
        arguments: reach it as they are; no secrets either.
        stdin: what it reads; no secret either.
        secrets: variables of its environment, by name; nothing but its own processes sees them.
        interpreter: what is started; the text, the name and the arguments follow.
        repeatable: running it twice does no harm, so that a guest that does not answer may be asked again.
    """

    text: str
    timeout: float
    title: str = ""
    name: str = "script"
    arguments: tuple[str, ...] = ()
    stdin: bytes = field(default=b"", repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    interpreter: tuple[str, ...] = ("/bin/sh", "-c")
    repeatable: bool = False

    def __post_init__(self) -> None:
        for name in self.secrets:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a variable")

    @property
    def argv(self) -> tuple[str, ...]:
        """What is started in the guest."""
        return (*self.interpreter, self.text, self.name, *self.arguments)


@dataclass(frozen=True)
class Completed:
    """A script that ended in the guest, by itself or because its time was over."""

    exit_code: int
    output: str
    """The end of what it said; where it took too long, how long that was, in words."""
    timed_out: bool = False
