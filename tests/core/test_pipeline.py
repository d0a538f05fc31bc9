"""Provisioning against a fake host, whole: each stage in its order, and what is seen before it begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cloudpc import guests
from cloudpc.model.access import Ssh
from cloudpc.model.cloud_pc import Status
from cloudpc.model.errors import ErrorCode
from cloudpc.model.image import Image
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from cloudpc.provisioning import pipeline
from cloudpc.provisioning.resources import Resources
from tests.support.failures import fails_with

from .fake_organisation import Organisation
from .fake_rim import CALLS, IDENTITY, KEY, THROUGH_HQ, Lines, Run, ScriptedHost, desired, image, machines, of_two_gb


def test_all_goes_well(host: ScriptedHost) -> None:
    run = Run(host)
    outcome = run.provision()
    assert outcome.status is Status.PROVISIONED
    assert outcome.attempts == 1
    assert outcome.host == "local"
    assert outcome.access == host.access(IDENTITY, Watch()).proven(KEY)
    assert isinstance(outcome.access, Ssh)
    assert outcome.access.host_key == KEY
    assert outcome.credentials is not None
    assert outcome.credentials.user == "u-alice"
    assert (host.folder / f"{IDENTITY}.password").read_text() == f"u-alice:{outcome.credentials.password}"
    assert outcome.error is None
    assert host.calls == [*CALLS, "finished ready"]
    assert machines([host]) == {"local": [Phase.READY]}
    stages = list(dict.fromkeys(line.partition(":")[0].partition(" (")[0] for line in run.lines.steps))
    assert stages == [stage.value for stage in Stage if stage not in (Stage.DOMAIN_JOIN, Stage.REGISTRATION)]
    assert not run.lines.milestones


def test_every_step_is_told_with_what_it_is_about(host: ScriptedHost, organisation: Organisation) -> None:
    run = Run(host)
    run.registration = organisation.registration()
    run.healthy = lambda _choice, _afresh: None

    def find(watch: Watch) -> Image:
        watch.note("checking it")
        return image()

    run.image = find
    run.provision(desired(networks=(THROUGH_HQ,), packages=(), time_zone="Europe/Berlin"))
    assert run.lines.steps == [
        "placing",
        "placing: checking the connection hq",
        "image",
        "image: checking it",
        "image: uploading micro",
        "disk",
        "starting: waiting for a free boot slot",
        "starting: on local",
        "first boot: on local",
        "first boot: waiting for its network",
        "domain join: through hq",
        "set-up",
        "set-up: time zone Europe/Berlin",
        "registration",
        "credentials",
    ]
    host.finish(IDENTITY, Phase.PROVISIONING)
    run.lines.steps.clear()
    run.provision(desired())
    assert run.lines.steps[:2] == ["placing", "placing: removing what an interrupted run left"]


def test_whatever_a_host_is_asked_is_of_this_machine_and_can_be_cancelled(
    host: ScriptedHost, organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, list[object]]] = []

    def remember(name: str) -> None:
        original = getattr(host, name)

        def call(*values: Any, **named: Any) -> Any:
            asked.append((name, [*values, *named.values()]))
            return original(*values, **named)

        monkeypatch.setattr(host, name, call)

    lasting = {"ensure_image", "boot_slot", "wait_ready", "run_script", "access"}
    of_the_machine = {"describe", "guest", "set_password", "finish", *lasting} - {"ensure_image", "boot_slot"}
    for name in lasting | of_the_machine:
        remember(name)
    run = Run(host)
    run.registration = organisation.registration()
    assert run.provision(desired(image_type="custom", networks=(THROUGH_HQ,))).status is Status.PROVISIONED
    assert {name for name, _ in asked} == lasting | of_the_machine
    assert [name for name, values in asked if name in of_the_machine and values[0] != IDENTITY] == []
    cancels = [
        (name, [value.cancel if isinstance(value, Watch) else value for value in values]) for name, values in asked
    ]
    assert [name for name, values in cancels if name in lasting and run.cancel not in values] == []


def test_what_would_fail_anywhere_is_seen_before_anything_is_removed(host: ScriptedHost) -> None:
    def resources(made: Image, script: Callable[[], bytes | None] = lambda: None) -> Resources:
        def find(watch: Watch) -> Image:
            watch.note("checking it")
            return made

        return Resources([host], find, script, guests.named)

    lines = Lines()
    pipeline.check_before(desired(), resources(image(minimum_memory_mib=512, disk_gib=8.0)), lines)
    assert lines.steps == ["image: checking it"]
    with fails_with(ErrorCode.IMAGE_INVALID, "micro", "513 MiB", "512"):
        pipeline.check_before(desired(), resources(image(minimum_memory_mib=513)), lines)
    with fails_with(ErrorCode.IMAGE_INVALID, "micro", "8.1 GB", "8 GB"):
        pipeline.check_before(desired(), resources(image(disk_gib=8.1)), lines)
    with fails_with(ErrorCode.IMAGE_INVALID, "micro", "2049 MiB", "2048"):
        pipeline.check_before(of_two_gb(), resources(image(minimum_memory_mib=2049)), lines)

    def gone() -> bytes:
        raise OSError("gone")

    with fails_with(ErrorCode.INTERNAL_ERROR, "OSError: gone"):
        pipeline.check_before(desired(), resources(image(), gone), lines)
    assert host.calls == []
