"""A check: what was looked at, how it is, and what to do about it. For hosts, tenants and network connections alike.

Statuses are those of Graph's `cloudPcOnPremisesConnectionHealthCheck`; of `errorType`, too, wherever Windows 365 has a
value for what was found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cloudpc.model.text import told

CheckStatus = Literal["passed", "warning", "failed"]
"""Graph's `cloudPcOnPremisesConnectionStatus` once all checks have run."""


@dataclass(frozen=True)
class Check:
    """One check, done.

    Args:
        what: what was looked at, for example `DNS name of the domain`.
        status: `warning` is worth a look, but Cloud PCs can be provisioned.
        detail: what was found, in words; never a secret.
        hint: what an admin does about it; mostly empty if it passed.
        error_type: Graph's, for example `adJoinCheckIncorrectCredentials`, of a connection's check that did not pass.
    """

    what: str
    status: CheckStatus
    detail: str = ""
    hint: str = ""
    error_type: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", told(self.detail))
        object.__setattr__(self, "hint", told(self.hint))


def overall(checks: Iterable[Check]) -> CheckStatus:
    """Graph's `healthCheckStatus` of a connection: the worst that one of its checks came to."""
    found = {check.status for check in checks}
    return "failed" if "failed" in found else "warning" if "warning" in found else "passed"
