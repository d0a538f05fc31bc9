"""What Pulumi's state remembers of a stack, read from inside the program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
import tenacity
from pydantic import ValidationError

from cloudpc.iac import outputs
from cloudpc.iac.type_tokens import CLOUD_PC, PROVISIONING_POLICY
from cloudpc.model.cloud_pc import RecordedCloudPC
from cloudpc.model.errors import CloudPCError


class StateError(CloudPCError):
    """Previous state can't be read; deciding without it could make or end Cloud PCs wrongly."""


def _is_unknown(error: BaseException) -> bool:
    return "unknown stack" in str(error).lower()


@dataclass(frozen=True)
class StackState:
    """A stack's resources as recorded; empty before its first run."""

    cloud_pcs: Mapping[str, RecordedCloudPC] = field(default_factory=dict)
    provisioning_policy: Mapping[str, Any] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)
    """Ids of all policies that it holds, with their URNs: one, unless the stack has been renamed."""


def read(stack: str) -> StackState | None:
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
    cloud_pcs: dict[str, RecordedCloudPC] = {}
    policy: Mapping[str, Any] = {}
    policies: dict[str, str] = {}
    for urn, resource in resources.items():
        values = resource["outputs"]
        if resource["type"] == PROVISIONING_POLICY:
            policies[values["policyId"]] = urn
            policy = values if values["policyId"] == stack else policy or values
        elif resource["type"] == CLOUD_PC:
            try:
                recorded = outputs.read(values)
            except ValidationError as error:
                fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors(include_url=False))
                raise StateError(f"state holds {urn} in a form that this version can't read: {fields}") from None
            cloud_pcs[recorded.key] = recorded
    return StackState(cloud_pcs, policy, policies)
