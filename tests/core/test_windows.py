"""Windows guests: scripts as one, what they say of themselves, names of accounts. No PowerShell runs here."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc import guests
from cloudpc.guests.windows import powershell
from cloudpc.model.cloud_pc import Account
from cloudpc.model.errors import ErrorCode
from cloudpc.model.guests import Completed, Facts, Script
from cloudpc.model.image import QCOW2
from cloudpc.model.joined_scripts import apart
from tests.core.fake_rim import desired

WINDOWS = guests.named("windows")
_SAYS = Script("'hello'", timeout=20, interpreter=powershell.INTERPRETER)
_SAID = """system Microsoft Windows 11 Enterprise 24H2\r
thumbprint 00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\r
device 5fa3b1f2-8d6f-4e0b-9f0e-2a6f6c1d7e10\r
"""


def test_scripts_are_one_whose_lines_tell_them_apart() -> None:
    scripts = [_SAYS, replace(_SAYS, text="exit 3", stdin=b"read", timeout=5)]
    one = powershell.joined(scripts)
    calls = re.findall(r"^One (\d+) ([\d.]+) \d+ @'\n(.*?)\n'@ '([^']*)'", one.text, re.MULTILINE | re.DOTALL)
    assert calls == [("0", "20.000", "'hello'", ""), ("1", "5.000", "exit 3", base64.b64encode(b"read").decode())]
    assert one.timeout > 25
    said = "cloudpc-script 0 0 aGVsbG8NCg==\r\ncloudpc-script 1 3 \r\ncloudpc-done 0\r\n"
    assert apart(scripts, Completed(0, said)) == [Completed(0, "hello\r\n"), Completed(3, "")]


def test_secrets_are_parameters_each_for_its_own_script() -> None:
    secret = replace(_SAYS, secrets={"CLOUDPC_PASSWORD": "hunter2"})
    one = powershell.joined([_SAYS, secret])
    assert one.secrets == {"CLOUDPC_1_CLOUDPC_PASSWORD": "hunter2"}
    assert one.text.startswith("param([string] $CLOUDPC_1_CLOUDPC_PASSWORD)\n")
    assert "hunter2" not in one.text
    first, second = re.findall(r"^'@ .*$", one.text, re.MULTILINE)
    assert first.endswith("@{}")
    assert second.endswith("@{'CLOUDPC_PASSWORD' = $CLOUDPC_1_CLOUDPC_PASSWORD}")


def test_what_would_end_a_text_early_is_refused() -> None:
    with pytest.raises(ValueError, match="can't be joined"):
        powershell.joined([replace(_SAYS, text="a\n'@ ; evil")])


def test_what_a_guest_says_of_itself() -> None:
    proof = "00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF"
    device = UUID("5fa3b1f2-8d6f-4e0b-9f0e-2a6f6c1d7e10")
    assert WINDOWS.read(_SAID) == Facts("Windows 11 Enterprise 24H2", proof, device)
    assert WINDOWS.read("thumbprint abc\ndevice 0\n") == Facts()


@given(st.text())
def test_whatever_a_guest_says_can_be_read(said: str) -> None:
    WINDOWS.read(said)


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (Completed(0, ""), None),
        (Completed(75, "nothing listens"), ErrorCode.BOOT_TIMEOUT),
        (Completed(124, "did not come to an end", timed_out=True), ErrorCode.BOOT_TIMEOUT),
        (Completed(1, "no such command"), ErrorCode.FIRST_BOOT_FAILED),
    ],
)
def test_the_end_of_its_boot(ended: Completed, code: ErrorCode | None) -> None:
    problem = WINDOWS.first_boot_problem(ended)
    assert (problem.code if problem else None) is code
    assert "AddSeconds(90)" in WINDOWS.first_boot(90.5).text


@pytest.mark.parametrize(
    ("name", "account"),
    [
        ("alice", "alice"),
        ("ada.von.lovelace.countess", "ada.von.lovelace.cou"),
        ("a+b", "a-b"),
        ("administrator", "u-administrator"),
        ("...", "user-1"),
        ("Zoë", "Zoë"),
    ],
)
def test_names_of_accounts(name: str, account: str) -> None:
    assert WINDOWS.account_name(name) == account


def test_its_password_is_a_secret_and_the_seed_says_who_administers() -> None:
    script = WINDOWS.password("alice", "hunter2")
    assert "hunter2" not in script.text
    assert dict(script.secrets) == {"CLOUDPC_USER": "alice", "CLOUDPC_PASSWORD": "hunter2"}
    seed = WINDOWS.seed(
        instance_id="i", device_name="CPC-1", account=Account(name="alice", display_name="Alice"), local_admin=True
    )
    assert seed.user_data == '# cloudpc\n{"account": "alice", "localAdmin": true}\n'


def test_what_is_not_done_in_windows_yet_is_a_warning() -> None:
    settings = desired(time_zone="Europe/Berlin", locale="de-DE", packages=("git",)).settings
    codes = [extra.code for extra in WINDOWS.extras(settings, b"script")]
    assert codes == [
        ErrorCode.TIME_ZONE_FAILED,
        ErrorCode.PACKAGES_FAILED,
        ErrorCode.LOCALE_FAILED,
        ErrorCode.POST_PROVISIONING_SCRIPT_FAILED,
    ]


def test_only_images_of_clouds_may_be_windows() -> None:
    assert guests.of_images("azure") == ["linux", "windows"]
    assert guests.of_images(QCOW2) == ["linux"]
