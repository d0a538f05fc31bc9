"""Fixtures that stand in for the engine."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from engine_side import HERE, FakeEngine, Plugin, Start


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    fake = FakeEngine()
    yield fake
    fake.server.stop(0).wait()


@pytest.fixture
def start(tmp_path: Path, engine: FakeEngine) -> Iterator[Start]:
    """Starts a launcher like the engine: own process group, port on the first line of stdout."""
    with contextlib.ExitStack() as stack:

        def start(launcher: Path, *, cwd: Path = tmp_path, env: dict[str, str] | None = None) -> Plugin:
            environment = os.environ | {
                "XDG_STATE_HOME": str(tmp_path / "state"),
                "PYTHONPATH": str(HERE),
                "TOY_FOLDER": str(tmp_path),
                **(env or {}),
            }
            stderr = tmp_path / "stderr"
            with stderr.open("wb") as errors:
                process = stack.enter_context(
                    subprocess.Popen(
                        [launcher, engine.address],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=errors,
                        cwd=cwd,
                        env=environment,
                        process_group=0,
                    )
                )
            stack.callback(process.kill)
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first.strip().isdigit(), f"no port but {first!r}; stderr: {stderr.read_text()}"
            channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{int(first)}"))
            return Plugin(process, int(first), channel, tmp_path / "state", stderr)

        yield start
