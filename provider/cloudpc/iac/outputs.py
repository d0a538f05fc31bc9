"""A Cloud PC's outputs: what it was asked to be (pinned), and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cloudpc.lifecycle import DesiredCloudPC, Status
from cloudpc.provisioning.pipeline import Outcome

SECRET = ["credentials"]
"""Outputs that are Pulumi secrets."""


def pinned(desired: DesiredCloudPC) -> dict[str, Any]:
    """What a Cloud PC is asked to be, as small as it can be said: state is rewritten at each step."""
    return desired.model_dump(by_alias=True, mode="json", exclude_defaults=True)


def from_outcome(desired: DesiredCloudPC, outcome: Outcome) -> dict[str, Any]:
    """The complete set of outputs, as Pulumi records it."""
    outs: dict[str, Any] = {
        **pinned(desired),
        "status": outcome.status.value,
        "attempts": outcome.attempts,
        "lastModifiedDateTime": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "host": outcome.host,
    }
    if detail := _status_detail(outcome):
        outs["statusDetail"] = detail
    if outcome.endpoint is not None:
        endpoint = outcome.endpoint
        outs["connection"] = {"protocol": "ssh", "host": endpoint.host, "port": endpoint.port, "via": endpoint.via}
        outs["hostKey"] = outcome.host_key
    if outcome.credentials is not None:
        outs["credentials"] = {"user": outcome.credentials.user, "password": outcome.credentials.password}
    return outs


def _status_detail(outcome: Outcome) -> dict[str, Any] | None:
    if outcome.error is not None:
        error = outcome.error
        more = {
            "stage": outcome.stage.value if outcome.stage else "",
            "hint": error.hint,
            "console": error.console[-600:],
            "remains": outcome.remains,
        }
        return {
            "code": error.code.value,
            "message": error.message,
            "additionalInformation": {name: value for name, value in more.items() if value},
        }
    if outcome.status is Status.PROVISIONED_WITH_WARNINGS:
        first = outcome.warnings[0]
        return {
            "code": first.code.value,
            "message": "; ".join(f"{w.message} [{w.code}]" for w in outcome.warnings),
            "additionalInformation": {"stage": "set-up"},
        }
    return None
