"""The contract between Pulumi's dynamic provider host and what our plug-in process adds to it, through the real one.

A failure here after an update of Pulumi says which addition no longer takes hold; the provider itself works on.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent import futures
from pathlib import Path
from typing import Any

import dill
import grpc
import pytest
from engine_side import HERE, REPOSITORY, FakeEngine, Plugin, Start
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import engine_pb2, provider_pb2, provider_pb2_grpc
from toy_provider import ToyProvider

from cloudpc.iac import plugin_process
from tests.support.waiting import wait_until

LAUNCHER = REPOSITORY / "provider/plugin/pulumi-resource-pulumi-python"
PROVIDER = base64.b64encode(dill.dumps(ToyProvider(), recurse=True)).decode()


@pytest.fixture
def plugin(start: Start) -> Plugin:
    return start(LAUNCHER)


def stub(plugin: Plugin) -> provider_pb2_grpc.ResourceProviderStub:
    return provider_pb2_grpc.ResourceProviderStub(plugin.channel)


def properties(do: str, **more: Any) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update({"__provider": PROVIDER, "do": do, **more})
    return struct


def urn(name: object) -> str:
    return f"urn:pulumi:demo::cloudpc::pulumi-python:dynamic/cloudpc:CloudPC::{name}"


def create(plugin: Plugin, do: str, name: object = "a", **more: Any) -> futures.Future[Any]:
    request = provider_pb2.CreateRequest(urn=urn(name), properties=properties(do, **more), timeout=90)
    call: futures.Future[Any] = stub(plugin).Create.future(request)
    return call


def check(plugin: Plugin) -> Any:
    return stub(plugin).Check(provider_pb2.CheckRequest(urn=urn("checked"), news=properties("nothing")), timeout=60)


def wait_for(path: Path) -> None:
    wait_until(path.exists, 60, f"{path.name} never came")


def error_of(call: futures.Future[Any]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call.result()
    details: str = caught.value.details()
    return details


def test_forty_creates_run_at_once(plugin: Plugin) -> None:
    calls = [create(plugin, "meet", n, wanted=40) for n in range(40)]
    assert [call.result(timeout=60).id for call in calls] == ["id"] * 40


def test_check_does_not_wait_for_running_creates(plugin: Plugin, tmp_path: Path) -> None:
    calls = [create(plugin, "wait_for_diff", n) for n in range(32)]
    for n in range(32):
        wait_for(tmp_path / f"begun {n}")
    check(plugin)
    assert not any(call.done() for call in calls)
    request = provider_pb2.DiffRequest(id="id", urn=urn(0), olds=properties("nothing"), news=properties("nothing"))
    assert stub(plugin).Diff(request, timeout=60).changes == provider_pb2.DiffResponse.DIFF_NONE
    for call in calls:
        call.result(timeout=60)


def test_a_call_knows_its_resource(plugin: Plugin, tmp_path: Path) -> None:
    assert check(plugin).inputs["seen"] == f"Check {urn('checked')}"
    outputs = create(plugin, "nothing", "bob").result(timeout=60).properties
    assert dict(outputs) == {"urn": urn("bob"), "operation": "Create", "timeout": 90.0, "__provider": PROVIDER}
    stub(plugin).Delete(provider_pb2.DeleteRequest(id="id", urn=urn("bob"), properties=properties("nothing")))
    assert (tmp_path / "deleted bob").exists()
    assert plugin_process.current_call() is None


def test_cancel_reaches_running_creates_and_lets_them_clean_up(plugin: Plugin, tmp_path: Path) -> None:
    calls = [create(plugin, "wait_for_cancel", n) for n in range(8)]
    for n in range(8):
        wait_for(tmp_path / f"begun {n}")
    stub(plugin).Cancel(empty_pb2.Empty(), timeout=60)
    assert {error_of(call) for call in calls} == {"stopped, because the run was cancelled"}
    assert all((tmp_path / f"cleaned {n}").exists() for n in range(8))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_calls_clean_up_and_answer(plugin: Plugin, tmp_path: Path, number: signal.Signals) -> None:
    call = create(plugin, "wait_for_cancel")
    wait_for(tmp_path / "begun a")
    plugin.process.send_signal(number)
    assert error_of(call) == "stopped, because the run was cancelled"
    assert plugin.wait() == 0
    assert (tmp_path / "cleaned a").exists()
    assert plugin.stderr.read_text() == ""


def test_a_signal_ends_the_process_although_a_call_does_not_listen(start: Start, tmp_path: Path) -> None:
    """Before the engine would kill it, 5 s after the signal; a busy machine can only add to the time it took."""
    took = []
    while not took or (min(took) > 5 and len(took) < 3):
        plugin = start(LAUNCHER)
        call = create(plugin, "hear_nothing")
        wait_for(tmp_path / "begun a")
        plugin.process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert plugin.wait() == 0
        took.append(time.monotonic() - began)
        assert call.done()
        (tmp_path / "begun a").unlink()
    assert min(took) < 5


def test_a_dead_engine_is_noticed_and_calls_clean_up(tmp_path: Path, engine: FakeEngine) -> None:
    """The engine is stood in for by a process that starts the plugin, says its port and is killed."""
    stand_in = (
        "import subprocess, sys, time\n"
        "plugin = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)\n"
        "print(plugin.pid, int(plugin.stdout.readline()), flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(HERE), "TOY_FOLDER": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", stand_in, LAUNCHER, engine.address], stdout=subprocess.PIPE, env=environment
    ) as parent:
        assert parent.stdout is not None
        pid, port = map(int, parent.stdout.readline().split())
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                request = provider_pb2.CreateRequest(urn=urn("a"), properties=properties("wait_for_cancel"))
                call = provider_pb2_grpc.ResourceProviderStub(channel).Create.future(request)
                wait_for(tmp_path / "begun a")
                assert not call.done()
        finally:
            parent.kill()
    wait_for(tmp_path / "cleaned a")
    wait_until(lambda: not is_running(pid), 60, "the provider outlived the engine")


def is_running(pid: int) -> bool:
    try:
        # The state follows the name in brackets. A zombie waits for its new parent, which is no concern of ours.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_unexpected_exception_is_one_line_and_its_traceback_goes_to_a_private_file(plugin: Plugin) -> None:
    log = plugin.state / "cloudpc/log/provider.log"
    assert error_of(create(plugin, "stumble")) == f"KeyError: 'nobody expected this' (traceback in {log})"
    assert f"Create of {urn('a')} failed\nTraceback" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
    assert plugin.stderr.read_text() == ""


def test_debugging_shows_the_traceback(start: Start) -> None:
    plugin = start(LAUNCHER, env={"CLOUDPC_DEBUG": "1"})
    error_of(create(plugin, "stumble"))
    assert "Traceback" in plugin.stderr.read_text()


@pytest.mark.parametrize(("do", "text"), [("fail", "The pool is full."), ("refuse", "Alice is entitled to it.")])
def test_our_own_errors_are_shown_as_they_are(plugin: Plugin, do: str, text: str) -> None:
    assert error_of(create(plugin, do)) == text
    assert not (plugin.state / "cloudpc/log/provider.log").read_text()


def test_a_state_folder_that_cannot_be_written_is_no_obstacle(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    plugin = start(LAUNCHER, env={"XDG_STATE_HOME": str(tmp_path / "file")})
    assert error_of(create(plugin, "stumble")) == "KeyError: 'nobody expected this'"


def test_what_dynamic_providers_lack_is_unimplemented_to_the_engine(plugin: Plugin) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub(plugin).CheckConfig(provider_pb2.CheckRequest(), timeout=60)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert plugin.stderr.read_text() == ""


def test_a_function_is_refused_without_a_word_in_any_log(start: Start) -> None:
    plugin = start(LAUNCHER, env={"CLOUDPC_DEBUG": "1"})  # all that is logged is shown, too
    with pytest.raises(grpc.RpcError) as caught:
        stub(plugin).Invoke(provider_pb2.InvokeRequest(tok="pulumi-python:dynamic:start"), timeout=60)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert plugin.stderr.read_text() == ""


def test_progress_reaches_the_engine(plugin: Plugin, engine: FakeEngine) -> None:
    create(plugin, "tell", "carol").result(timeout=60)
    assert [(line.urn, line.message, line.severity, line.ephemeral) for line in engine.logged] == [
        (urn("carol"), "first boot", engine_pb2.INFO, True),
        (urn("carol"), "ready", engine_pb2.WARNING, False),
    ]


def test_progress_without_an_engine_is_no_error(plugin: Plugin, engine: FakeEngine) -> None:
    engine.server.stop(0).wait()
    assert create(plugin, "tell").result(timeout=60).id == "id"


def test_importing_the_host_loads_neither_grpc_nor_pulumi() -> None:
    code = "import sys, cloudpc.iac.plugin_process; print({'grpc', 'pulumi'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# --- the launcher


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A copy of the launcher in a project with a space in its name, without an environment."""
    plugin = tmp_path / "my project/provider/plugin"
    plugin.mkdir(parents=True)
    return Path(shutil.copy2(LAUNCHER, plugin))


def test_the_launcher_finds_the_project_s_environment(start: Start, elsewhere: Path) -> None:
    (elsewhere.parents[2] / ".venv").symlink_to(Path(sys.prefix))
    check(start(elsewhere))


@pytest.mark.parametrize("value", ["../my environment", "my environment"])  # relative to `main`, or to the project
def test_the_launcher_takes_the_engine_s_word_for_an_environment(start: Start, elsewhere: Path, value: str) -> None:
    project = elsewhere.parents[2]
    (project / "my environment").symlink_to(Path(sys.prefix))
    (project / "stacks").mkdir()
    check(start(elsewhere, cwd=project / "stacks", env={"PULUMI_RUNTIME_VIRTUALENV": value}))


def test_the_launcher_says_what_to_do_where_nothing_is_installed(elsewhere: Path) -> None:
    bare = {"PATH": "/usr/bin:/bin"}
    result = subprocess.run([elsewhere, "127.0.0.1:1"], env=bare, capture_output=True, text=True, cwd=elsewhere.parent)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "`make setup`" in result.stderr
    assert str(elsewhere.parents[2]) in result.stderr
