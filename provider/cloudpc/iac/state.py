"""State as a run reads it, from inside its program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import tenacity

from cloudpc.iac.records import Resource, StateError, stack_record
from cloudpc.operations.records import StackRecord


def _is_unknown(error: BaseException) -> bool:
    return "unknown stack" in str(error).lower()


def read(stack: str) -> StackRecord | None:
    """The recorded resources of a stack of this project; None if there is no such stack.

    Raises:
        StateError: state can't be read or understood.
    """
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"
    # the file backend writes the checkpoint in place while we read it, so that half of one may be seen
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_delay(10),
        wait=tenacity.wait_fixed(0.1),
        retry=tenacity.retry_if_exception(lambda error: not _is_unknown(error)),
        reraise=True,
    )
    try:
        answer = retrying(pulumi.runtime.invoke, "pulumi:pulumi:readStackResourceOutputs", {"stackName": name})
    except Exception as error:
        if _is_unknown(error):
            return None
        raise StateError(f"the state of the stack {name} can't be read: {error}") from error
    resources: Mapping[str, Any] = (answer.value or {}).get("outputs") or {}
    return stack_record(stack, (Resource(r["type"], urn, r["outputs"] or {}) for urn, r in resources.items()))
