"""The contract between the engine and the language host of tools/, through its real process and a fake monitor."""

from __future__ import annotations

import importlib
import platform
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from engine_side import REPOSITORY, FakeEngine, Plugin, Start
from google.protobuf import empty_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    language_pb2,
    language_pb2_grpc,
    plugin_pb2,
    resource_pb2,
    resource_pb2_grpc,
)

LAUNCHER = REPOSITORY / "tools/language-host/pulumi-language-python"


class FakeMonitor(resource_pb2_grpc.ResourceMonitorServicer):
    """Takes note of what a program registers, and lets it have all of it."""

    def __init__(self) -> None:
        self.registered: list[tuple[str, str]] = []
        self.outputs: dict[str, Any] = {}
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        resource_pb2_grpc.add_ResourceMonitorServicer_to_server(self, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def SupportsFeature(self, request, context):
        return resource_pb2.SupportsFeatureResponse(hasSupport=request.id in {"secrets", "outputValues"})

    def RegisterResource(self, request, context):
        self.registered.append((request.type, request.name))
        return resource_pb2.RegisterResourceResponse(
            urn=f"urn:pulumi:demo::cloudpc::{request.type}::{request.name}",
            object=request.object,
        )

    def RegisterResourceOutputs(self, request, context):
        self.outputs.update(request.outputs)
        return empty_pb2.Empty()

    def SignalAndWaitForShutdown(self, request, context):
        return empty_pb2.Empty()


@pytest.fixture
def monitor() -> Iterator[FakeMonitor]:
    fake = FakeMonitor()
    yield fake
    fake.server.stop(0).wait()


@pytest.fixture
def language_host(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    monkeypatch.syspath_prepend(str(LAUNCHER.parent))
    return importlib.import_module("language_host")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    stacks = tmp_path / "my project/stacks"
    stacks.mkdir(parents=True)
    return stacks.parent


def run(plugin: Plugin, project: Path, monitor: FakeMonitor, engine: FakeEngine, program: str) -> Any:
    (project / "stacks/__main__.py").write_text(program)
    host = language_pb2_grpc.LanguageRuntimeStub(plugin.channel)
    host.Handshake(language_pb2.LanguageHandshakeRequest(engine_address=engine.address), timeout=60)
    return host.Run(
        language_pb2.RunRequest(
            project="cloudpc",
            stack="demo",
            organization="organization",
            pwd=str(project / "stacks"),
            config={"cloudpc:greeting": "hello"},
            parallel=4,
            monitor_address=monitor.address,
            info=language_pb2.ProgramInfo(
                root_directory=str(project), program_directory=str(project / "stacks"), entry_point="."
            ),
        ),
        timeout=60,
    )


def errors(engine: FakeEngine) -> list[str]:
    return [line.message for line in engine.logged if line.severity == engine_pb2.ERROR]


@pytest.mark.parametrize("is_safe", [False, True])
def test_it_introduces_itself(start: Start, monkeypatch: pytest.MonkeyPatch, is_safe: bool) -> None:
    if is_safe:
        monkeypatch.setenv("PYTHONSAFEPATH", "1")
    host = language_pb2_grpc.LanguageRuntimeStub(start(LAUNCHER).channel)
    assert host.GetPluginInfo(empty_pb2.Empty(), timeout=60).version
    assert not host.GetRequiredPackages(language_pb2.GetRequiredPackagesRequest(), timeout=60).packages
    assert not host.GetProgramDependencies(language_pb2.GetProgramDependenciesRequest(), timeout=60).dependencies
    assert host.About(language_pb2.AboutRequest(), timeout=60).version.startswith("3.")
    lines = host.InstallDependencies(language_pb2.InstallDependenciesRequest(), timeout=60)
    assert b"make setup" in b"".join(line.stdout for line in lines)
    host.Cancel(empty_pb2.Empty(), timeout=60)


def test_what_it_says_of_itself_is_told_without_the_sdk() -> None:
    code = """
import sys
import types
import language_host
said = language_host.Handlers("127.0.0.1:1")
for method in ("GetPluginInfo", "About", "Cancel"):
    answer = said.service(types.SimpleNamespace(method=f"/pulumirpc.LanguageRuntime/{method}")).unary_unary(b"", None)
    print(answer.hex())
assert "pulumi" not in sys.modules
"""
    env = {"PYTHONPATH": str(LAUNCHER.parent)}
    lines = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env).stdout
    info, about, _ = (bytes.fromhex(line) for line in lines.split("\n")[:3])
    assert plugin_pb2.PluginInfo.FromString(info).version
    assert language_pb2.AboutResponse.FromString(about) == language_pb2.AboutResponse(
        executable=sys.executable, version=platform.python_version()
    )


def test_a_path_of_python_s_need_not_be_utf_8(language_host: types.ModuleType) -> None:
    """It is said at each start, whether or not somebody asks."""
    assert language_pb2.AboutResponse.FromString(language_host.texts("/o\udcff/python")).executable == "/o?/python"


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16383, 16384, 70000])
def test_texts_of_any_length_are_protobuf_s(length: int, language_host: types.ModuleType) -> None:
    path, version = "/" * length, "é" * length
    message = language_pb2.AboutResponse.FromString(language_host.texts(path, version))
    assert (message.executable, message.version) == (path, version)


