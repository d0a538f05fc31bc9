"""Commands that we print can be copied into a shell, whatever people, networks and images are called."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

import pytest

import cloudpc
from cloudpc.cli.cloud_pc_table import print_rows
from cloudpc.cli.output import Terminal
from cloudpc.model.text import command_line

_SHOWN = re.compile(r"`(?:cloudpc|pulumi|virsh|ip|ssh|apt-get) [^`\n]*`")
_ODD = ["o'brien@contoso.example", "a b@x", "$(id)@x", "a;b", "`id`", 'a"b', "ä@x", "~", "*", ""]


@pytest.mark.parametrize("name", _ODD)
def test_a_command_for_people_to_copy_is_what_a_shell_takes(name: str) -> None:
    script = f'cloudpc() {{ printf "%s\\0" "$@"; }}\n{command_line("cloudpc", "connect", name)}\n'
    ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\0")[:-1] == ["connect", name]


def test_no_command_is_shown_with_a_name_from_outside_as_it_is() -> None:
    """Names of policies, stacks and hosts are letters, digits, hyphens, periods and underscores."""
    plain = {
        "policy", "stack", "former", "policy_id", "own.policy_id", "cloud_pc.policy", "recorded.policy_id",
        "recorded.host", "count", "name", "_DEFAULT_NETWORK", "machine.name", "ACCEPT_LOSS", "' '.join(arguments)",
        "commands",
    }  # fmt: skip
    for file in (Path(cloudpc.__file__).parent).rglob("*.py"):
        for shown in _SHOWN.findall(file.read_text(encoding="utf-8")):
            assert set(re.findall(r"{([^}]*)}", shown)) <= plain, f"{file.name}: {shown}: use command_line"


def test_the_list_s_commands_can_be_copied() -> None:
    console = Terminal(file=io.StringIO(), width=400)
    row = {
        "userPrincipalName": "o'brien@contoso.example", "servicePlan": "Plan B", "servicePlanName": "B",
        "policy": "demo", "deviceName": "CPC", "status": "provisioned", "connection": {"host": "127.0.0.1"},
        "why": None,
        "gracePeriodEndDateTime": None, "powerState": None, "leftovers": [], "statusDetail": None,
    }  # fmt: skip
    print_rows([row, {**row, "servicePlan": "C"}], console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert """cloudpc connect 'o'"'"'brien@contoso.example' --service-plan 'Plan B'""" in shown
