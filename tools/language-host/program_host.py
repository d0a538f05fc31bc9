"""The part of the language host that runs a program, by Pulumi's SDK.

The SDK contains the better part of one, for programs given as functions (`pulumi.automation`); here the function runs
the project's main file, and the calls are added that only a plugin receives.
"""

# ruff: noqa: ARG002, D102, N802 - gRPC's method names and arguments; language.proto documents them
from __future__ import annotations

import functools
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from pulumi.automation import _server
from pulumi.errors import RunError
from pulumi.runtime.proto import language_pb2, language_pb2_grpc


def handlers(engine: str) -> grpc.GenericRpcHandler:
    """All of the engine's calls. `engine` is its address."""
    _server.run_in_stack = _explained(_server.run_in_stack)  # type: ignore[attr-defined]  # not exported
    collected = _Collected()
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(engine), collected)
    return collected.handlers[0]


class _Collected:
    """Stands in for a server where the SDK adds its handlers to one."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self.handlers.extend(handlers)


class LanguageHost(_server.LanguageServer):
    """Runs `program_directory/entry_point` of the request; `entry_point` "." means its `__main__.py`."""

    def __init__(self, engine: str) -> None:
        super().__init__(program=lambda: None)
        self._engine = engine

    def Handshake(self, request: Any, context: Any) -> Any:
        self._engine = request.engine_address or self._engine
        return language_pb2.LanguageHandshakeResponse()

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:
        return language_pb2.GetProgramDependenciesResponse()

    def InstallDependencies(self, request: Any, context: Any) -> Iterator[Any]:
        yield language_pb2.InstallDependenciesResponse(stdout=b"`make setup` installs this project's dependencies.\n")

    def Run(self, request: Any, context: Any) -> Any:
        folder = Path(request.info.program_directory or request.pwd)
        self.program = functools.partial(_run, folder / (request.info.entry_point or "."))
        request.args[:] = [self._engine]  # where the SDK's server, made for another caller, looks for it
        os.chdir(request.pwd or folder)
        sys.path.insert(0, str(folder))
        result = super().Run(request, context)  # type: ignore[no-untyped-call]
        if result.error:  # it has logged that: "bail" keeps the engine from saying it a second time
            return language_pb2.RunResponse(bail=True)
        return result


def _run(program: Path) -> None:
    runpy.run_path(str(program), run_name="__main__")


def _explained(run_in_stack: Callable[..., Any]) -> Callable[..., Any]:
    """The SDK's runner of a program, whose unexpected exceptions become a message for people."""

    async def run(program: Callable[[], Any]) -> None:
        try:
            await run_in_stack(program)
        except (RunError, grpc.RpcError):
            raise  # the SDK's server shows the first as it is, and knows the second as the engine's own end
        except SystemExit as end:
            if end.code not in (None, 0):
                raise RunError(f"The program ended itself: {end.code}") from None
        except Exception as error:
            raise RunError(_message(error)) from error

    return run


def _message(error: Exception) -> str:
    if os.environ.get("CLOUDPC_DEBUG"):
        return "".join(traceback.format_exception(error))
    *_, last = traceback.extract_tb(error.__traceback__)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"The program failed: {text}\n(in {last.filename}, line {last.lineno}; CLOUDPC_DEBUG=1 shows the traceback)"
