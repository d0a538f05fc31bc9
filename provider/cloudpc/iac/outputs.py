"""A Cloud PC as Pulumi has it: its inputs, and outputs that are what is recorded of it. Nothing is decided here.

Outputs are always complete: Pulumi keeps none that an update does not return (pulumi/pulumi#7809). Their names are a
part of the format of state: they never change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudpc.model import access
from cloudpc.model.cloud_pc import DesiredCloudPC, RecordedCloudPC

SECRET = ["credentials"]
"""Outputs that are Pulumi secrets."""
SEEN = "seen"
"""An input, there only where a run has found the machine otherwise than state has it: what it has found, in a word."""
_WHOLE = {"status_detail", "before_loss", "before_change"}
_ALWAYS = {"status", "attempts", "host", "events"}


def pinned(desired: DesiredCloudPC) -> dict[str, Any]:
    """What a Cloud PC is asked to be, as small as it can be said: state is rewritten at each step."""
    return desired.model_dump(by_alias=True, mode="json", exclude_defaults=True)


def read(outputs: Mapping[str, Any]) -> RecordedCloudPC:
    """What is recorded. Raises ValidationError: this version can't read it."""
    return RecordedCloudPC.model_validate(outputs)


def written(pc: RecordedCloudPC, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The outputs that say so.

    Args:
        pc: what is recorded from now on.
        before: the outputs of until now. What means the same stays as it was written, with all that a newer version
            may have written into it.
    """
    now = _written(pc)
    was = _written(read(before)) if before else {}
    same = {name: value for name, value in (before or {}).items() if was.get(name) == now.get(name)}
    return {**now, **same}


def _written(pc: RecordedCloudPC) -> dict[str, Any]:
    outs: dict[str, Any] = {
        **pc.model_dump(by_alias=True, mode="json", exclude_defaults=True, exclude={"access", "credentials"}),
        **pc.model_dump(by_alias=True, mode="json", exclude_none=True, include=_WHOLE),
        **pc.model_dump(by_alias=True, mode="json", include=_ALWAYS),
    }
    if pc.access is not None:
        outs |= access.to_outputs(pc.access)
    if pc.credentials is not None:
        outs["credentials"] = pc.credentials.opened()
    return outs
