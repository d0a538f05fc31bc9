"""State as commands read it: with the engine, of several stacks at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID

import tenacity

from cloudpc.configuration.values import engine_value
from cloudpc.iac.engine import Engine, EngineError
from cloudpc.iac.records import Resource, stack_record
from cloudpc.iac.type_tokens import CLOUD_PC, PROVIDER
from cloudpc.model.identity import machine_id
from cloudpc.operations.records import StackRecord

_READABLE_WITHIN = 10.0


def read(engine: Engine, stacks: Sequence[str], *, show_secrets: bool = False) -> list[StackRecord]:
    """The recorded state of stacks, several at a time.

    Raises:
        EngineError: one can't be read.
    """
    if not stacks:
        return []
    with ThreadPoolExecutor(min(8, len(stacks))) as pool:
        exports = pool.map(lambda stack: engine.export(stack, show_secrets=show_secrets), stacks)
        return [_record(stack, deployment) for stack, deployment in zip(stacks, exports, strict=True)]


@tenacity.retry(
    stop=tenacity.stop_after_delay(_READABLE_WITHIN),
    wait=tenacity.wait_fixed(0.1),
    retry=tenacity.retry_if_exception_type(EngineError),  # the file backend writes in place: half a file may be seen
    reraise=True,
)
def read_all(engine: Engine) -> list[StackRecord]:
    """All stacks, while others may be at work. Raises EngineError."""
    return read(engine, engine.stacks())


def _record(stack: str, deployment: dict[str, Any]) -> StackRecord:
    resources: list[dict[str, Any]] = deployment.get("resources") or []
    operations: list[dict[str, Any]] = deployment.get("pending_operations") or []
    read = (Resource(r["type"], r["urn"], r.get("outputs") or {}, r.get("inputs") or {}) for r in resources)
    return replace(
        stack_record(stack, read),
        interrupted=bool(operations),
        begun=frozenset(_begun(operations)),
        configuration=_last_configuration(resources),
    )


def _begun(operations: list[dict[str, Any]]) -> Iterator[UUID]:
    """Operations that were begun, by machine; state has them before the provider is asked."""
    for resource in (operation["resource"] for operation in operations):
        if resource["type"] == CLOUD_PC and (asked := resource.get("inputs")):
            yield machine_id(asked["installation"], asked["userId"], asked["servicePlan"]["id"])


def _last_configuration(resources: list[dict[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for resource in resources:
        if resource["type"] == PROVIDER:
            for key, value in resource.get("inputs", {}).items():
                if isinstance(value, str):
                    values[key] = engine_value(value)
    return values
