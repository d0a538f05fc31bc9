"""What a program asks of the engine before it imports the rest: what it waits for goes on meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.runtime.config import CONFIG

from cloudpc.iac.type_tokens import PROVIDER

_START = "pulumi-python:dynamic:start"
"""No function: dynamic providers have none. To refuse it, the engine has to start the provider."""
_begun: list[Any] = []
"""gRPC cancels a call that nobody holds."""


def resources(stack: str) -> Mapping[str, Any]:
    """The recorded resources of a stack of this project, by URN; raises what the SDK does."""
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{stack}"
    answer = pulumi.runtime.invoke("pulumi:pulumi:readStackResourceOutputs", {"stackName": name})
    found: Mapping[str, Any] = (answer.value or {}).get("outputs") or {}
    return found


def has_provider(recorded: Mapping[str, Any]) -> bool:
    """Whether state has the provider as this run would have it, so that starting it changes nothing.

    Its inputs are the stack's whole configuration. The engine records them when it starts the provider, also if the run
    then refuses that configuration; and `down` takes hosts from there once the policy's file is gone.

    Args:
        recorded: see `resources`.
    """
    known = [each["outputs"] for each in recorded.values() if each["type"] == PROVIDER]
    return known == [CONFIG.get()]


def start_provider() -> None:
    """Have the engine start the provider, which it does otherwise when the first Cloud PC is declared."""
    from pulumi.runtime.proto import resource_pb2
    from pulumi.runtime.settings import get_monitor

    monitor: Any = get_monitor()
    _begun.append(monitor.Invoke.future(resource_pb2.ResourceInvokeRequest(tok=_START)))
