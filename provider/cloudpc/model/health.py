"""Health of a network connection: what was looked at, what was found, and what that makes of the whole.

Names and values are those of Graph's `cloudPcOnPremisesConnectionHealthCheck`; the values of `errorType`, too, wherever
Windows 365 has one for what was found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cloudpc.model.text import told

HealthStatus = Literal["passed", "failed", "warning"]
"""Graph's `cloudPcOnPremisesConnectionStatus` once all checks have run."""


@dataclass(frozen=True)
class HealthCheck:
    """One check of a connection, done.

    Args:
        display_name: what was looked at, for example `DNS name of the domain`.
        status: `warning` is worth a look, but Cloud PCs can be provisioned.
        error_type: Graph's, for example `adJoinCheckIncorrectCredentials`; empty if it passed.
        recommended_action: what an admin does about it; empty if it passed.
        additional_detail: what was found, in words; never a secret.
    """

    display_name: str
    status: HealthStatus
    error_type: str = ""
    recommended_action: str = ""
    additional_detail: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "additional_detail", told(self.additional_detail))


def overall(checks: Iterable[HealthCheck]) -> HealthStatus:
    """Graph's `healthCheckStatus` of a connection: the worst that one of its checks came to."""
    found = {check.status for check in checks}
    return "failed" if "failed" in found else "warning" if "warning" in found else "passed"