def test_it_runs_the_program_in_its_folder(
    start: Start, project: Path, monitor: FakeMonitor, engine: FakeEngine
) -> None:
    (project / "stacks/beside.py").write_text("NAME = 'web'\n")
    plugin = start(LAUNCHER)
    result = run(
        plugin,
        project,
        monitor,
        engine,
        "import os, pulumi, beside\n"
        "assert __name__ == '__main__'\n"
        "print('printed')\n"
        "pulumi.ComponentResource('cloudpc:index:Thing', beside.NAME)\n"
        "pulumi.export('folder', os.getcwd())\n"
        "pulumi.export('greeting', pulumi.Config().require('greeting'))\n",
    )
    assert (result.error, result.bail) == ("", False)
    assert errors(engine) == []
    assert monitor.registered == [("pulumi:pulumi:Stack", "cloudpc-demo"), ("cloudpc:index:Thing", "web")]
    assert monitor.outputs == {"folder": str(project / "stacks"), "greeting": "hello"}
    assert plugin.process.stdout is not None
    assert plugin.process.stdout.readline() == b"printed\n"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "import pulumi; raise pulumi.RunError('policy: gracePeriodInHours is -1')",
            "policy: gracePeriodInHours is -1",
        ),
        ("raise SystemExit('no directory')", "The program ended itself: no directory"),
        (
            "\n{}['nope']",
            "The program failed: KeyError: 'nope'\n(in {main}, line 2; CLOUDPC_DEBUG=1 shows the traceback)",
        ),
        (
            "import pulumi\npulumi.Output.from_input(1).apply(lambda _: 1 / 0)",
            "The program failed: ZeroDivisionError: division by zero\n"
            "(in {main}, line 2; CLOUDPC_DEBUG=1 shows the traceback)",
        ),
    ],
)
def test_an_error_is_told_once_and_without_a_traceback(
    start: Start, project: Path, monitor: FakeMonitor, engine: FakeEngine, program: str, message: str
) -> None:
    plugin = start(LAUNCHER)
    result = run(plugin, project, monitor, engine, program)
    assert result.bail, "otherwise the engine reports the error again"
    assert errors(engine) == [message.replace("{main}", str(project / "stacks/__main__.py"))]
    assert plugin.stderr.read_text() == ""


def test_debugging_shows_the_traceback(start: Start, project: Path, monitor: FakeMonitor, engine: FakeEngine) -> None:
    run(start(LAUNCHER, env={"CLOUDPC_DEBUG": "1"}), project, monitor, engine, "1 / 0")
    assert "Traceback" in errors(engine)[0]


def test_a_program_may_end_itself_in_peace(
    start: Start, project: Path, monitor: FakeMonitor, engine: FakeEngine
) -> None:
    result = run(start(LAUNCHER), project, monitor, engine, "import sys; sys.exit()")
    assert (result.error, result.bail, errors(engine)) == ("", False, [])


@pytest.mark.parametrize(("debug", "sent"), [("", False), ("1", True)])
def test_the_engine_is_spared_the_debug_lines_of_each_property(
    start: Start, project: Path, monitor: FakeMonitor, engine: FakeEngine, debug: str, sent: bool
) -> None:
    result = run(
        start(LAUNCHER, env={"CLOUDPC_DEBUG": debug}),
        project,
        monitor,
        engine,
        "import pulumi\n"
        "from cloudpc.iac import resources\n"
        "resources.leave_out_debug_lines()\n"
        "class Thing(pulumi.CustomResource):\n"
        "    pass\n"
        "Thing('cloudpc:index:Thing', 'web', {'one': 1, 'two': {'three': 3}})\n"
        "pulumi.log.info('told')\n",
    )
    assert result.error == ""
    assert ("cloudpc:index:Thing", "web") in monitor.registered
    assert "told" in [line.message for line in engine.logged]
    debug_lines = [line.message for line in engine.logged if line.severity == engine_pb2.DEBUG]
    of_the_stack = [line for line in debug_lines if "pulumi:pulumi:Stack" in line]  # from before the program
    assert (debug_lines != of_the_stack) is sent, debug_lines


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(start: Start, number: signal.Signals) -> None:
    plugin = start(LAUNCHER)
    plugin.process.send_signal(number)
    assert plugin.wait() == 0
    assert plugin.stderr.read_text() == ""


def test_the_launcher_beside_a_built_engine_finds_the_project(start: Start, project: Path) -> None:
    """The one that tools/engine puts next to `pulumi`; the engine starts it in the folder of the program."""
    shutil.copytree(LAUNCHER.parent, project / "tools/language-host")
    (project / ".venv").symlink_to(Path(sys.prefix))
    plugin = start(REPOSITORY / "tools/engine/pulumi-language-python", cwd=project / "stacks")
    assert language_pb2_grpc.LanguageRuntimeStub(plugin.channel).GetPluginInfo(empty_pb2.Empty(), timeout=60).version
