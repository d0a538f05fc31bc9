"""The machine that a host is asked for: size, tag, image and seed, as plan and policy say."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from cloudpc.guests.linux import first_boot
from cloudpc.model.cloud_pc import Status
from cloudpc.model.errors import ErrorCode
from cloudpc.model.guests import Seed
from cloudpc.model.image import Image
from cloudpc.model.machines import Order
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch

from . import make
from .fake_rim import IDENTITY, Run, ScriptedHost, desired, image, of_two_gb


def test_what_a_first_boot_and_its_start_are_given(host: ScriptedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, seeds, started = desired(local_admin_enabled=True), [], []
    create_disk, start = host.create_disk, host.start

    def creating(spec: Order, made_of: Image, seed: Seed) -> None:
        seeds.append(seed)
        create_disk(spec, made_of, seed)

    def starting(spec: Order, made_of: Image) -> None:
        started.append((spec, made_of))
        start(spec, made_of)

    monkeypatch.setattr(host, "create_disk", creating)
    monkeypatch.setattr(host, "start", starting)
    account = wanted.account.model_copy(update={"ssh_public_keys": ("ssh-ed25519 AAAA",)})
    Run(host).provision(wanted.model_copy(update={"account": account}))
    assert seeds == [
        first_boot.seed(
            instance_id=f"{IDENTITY}-1",
            device_name=wanted.device_name,
            account=account,
            local_admin=True,
        )
    ]
    assert started == [(host.claimed[0], image())]


def test_an_image_that_needs_more_memory_than_the_plan_has(host: ScriptedHost) -> None:
    run = Run(host)
    run.image = lambda _note: image(minimum_memory_mib=512)
    assert run.provision(desired(user_id="u-bob")).status is Status.PROVISIONED
    host.delete(host.machines()[0].id, Watch())
    run.image = lambda _note: image(minimum_memory_mib=513)
    outcome = run.provision()
    assert outcome.status is Status.FAILED
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.IMAGE_INVALID
    assert outcome.attempts == 1
    assert host.things() == []


def test_an_image_larger_than_the_plans_disk_is_brought_to_no_host(host: ScriptedHost) -> None:
    run = Run(host)
    run.image = lambda _note: image(disk_gib=8.1)
    outcome = run.provision()
    assert outcome.error is not None
    assert (outcome.status, outcome.stage, outcome.attempts) == (Status.FAILED, Stage.IMAGE, 1)
    assert (outcome.error.code, "has a disk of 8.1 GB" in outcome.error.message) == (ErrorCode.IMAGE_INVALID, True)
    assert "ensure_image" not in host.calls


def test_an_image_that_is_needed_to_give_a_place_fails_as_one(
    host: ScriptedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "claim", lambda order, watch: order.image(watch))
    run = Run(host)
    run.image = lambda _note: image(disk_gib=8.1)
    assert run.provision().stage is Stage.IMAGE
    assert run.lines.steps[-1].startswith(Stage.IMAGE)


def test_the_machine_is_what_the_service_plan_says(host: ScriptedHost) -> None:
    Run(host).provision()
    [spec] = host.claimed
    assert isinstance(spec, Order)
    assert (spec.size.vcpus, spec.size.memory_mib, spec.size.disk_gib) == (1, 512, 8)
    assert spec.name.startswith("cloudpc-")
    [machine] = host.machines()
    wanted = desired()
    assert spec.title == f"{wanted.device_name} (u-alice@contoso.example)"
    assert len(machine.tag.settings_hash) == 16
    made_with = json.loads(machine.tag.made_with)
    assert made_with["userPrincipalName"] == "u-alice@contoso.example"
    assert "desiredStatus" not in made_with, "what is as always takes no place in the tag"
    assert replace(machine.tag, attempt="", settings_hash="") == replace(
        machine.tag, installation=make.INSTALLATION, policy_id="lab", user_id="u-alice", service_plan_id="small",
        generation=1, device_name=wanted.device_name, phase=Phase.READY, attempt="", settings_hash="",
    )  # fmt: skip


def test_a_gigabyte_of_memory_has_1024_mib(host: ScriptedHost) -> None:
    Run(host).provision(of_two_gb())
    assert host.claimed[0].size.memory_mib == 2048
