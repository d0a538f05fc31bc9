"""What is done in a guest once it has booted: set-up, registration, credentials."""

from __future__ import annotations

import base64
import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudpc.iac import outputs
from cloudpc.model.access import Ssh
from cloudpc.model.cloud_pc import USABLE, PinnedScript, Status
from cloudpc.model.credentials import generate_password
from cloudpc.model.errors import ErrorCode
from cloudpc.model.guests import Completed
from cloudpc.provisioning import stages
from cloudpc.rules import transitions

from . import make
from .fake_organisation import Organisation
from .fake_rim import IDENTITY, KEY, Run, ScriptedHost, desired, said


def test_the_password_is_nowhere_but_with_its_user(
    host: ScriptedHost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "hUnTeR-22222-secrt-ABCDE"
    monkeypatch.setattr(stages, "generate_password", lambda: secret)
    caplog.set_level(logging.DEBUG)
    kept: list[str] = []
    host.hooks["start"] = lambda: kept.extend(path.read_text() for path in host.folder.glob("*.seed"))
    host.configure(faults=[{"call": "finish ready", "fault": "crash", "times": 2}])
    run = Run(host)
    outcome = run.provision()
    assert outcome.credentials is not None
    assert outcome.credentials.password == secret
    holding = {p.name for p in host.folder.rglob("*") if p.is_file() and secret in p.read_text()}
    assert holding == {f"{IDENTITY}.password"}
    assert kept
    for text in (*kept, repr(outcome), str(outcome), *run.lines.steps, *run.lines.milestones, caplog.text):
        assert secret not in text


def test_passwords_are_long_and_never_the_same() -> None:
    passwords = {generate_password() for _ in range(200)}
    assert len(passwords) == 200
    assert all(len(set(password)) > 5 and len(password) == 23 for password in passwords)


_EXTRAS: dict[str, Any] = {"packages": ("git", "vim"), "time_zone": "Europe/Berlin", "locale": "de-DE"}
_CODES = [
    ErrorCode.TIME_ZONE_FAILED,
    ErrorCode.PACKAGES_FAILED,
    ErrorCode.LOCALE_FAILED,
    ErrorCode.POST_PROVISIONING_SCRIPT_FAILED,
]


def test_extras_that_fail_leave_a_usable_cloud_pc(tmp_path: Path) -> None:
    host = ScriptedHost(tmp_path, exit_code=3)
    run = Run(host)
    run.script = lambda: b"#!/bin/sh\nexit 3\n"
    outcome = run.provision(desired(**_EXTRAS, script=PinnedScript(path="setup.sh", sha256="11")))
    assert outcome.status is Status.PROVISIONED_WITH_WARNINGS
    assert [warned.code for warned in outcome.warnings] == _CODES
    assert outcome.credentials is not None
    for warned in outcome.warnings:
        assert "exit code 3: said by the fake guest" in warned.message
    assert outcome.attempts == 1


def test_extras_that_take_too_long_are_a_warning(host: ScriptedHost) -> None:
    host.configure(faults=[{"call": "run", "fault": "timeout", "times": 1}])
    outcome = Run(host).provision(desired(**_EXTRAS, set_up_in_seconds=9))
    assert outcome.status is Status.PROVISIONED_WITH_WARNINGS
    assert [(w.code, w.message) for w in outcome.warnings] == [
        (ErrorCode.TIME_ZONE_FAILED, "time zone Europe/Berlin: took longer than 9 seconds")
    ]


def test_nothing_is_run_for_a_policy_that_asks_for_nothing(host: ScriptedHost) -> None:
    Run(host).provision(desired(packages=()))
    assert "run" not in host.calls


def test_user_input_reaches_the_guest_as_arguments_only(tmp_path: Path) -> None:
    seen: list[tuple[tuple[str, ...], bytes]] = []

    class Listening(ScriptedHost):
        def run_script(self, machine_id: Any, script: Any, watch: Any) -> Any:
            if script.name != "facts":
                seen.append((script.argv, script.stdin))
            return super().run_script(machine_id, script, watch)

    run = Run(Listening(tmp_path))
    script = b"#!/bin/sh\necho $(hostname)\n"
    run.script = lambda: script
    run.provision(desired(**_EXTRAS, script=PinnedScript(path="setup.sh", sha256="11")))
    for argv, _ in seen:
        assert argv[:3] == ("setsid", "/bin/sh", "-c")
        assert not [word for word in ("Berlin", "git", "de_DE", "hostname") if word in argv[3]]
    assert [argv[5:] for argv, _ in seen] == [("Europe/Berlin",), ("45", "git", "vim"), ("de_DE",), ()]
    assert [stdin for _, stdin in seen] == [b"", b"", b"", script]


@pytest.mark.parametrize("key", [None, b"", b"ssh-ed25519 AAAAfake fake", b"\xff\xfe", b"ssh-rsa AAAA"])
def test_a_guest_without_host_key_is_not_handed_out(tmp_path: Path, key: bytes | None) -> None:
    host = ScriptedHost(tmp_path)
    host.facts = said(tmp_path, key=key)
    outcome = Run(host).provision()
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.CREDENTIALS_FAILED
    assert host.things() == []


def test_a_desktop_is_known_by_what_its_guest_has_said(tmp_path: Path) -> None:
    host = ScriptedHost(tmp_path)
    pem = base64.b64encode(b"certificate").decode()
    host.facts = f"{host.facts}\ndesktop {pem}\n"
    thumbprint = hashlib.sha256(b"certificate").hexdigest()
    found = Run(host).provision(desired(has_desktop=True))
    assert isinstance(found.access, Ssh)
    assert (found.access.host_key, found.access.certificate_thumbprint) == (KEY, thumbprint)


def test_a_desktop_that_the_image_does_not_promise_is_not_recorded(tmp_path: Path) -> None:
    host = ScriptedHost(tmp_path)
    host.facts = f"{host.facts}\ndesktop AAAA\n"
    found = Run(host).provision(desired())
    assert isinstance(found.access, Ssh)
    assert found.access.certificate_thumbprint == ""


def test_a_guest_that_should_have_a_desktop_and_shows_none_is_not_handed_out(host: ScriptedHost) -> None:
    outcome = Run(host).provision(desired(has_desktop=True))
    assert outcome.error is not None
    assert (outcome.error.code, host.things()) == (ErrorCode.CREDENTIALS_FAILED, [])
    assert "no certificate of its desktop" in outcome.error.message


def test_a_system_that_nobody_knows_is_no_reason_to_try_again(host: ScriptedHost) -> None:
    outcome = Run(host).provision(desired(guest_os="later"))
    assert outcome.error is not None
    assert outcome.error.message == "'later' is not a guest system; there are: linux, windows"
    assert (outcome.attempts, host.things()) == (1, [])


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (Completed(127, "sh: setsid: not found\n"), "exit code 127: sh: setsid: not found"),
        (Completed(124, "took longer than 90 s", timed_out=True), "took longer than 90 s"),
    ],
)
def test_a_guest_that_can_not_be_asked_what_it_is_fails(tmp_path: Path, said: Completed, told: str) -> None:
    class Dumb(ScriptedHost):
        def run_script(self, machine_id: Any, script: Any, watch: Any) -> Any:
            return said if script.name == "facts" else super().run_script(machine_id, script, watch)

    outcome = Run(Dumb(tmp_path)).provision()
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.SET_UP_FAILED
    assert outcome.error.message == f"The guest does not say what it is: {told}."


