"""Progress of a resource in Pulumi's own display, from inside the provider process."""

from __future__ import annotations

import functools
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cloudpc.model.masking import masked
from cloudpc.model.text import harmless_lines

if TYPE_CHECKING:
    from pulumi.runtime.proto.engine_pb2_grpc import EngineStub

_SECONDS = 5.0
"""Longest that a line may take: progress must never hold up the work it reports."""


class Severity(StrEnum):
    """How Pulumi shows a line. An error is shown in red but fails nothing."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def log(urn: str, message: str, *, severity: Severity = Severity.INFO, ephemeral: bool = False) -> None:
    """Show a line beside a resource; never raises, whatever happened to the engine.

    Args:
        urn: the resource (`host.current_call().urn`); empty for the stack itself.
        message: text for the user, without secrets.
        severity: how it is shown.
        ephemeral: only as the resource's present status; otherwise also in the summary at the end.
    """
    import grpc
    from pulumi.runtime.proto import engine_pb2

    engine = _engine(sys.argv[-1])
    if engine is None:
        return
    try:
        engine.Log(
            engine_pb2.LogRequest(
                severity=engine_pb2.LogSeverity.Value(severity.value),
                urn=urn,
                message=displayed(message),
                ephemeral=ephemeral,
            ),
            timeout=_SECONDS,
        )
    except (grpc.RpcError, ValueError):
        return  # the engine is gone, or going: there is nobody to tell


def displayed(text: str) -> str:
    """A text for the engine's display, which has a markup of its own, `<{%bold%}>`: nobody else's is obeyed."""
    return harmless_lines(masked(text)).replace("<{%", "<{ %")


@functools.cache
def _engine(address: str) -> EngineStub | None:
    """The engine at the address it gave this process as last argument; None where no engine started us."""
    import grpc
    from pulumi.runtime.proto.engine_pb2_grpc import EngineStub

    _, _, port = address.rpartition(":")
    if not port.isdecimal():
        return None
    channel: Any = grpc.insecure_channel(address)
    return EngineStub(channel)
