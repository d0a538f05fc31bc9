"""Our own provider through the real host process: what the engine asks of it, without the engine."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from engine_side import REPOSITORY, FakeEngine, Plugin, Start
from google.protobuf import json_format, struct_pb2
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from cloudpc.iac import outputs
from cloudpc.iac.provider import CloudPCProvider
from cloudpc.model.cloud_pc import Account, DesiredCloudPC, NetworkChoice, PlanSize, PolicySettings
from cloudpc.operations.consent import Consent

LAUNCHER = REPOSITORY / "provider/plugin/pulumi-resource-pulumi-python"
URN = "urn:pulumi:demo::cloudpc::pulumi-python:dynamic/cloudpc:CloudPC::u-alice/LAB"


class Engine:
    """Calls the provider like the engine: everything as protobuf structs."""

    def __init__(self, plugin: Plugin, host: Path, image: Path) -> None:
        self._stub = provider_pb2_grpc.ResourceProviderStub(plugin.channel)
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        self.desired = DesiredCloudPC(
            policy_id="demo", installation="0123456789abcdef", user_id="u-alice",
            user_principal_name="alice@contoso.example", device_name="CPC-alice-BCDFG",
            account=Account(name="alice", display_name="Alice"),
            service_plan=PlanSize(id="LAB", display_name="Lab", v_cpu_count=1, ram_in_gb=0.5, storage_in_gb=8),
            settings=PolicySettings(
                provisioning_policy_name="Demo", image_type="custom", image_id="tiny", image_digest=digest,
                networks=(NetworkChoice(kind="hosted"),), locale="en-US", time_zone="UTC", local_admin_enabled=False,
                first_boot_in_seconds=30, set_up_in_seconds=30,
            ),
        )  # fmt: skip
        image_config = {"tiny": {"path": str(image), "sha256": digest, "firmware": "bios", "minimumMemoryInMB": 64}}
        config = {
            "cloudpc:hosts": json.dumps([{"name": "host", "uri": f"fake://{quote(str(host))}"}]),
            "cloudpc:images": json.dumps(image_config),
        }
        self._stub.Configure(provider_pb2.ConfigureRequest(args=_struct(config)))
        self._provider = serialize_provider(CloudPCProvider())

    def create(self) -> tuple[str, dict[str, Any]]:
        answer = self._stub.Create(provider_pb2.CreateRequest(urn=URN, properties=self._inputs(self.desired)))
        return answer.id, json_format.MessageToDict(answer.properties)

    def changes(self, olds: dict[str, Any], desired: DesiredCloudPC) -> bool:
        request = provider_pb2.DiffRequest(urn=URN, id="x", olds=_struct(olds), news=self._inputs(desired))
        return bool(self._stub.Diff(request).changes == provider_pb2.DiffResponse.DIFF_SOME)

    def update(self, olds: dict[str, Any]) -> dict[str, Any]:
        request = provider_pb2.UpdateRequest(urn=URN, id="x", olds=_struct(olds), news=self._inputs(self.desired))
        return dict(json_format.MessageToDict(self._stub.Update(request).properties))

    def read(self, id_: str, props: dict[str, Any]) -> dict[str, Any]:
        answer = self._stub.Read(provider_pb2.ReadRequest(urn=URN, id=id_, properties=_struct(props)))
        return dict(json_format.MessageToDict(answer.properties))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        self._stub.Delete(provider_pb2.DeleteRequest(urn=URN, id=id_, properties=_struct(props)))

    def _inputs(self, desired: DesiredCloudPC) -> struct_pb2.Struct:
        return _struct({**outputs.pinned(desired), "__provider": self._provider})


def _struct(values: dict[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(values)
    return struct


@pytest.fixture
def host_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "fake host"
    folder.mkdir()
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
    return path


def _start(start: Start, **env: str) -> Plugin:
    return start(LAUNCHER, cwd=REPOSITORY / "stacks", env={"PYTHONPATH": str(REPOSITORY / "tests/fakes"), **env})


def _machines(host: Path) -> int:
    return len(list((host / "machines").glob("*.json")))


def test_the_reference_in_state_is_small_and_stays_importable() -> None:
    # what state holds of the provider: its module and name. Older states depend on both
    assert len(serialize_provider(CloudPCProvider())) < 100
    assert (CloudPCProvider.__module__, CloudPCProvider.__qualname__) == ("cloudpc.iac.provider", "CloudPCProvider")
    assert CloudPCProvider.serialize_as_secret_always is False


def test_create_then_nothing_to_do(start: Start, engine: FakeEngine, host_folder: Path, image: Path) -> None:
    calls = Engine(_start(start), host_folder, image)
    id_, outs = calls.create()
    assert outs["status"] == "provisioned"
    assert outs["credentials"]["user"] == "alice"
    assert _machines(host_folder) == 1
    assert not calls.changes(outs, calls.desired)
    edited = calls.desired.settings.model_copy(update={"time_zone": "Europe/Berlin", "image_id": "other"})
    assert not calls.changes(outs, calls.desired.model_copy(update={"settings": edited}))
    assert calls.read(id_, outs) == outs
    shown = [(entry.urn, entry.message, entry.ephemeral) for entry in engine.logged]
    assert (URN, "first boot: on host", True) in shown
    assert outs["credentials"]["password"] not in str(shown)


def test_no_password_is_made_that_would_be_sealed_with_nothing(start: Start, host_folder: Path, image: Path) -> None:
    calls = Engine(_start(start, PULUMI_CONFIG_PASSPHRASE=""), host_folder, image)
    for call in (calls.create, lambda: calls.update({**outputs.pinned(calls.desired), "status": "pendingProvision"})):
        with pytest.raises(grpc.RpcError) as refusal:
            call()
        assert "PULUMI_CONFIG_PASSPHRASE: is empty" in refusal.value.details()
    assert _machines(host_folder) == 0


def test_what_waits_is_updated_and_what_failed_is_not(start: Start, host_folder: Path, image: Path) -> None:
    settings = host_folder / "host.json"
    settings.write_text(json.dumps({"memory_mib": 1}))
    calls = Engine(_start(start), host_folder, image)
    _, waiting = calls.create()
    assert waiting["status"] == "pendingProvision"
    assert calls.changes(waiting, calls.desired)
    settings.write_text("{}")
    updated = calls.update(waiting)
    assert updated["status"] == "provisioned"
    assert set(updated) >= set(waiting) - {"statusDetail"}  # the complete outputs: Pulumi keeps no others
    assert not calls.changes({**waiting, "status": "failed"}, calls.desired)


def test_delete_is_refused_unless_the_policy_is_named(start: Start, host_folder: Path, image: Path) -> None:
    calls = Engine(_start(start, **Consent(delete="another").environment()), host_folder, image)
    id_, outs = calls.create()
    with pytest.raises(grpc.RpcError) as refusal:
        calls.delete(id_, outs)
    assert (
        "not deleted: the Cloud PC CPC-alice-BCDFG of alice@contoso.example is provisioned" in refusal.value.details()
    )
    assert _machines(host_folder) == 1


def test_delete_removes_the_machine_when_allowed(start: Start, host_folder: Path, image: Path) -> None:
    calls = Engine(_start(start, **Consent(delete="demo").environment()), host_folder, image)
    id_, outs = calls.create()
    calls.delete(id_, outs)
    calls.delete(id_, outs)  # again is no error
    assert _machines(host_folder) == 0