def test_the_network_may_be_as_late_as_the_first_boot_and_what_needs_it_waits(tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []

    class Late(ScriptedHost):
        def access(self, machine_id: Any, watch: Any) -> Any:
            seen.append(("access", watch.remaining))
            return super().access(machine_id, watch)

        def run_script(self, machine_id: Any, script: Any, watch: Any) -> Any:
            if script.name != "facts":
                seen.append(("run", script.timeout))
            return super().run_script(machine_id, script, watch)

    assert Run(Late(tmp_path)).provision(desired(first_boot_in_seconds=600)).status is Status.PROVISIONED
    assert [call for call, _ in seen] == ["access", "run", "access"]
    assert 500 < seen[0][1] <= 600
    assert seen[1][1] == 60
    assert 500 < seen[2][1] <= 600


def test_a_custom_image_is_told_to_remember_its_first_boot(host: ScriptedHost, tmp_path: Path) -> None:
    """Before anything else of the set-up; a guest that can't be told is handed over all the same."""
    host.configure(faults=[{"call": "run", "fault": "timeout", "times": 1}])
    outcome = Run(host).provision(desired(image_type="custom", packages=()))
    assert (outcome.status, outcome.attempts) == (Status.PROVISIONED, 1)
    assert host.calls.count("run") == 1


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b'NAME=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n', "Debian GNU/Linux 12 (bookworm)"),
        (b"PRETTY_NAME=Small\n", "Small"),
        (b'PRETTY_NAME="\x1b[31mRed\xff\x1b[0m"\n', "Red\ufffd"),
        (b"PRETTY_NAME=" + b"x" * 100, "x" * 64),
        (b"NAME=x\n", ""),
        (None, ""),
    ],
)
def test_a_device_is_registered_with_what_its_guest_is(
    host: ScriptedHost, organisation: Organisation, tmp_path: Path, content: bytes | None, name: str
) -> None:
    host.facts = said(tmp_path, system=content, key=f"{KEY} a comment".encode())
    run = Run(host)
    run.registration = organisation.registration()
    assert run.provision().status in USABLE
    [device] = organisation.devices.values()
    assert (device.operating_system, device.operating_system_version) == ("Linux", name)


def test_what_its_host_says_of_the_machine_is_part_of_the_outcome(host: ScriptedHost) -> None:
    facts = {"vmResourceId": "/subscriptions/1/vm"}
    host.hooks["finished ready"] = lambda: host._change(IDENTITY, lambda machine: replace(machine, facts=facts))
    outcome = Run(host).provision()
    assert outcome.facts == facts
    recorded = transitions.provisioned(desired(), outcome, make.NOW)
    assert outputs.read(outputs.written(recorded)).facts == outputs.written(recorded)["facts"] == facts


def test_a_host_that_is_lost_after_all_is_done_keeps_nobody_from_working(host: ScriptedHost) -> None:
    host.hooks["finished ready"] = lambda: setattr(host, "away", True)
    outcome = Run(host).provision()
    assert (outcome.status, outcome.facts) == (Status.PROVISIONED, {})
