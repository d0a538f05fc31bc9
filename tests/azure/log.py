"""The log of requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Logged:
    """A request that came in.

    Args:
        number: from 1 on.
        operation: its name in the contract; `poll` of an operation's status, `blob` of boot diagnostics.
        action: the right it needs, for example `Microsoft.Compute/virtualMachines/write`.
        status: of the answer; 0: there was none.
        body: its JSON.
        answer: JSON.
        code: of an error.
    """

    number: int
    method: str
    path: str
    query: str
    operation: str
    action: str
    status: int
    body: Any = None
    answer: Any = field(default=None, repr=False)

    @property
    def code(self) -> str | None:
        return (self.answer or {}).get("error", {}).get("code") if isinstance(self.answer, dict) else None

    def __str__(self) -> str:
        short = self.path.rpartition("/providers/")[2] if self.operation != "blob" else "…"
        code = f" {self.code}" if self.code else ""
        return f"{self.number:4d} {self.status or '---'} {self.method} {short} [{self.operation}]{code}"
