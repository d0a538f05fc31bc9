"""The steps that the lifecycle itself asks for; each remote action is one more (`cloudpc.rules.actions`)."""

from __future__ import annotations

from enum import StrEnum


class Step(StrEnum):
    """What the provider has to do to get from what is recorded to what is desired."""

    NONE = "none"
    PROVISION = "provision"
    START = "start"
    BEGIN_GRACE = "beginGrace"
    RESTORE = "restore"
    END = "end"
