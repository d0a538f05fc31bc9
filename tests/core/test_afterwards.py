"""What is done on a machine that stays, against a fake host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from cloudpc import guests
from cloudpc.model.access import Access
from cloudpc.model.cloud_pc import PinnedScript
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Script
from cloudpc.model.machines import PowerState
from cloudpc.model.watch import Watch
from cloudpc.provisioning.afterwards import Afterwards
from cloudpc.provisioning.resources import Resources
from cloudpc.rules.actions.update_kernel import UPDATE_KERNEL
from tests.support.failures import fails_with

from .fake_rim import IDENTITY, Run, ScriptedHost, desired, image


def changed_since() -> bytes:
    raise ProvisioningError(ErrorCode.SET_UP_FAILED, "the script is another one by now")


def afterwards(host: ScriptedHost) -> Afterwards:
    wanted = desired(script=PinnedScript(path="set-up.sh", sha256="ab" * 32))
    Run(host).provision()
    host.calls.clear()
    resources = Resources([host], image=lambda _note: image(), script=changed_since, guest_os=guests.named)
    return Afterwards(wanted, host, resources, Watch())


def workplace(host: ScriptedHost, machine: Afterwards) -> Any:
    wanted = desired()
    return SimpleNamespace(
        host=host, recorded=wanted, desired=wanted, watch=Watch(), wake=machine.wake, image=lambda _settings: image()
    )


def stop(host: ScriptedHost) -> None:
    host._change(IDENTITY, lambda machine: replace(machine, power=PowerState.STOPPED))


def test_a_script_that_has_not_failed_is_not_looked_for(host: ScriptedHost) -> None:
    tried = afterwards(host)
    assert tried.try_extras({ErrorCode.PACKAGES_FAILED}) == []
    assert host.calls == ["power_on", "run"]
    with fails_with(ErrorCode.SET_UP_FAILED, "another one"):
        tried.try_extras({ErrorCode.PACKAGES_FAILED, ErrorCode.POST_PROVISIONING_SCRIPT_FAILED})


def test_one_that_was_off_is_tried_once_it_is_ready(host: ScriptedHost) -> None:
    tried = afterwards(host)
    stop(host)
    tried.try_extras({ErrorCode.PACKAGES_FAILED})
    assert host.calls == ["power_on", "wait_ready", "run"]
    stop(host)
    UPDATE_KERNEL.work(workplace(host, tried))
    assert host.calls[3:] == ["ensure_image", "power_on", "wait_ready", "update_kernel"]


class Cloud(ScriptedHost):
    """Has nothing that not all hosts have."""

    update_kernel = None


def test_where_no_kernel_can_be_moved_it_says_so_and_touches_nothing(tmp_path: Path) -> None:
    host = Cloud(tmp_path)
    tried = afterwards(host)
    with fails_with(ErrorCode.SET_UP_FAILED, "local", "own disk") as refused:
        UPDATE_KERNEL.work(workplace(host, tried))
    assert not refused.value.retriable
    assert host.calls == []


def test_its_own_machine_is_looked_at_within_its_own_time(host: ScriptedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"#!/bin/sh\necho set up\n"
    wanted = desired(script=PinnedScript(path="set-up.sh", sha256="ab" * 32))
    Run(host).provision()
    asked: list[Any] = []
    ran: list[Script] = []
    guest, access, run_script = host.guest, host.access, host.run_script

    def run(id_: UUID, script: Script, watch: Watch) -> Completed:
        ran.append(script)
        return run_script(id_, script, watch)

    def reach(id_: UUID, watch: Watch) -> Access:
        assert 0 < watch.remaining <= wanted.settings.first_boot_in_seconds
        return access(id_, watch)

    monkeypatch.setattr(host, "guest", lambda id_: asked.append(id_) or guest(id_))
    monkeypatch.setattr(host, "access", reach)
    monkeypatch.setattr(host, "run_script", run)
    resources = Resources([host], image=lambda _note: image(), script=lambda: content, guest_os=guests.named)
    tried = Afterwards(wanted, host, resources, Watch())
    assert tried.try_extras({ErrorCode.POST_PROVISIONING_SCRIPT_FAILED}) == []
    assert asked == [IDENTITY, IDENTITY]
    assert any("echo set up" in str(vars(script) if hasattr(script, "__dict__") else script) for script in ran)
