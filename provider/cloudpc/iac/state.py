"""State as a run reads it, from inside its program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tenacity

from cloudpc.iac import ahead
from cloudpc.iac.records import Resource, StateError, stack_record
from cloudpc.operations.records import StackRecord


def _is_unknown(error: BaseException) -> bool:
    return "unknown stack" in str(error).lower()


def read(stack: str, resources: Mapping[str, Any] | None = None) -> StackRecord | None:
    """What a stack of this project remembers; None if there is no such stack.

    Args:
        stack: its name.
        resources: of it, where the engine has been asked already.

    Raises:
        StateError: state can't be read or understood.
    """
    # the file backend writes the checkpoint in place while we read it, so that half of one may be seen
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_delay(10),
        wait=tenacity.wait_fixed(0.1),
        retry=tenacity.retry_if_exception(lambda error: not _is_unknown(error)),
        reraise=True,
    )
    try:
        found = retrying(ahead.resources, stack) if resources is None else resources
    except Exception as error:
        if _is_unknown(error):
            return None
        raise StateError(f"the state of the stack {stack} can't be read: {error}") from error
    return stack_record(stack, (Resource(r["type"], urn, r["outputs"] or {}) for urn, r in found.items()))
