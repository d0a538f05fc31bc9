"""The plugins as the engine starts them: a fake engine, and the process of a launcher with the channel to it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2_grpc

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent


class FakeEngine(engine_pb2_grpc.EngineServicer):
    """Remembers what it is told to log."""

    def __init__(self) -> None:
        self.logged: list[Any] = []
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        engine_pb2_grpc.add_EngineServicer_to_server(self, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def Log(self, request, context):
        self.logged.append(request)
        return empty_pb2.Empty()


@dataclass
class Plugin:
    """A plugin's process with the channel to it."""

    process: subprocess.Popen[bytes]
    port: int
    channel: grpc.Channel
    state: Path
    stderr: Path

    def wait(self) -> int:
        """The exit status; the time allowed is far above what the engine gives."""
        return self.process.wait(timeout=60)


Start = Callable[..., Plugin]
