"""The tenant as a program of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

REPO = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "tests.tenant")
Start = Callable[..., "Running"]


class Running:
    """The program, after it has said how it is reached."""

    def __init__(self, *arguments: str, **env: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "--port", "0", *arguments], cwd=REPO, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**{k: v for k, v in os.environ.items() if k != "CLOUDPC_GRAPH_TOKEN"}, **env},
        )  # fmt: skip
        self.said = ""
        for line in self._out:
            self.said += line
            if line.startswith("Requests"):
                break
        self.token = self.found(r"export CLOUDPC_GRAPH_TOKEN=(\S+)")

    @property
    def _out(self) -> Any:
        assert self.process.stdout
        return self.process.stdout

    def found(self, pattern: str) -> str:
        match = re.search(pattern, self.said)
        assert match, self.said
        return match[1]

    def line(self) -> str:
        return str(self._out.readline()).rstrip("\n")

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(urlsplit(self.found(r'endpoint: "([^"]+)"')).netloc, timeout=30)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None

    def end(self) -> tuple[int, str, str]:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


@pytest.fixture
def start(directory_file: Path) -> Iterator[Start]:
    running: list[Running] = []

    def begin(*arguments: str, **env: str) -> Running:
        running.append(Running("--directory", str(directory_file), *arguments, **env))
        return running[-1]

    yield begin
    for program in running:
        program.process.kill()
        program.process.communicate()


def test_it_says_how_it_is_reached_shows_requests_and_ends_quietly(start: Start) -> None:
    program = start()
    status, groups = program.request("GET", "/v1.0/groups?$select=displayName")
    assert status == 200
    assert {group["displayName"] for group in groups["value"]} == {"Engineering", "O'Neill's sales"}
    assert program.line() == "200 GET /groups?$select=displayName"
    program.request("GET", "/v1.0/groups?%0a$x=%1b")
    assert program.line() == "400 GET /groups??$x=?"
    assert all(group["id"] in program.said for group in groups["value"])
    assert program.end() == (0, "", "")


def test_devices_are_kept_and_the_token_is_what_the_shell_has(start: Start, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state.json"))
    first = start(*state, CLOUDPC_GRAPH_TOKEN="my-own")
    assert first.request("POST", "/fake/guestJoined/CPC-1")[0] == 201
    assert first.end()[0] == 0
    second = start(*state, CLOUDPC_GRAPH_TOKEN="my-own")
    assert second.token == first.token == "my-own"
    status, devices = second.request("GET", "/v1.0/devices")
    assert [device["displayName"] for device in devices["value"]] == ["CPC-1"]
    status, _ = second.request("DELETE", f"/v1.0/devices/{devices['value'][0]['id']}")
    assert status == 204
    assert second.end()[0] == 0
    assert json.loads((tmp_path / "state.json").read_text())["devices"] == {}


def test_who_may_register(start: Start) -> None:
    assert start().request("POST", "/v1.0/devices", {})[0] == 400
    assert start("--allow", "application").request("POST", "/v1.0/devices", {})[0] == 403


def test_policies_of_a_file_and_refused_deletion(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "policies.json"
    file.write_text(json.dumps({"value": [{"id": "p1", "displayName": "Mine"}]}))
    program = start("--policies", str(file), "--refuse-deletion")
    _, policies = program.request("GET", "/v1.0/deviceManagement/virtualEndpoint/provisioningPolicies")
    assert [policy["displayName"] for policy in policies["value"]] == ["Mine"]
    assert program.request("DELETE", "/v1.0/devices/x")[0] == 403
    _, policies = start().request("GET", "/v1.0/deviceManagement/virtualEndpoint/provisioningPolicies")
    assert [policy["displayName"] for policy in policies["value"]] == ["Engineering workstations"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--directory", "{}/nothing.yaml"), "nothing.yaml"),
        (("--directory", "{}/directory.yaml", "--state", "{}/bad.json"), "bad.json: is not JSON"),
        (("--directory", "{}/directory.yaml", "--policies", "{}/none.json"), "none.json: No such file"),
    ],
)
def test_what_is_wrong_is_told_without_a_trace(
    directory_file: Path, tmp_path: Path, wrong: tuple[str, ...], words: str
) -> None:
    (tmp_path / "bad.json").write_text("{")
    arguments = ["--port", "0", *(argument.format(tmp_path) for argument in wrong)]
    done = subprocess.run([*COMMAND, *arguments], cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_told(directory_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = [*COMMAND, "--directory", str(directory_file), "--port", port]
        done = subprocess.run(arguments, cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, f"port {port}: Address already in use\n")


def test_help() -> None:
    done = subprocess.run([*COMMAND, "--help"], cwd=REPO, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "--directory" in done.stdout
