"""Pulumi's resources of one stack as what they remember: the one reader of state, for a run and for commands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from cloudpc.iac import outputs
from cloudpc.iac.engine import EngineError
from cloudpc.iac.type_tokens import CLOUD_PC, PROVISIONING_POLICY
from cloudpc.operations.records import CloudPCRecord, EndedRecord, StackRecord

_SECRET = "4dabf18193072939515e22adb298388d"  # noqa: S105 - Pulumi's mark of a secret value, no secret


class StateError(EngineError):
    """State can't be read; deciding without it could make or end Cloud PCs wrongly."""


@dataclass(frozen=True)
class Resource:
    """One of Pulumi's resources."""

    type: str
    urn: str
    outputs: Mapping[str, Any] = field(repr=False)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Known only outside of a run."""


def stack_record(stack: str, resources: Iterable[Resource]) -> StackRecord:
    """What a stack's resources remember.

    Args:
        stack: its name, which is its policy's id.
        resources: all of it.

    Raises:
        StateError: this version can't read one.
    """
    all_ = [resource for resource in resources if resource.outputs]
    policies = [r for r in all_ if r.type == PROVISIONING_POLICY]
    cloud_pcs = tuple(_cloud_pc(stack, r) for r in all_ if r.type == CLOUD_PC)
    policy = _its_own(stack, policies)
    # both have it: a destroy that failed halfway may have left only one kind
    ids = [policy.get("installation"), *(c.recorded.installation for c in cloud_pcs)]
    groups = policy.get("assignments") or []
    return StackRecord(
        stack,
        installation=next(filter(None, ids), None),
        cloud_pcs=cloud_pcs,
        ended=tuple(_ended(stack, entry) for p in policies for entry in p.outputs.get("ended") or []),
        policies={p.outputs["policyId"]: p.urn for p in policies},
        assigned={group["groupId"]: datetime.fromisoformat(group["firstSeen"]) for group in groups},
        group_names={group["groupId"]: group["displayName"] for group in groups},
        taken_away={key: tuple(groups) for key, groups in (policy.get("takenAway") or {}).items()},
    )


def _its_own(stack: str, policies: Sequence[Resource]) -> Mapping[str, Any]:
    """The outputs of the stack's policy; of one that the stack was renamed from, where there is no other."""
    own = [p.outputs for p in policies if p.outputs["policyId"] == stack]
    return (own or [p.outputs for p in policies] or [{}])[0]


def ended_outputs(ended: EndedRecord) -> dict[str, Any]:
    """As the policy's resource has it."""
    return {
        "key": ended.key,
        "userPrincipalName": ended.user_principal_name,
        "deviceName": ended.device_name,
        "generation": ended.generation,
        "event": ended.event,
    }


def _cloud_pc(stack: str, resource: Resource) -> CloudPCRecord:
    try:
        recorded = outputs.read(dict(_opened(resource.outputs)))
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors(include_url=False))
        raise StateError(f"state holds {resource.urn} in a form that this version can't read: {fields}") from None
    name = resource.inputs.get("userPrincipalName") or recorded.user_principal_name
    return CloudPCRecord(stack, recorded, name, resource.urn)


def _ended(stack: str, entry: Mapping[str, Any]) -> EndedRecord:
    return EndedRecord(
        stack,
        key=entry["key"],
        user_principal_name=entry["userPrincipalName"],
        device_name=entry["deviceName"],
        generation=int(entry["generation"]),
        event=entry["event"],
    )


def _opened(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Opened secrets unwrapped; those still encrypted are left out."""
    for name, value in values.items():
        if not (isinstance(value, dict) and _SECRET in value):
            yield name, value
        elif "plaintext" in value:
            yield name, json.loads(value["plaintext"])
