"""The fake Azure as a program of its own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from cloudpc.machines.azure.configuration import AzureHostConfig
from tests.azure import contract
from tests.support.project import REPO

COMMAND = (sys.executable, "-m", "tests.azure")


def test_it_says_how_it_is_used_and_shows_what_is_asked() -> None:
    with subprocess.Popen([*COMMAND, "--port", "0"], cwd=REPO, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = ""
        while "Requests" not in said:
            said += process.stdout.readline()
        [entry] = re.findall(r"^ +- (\{.*\})$", said, re.MULTILINE)
        [token] = re.findall(r"export CLOUDPC_AZURE_TOKEN=(\S+)", said)
        host = AzureHostConfig.model_validate(json.loads(entry))
        assert _asked(f"{host.endpoint}{host.group_path}", token)["location"] == host.location
        assert "GET" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


@pytest.mark.parametrize("wrong", [("--port", "1x"), ("--guests", "no-such-recipe")])
def test_what_is_wrong_is_said(wrong: tuple[str, str]) -> None:
    ran = subprocess.run([*COMMAND, *wrong], cwd=REPO, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 2
    assert wrong[1] in ran.stderr
    assert "Traceback" not in ran.stderr


def _asked(url: str, token: str) -> Any:
    path = url.partition("/subscriptions")[1] + url.partition("/subscriptions")[2]
    path = path.replace("/resourceGroups/", "/resourcegroups/")
    known = contract.find("GET", path)
    assert known is not None
    base = url.partition("/subscriptions")[0]
    asked = urllib.request.Request(f"{base}{path}?api-version={known.api_version}")
    asked.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)
