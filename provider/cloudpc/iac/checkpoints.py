"""Whether a run writes its state at each step, as Pulumi does, or once, at its end (`PULUMI_SKIP_CHECKPOINTS`).

The file and S3 backends write the whole state before and after each change, so that the cost of N changes grows with
the square of N. Without these checkpoints a run that is killed leaves state as it was before. What it has made then is
known by tags alone: machines stay `ready`, as nobody's, until state is written (docs/running.md, Large policies).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from cloudpc.files import project_file
from cloudpc.iac import file_backend
from cloudpc.iac.engine import Engine, EngineError
from cloudpc.iac.type_tokens import CLOUD_PC, PROVISIONING_POLICY

VARIABLE = "PULUMI_SKIP_CHECKPOINTS"
ONLY_POLICY = "CLOUDPC_RECORD_POLICY_ONLY"
"""Of a run that is to record a policy that state does not know yet, and nothing else."""
_TRUE = ("1", "t", "T", "TRUE", "true", "True")  # as the engine reads it: Go's strconv.ParseBool


def are_skipped(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the engine with this environment writes state at its end alone."""
    return environment.get(VARIABLE, "") in _TRUE


def recorded(engine: Engine, stack: str) -> tuple[bool, int]:
    """Whether state knows anything of the policy, and how many Cloud PCs it has.

    Raises:
        EngineError: state can't be read.
    """
    types = [resource["type"] for resource in _deployment(engine, stack).get("resources") or []]
    return PROVISIONING_POLICY in types or CLOUD_PC in types, types.count(CLOUD_PC)


def _deployment(engine: Engine, stack: str) -> dict[str, Any]:
    """From the file itself where there is one: that costs no start of the engine."""
    file = file_backend.checkpoint(engine.backend_url, project_file.read(engine.root).name, stack)
    if file is None:
        return engine.export(stack)
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise EngineError(f"the state of {stack} can't be read: {error}") from None
    latest: dict[str, Any] = (content.get("checkpoint") or {}).get("latest") or {}
    return latest
