"""A plain client for the tests of the fake."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from tests.azure import contract
from tests.azure.arm import FakeArm
from tests.support.azure import Reached

DEBIAN = {"publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest"}
_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7mMnyXsmyZGzY4Vx8s1oUR5v0G0QH5oLkzV0gJ0b1E"


@dataclass(frozen=True)
class Got:
    """An answer."""

    status: int
    body: Any
    headers: dict[str, str]
    content: bytes = b""

    @property
    def code(self) -> str:
        """ARM's word for the error."""
        return str(self.body["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.body["error"]["message"])


class Http:
    """One connection that stays open. Paths below the group may be written from `networkInterfaces/…` on."""

    def __init__(self, arm: FakeArm, token: str | None = "") -> None:
        self.arm = arm
        self.token = arm.token() if token == "" else token
        self.connection = http.client.HTTPConnection(urlsplit(arm.url).netloc, timeout=30)

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Got:
        target = path.removeprefix(self.arm.url) if path.startswith("http") else self._target(method, path)
        sent = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, target, data, sent)
        answer = self.connection.getresponse()
        text = answer.read()
        is_json = "json" in (answer.getheader("Content-Type") or "")
        shown = {k.lower(): v for k, v in answer.getheaders()}
        return Got(answer.status, json.loads(text) if text and is_json else None, shown, text)

    def _target(self, method: str, path: str) -> str:
        path, _, query = path.partition("?")
        kind = path.partition("/")[0]
        if not path.startswith("/"):
            provider = "Microsoft.Network" if kind in ("networkInterfaces", "virtualNetworks") else "Microsoft.Compute"
            path = f"{self.arm.account.group_id}/providers/{provider}/{path}"
        known = contract.find(method, path)
        if "api-version" not in query and known:
            query += f"{'&' if query else ''}api-version={known.api_version}"
        return quote(path, safe="/") + (f"?{quote(query, safe='=&$%')}" if query else "")

    def get(self, path: str, **headers: str) -> Got:
        return self("GET", path, **headers)

    def put(self, path: str, body: Any, **headers: str) -> Got:
        return self("PUT", path, body, **headers)

    def delete(self, path: str) -> Got:
        return self("DELETE", path)

    def follow(self, got: Got) -> Got:
        """Until the operation has ended."""
        while True:
            if where := got.headers.get("azure-asyncoperation"):
                asked = self.get(where)
                if asked.body["status"] != "InProgress":
                    return asked
            else:
                asked = self.get(got.headers["location"])
                if asked.status != 202:
                    return asked

    # ---- the usual orders

    def nic(self, name: str = "nic", **more: Any) -> Got:
        """A network interface in the account's subnet, made to its end."""
        got = self.put(f"networkInterfaces/{name}", nic_body(self.arm) | more)
        self.follow(got)
        return got

    def vm(self, name: str = "vm", nic: str = "nic", **properties: Any) -> Got:
        """A virtual machine over a network interface that is there."""
        return self.put(f"virtualMachines/{name}", vm_body(self.arm, nic, **properties))

    def made(self, name: str = "vm", nic: str = "nic", **properties: Any) -> Got:
        """Both, to their end."""
        self.nic(nic)
        got = self.vm(name, nic, **properties)
        assert got.status == 201, got.body
        return self.follow(got)


def nic_body(arm: Reached, subnet_id: str | None = None) -> dict[str, Any]:
    """The order of a network interface."""
    configuration = {
        "name": "ip",
        "properties": {
            "subnet": {"id": subnet_id or arm.account.subnet_id}, "privateIPAllocationMethod": "Dynamic",
            "primary": True,
        },
    }  # fmt: skip
    return {
        "location": arm.account.location, "tags": {"cloudpc-machine": "m"},
        "properties": {"ipConfigurations": [configuration]},
    }  # fmt: skip


def vm_body(arm: Reached, nic: str = "nic", **properties: Any) -> dict[str, Any]:
    """The order of a virtual machine."""
    nic_id = arm.account.id("networkInterfaces", nic)
    keys = [{"path": "/home/cloudpc/.ssh/authorized_keys", "keyData": _KEY}]
    return {
        "location": arm.account.location,
        "tags": {"cloudpc-machine": "m", "cloudpc-attempt": "1"},
        "properties": {
            "hardwareProfile": {"vmSize": "Standard_D2as_v5"},
            "storageProfile": {
                "imageReference": DEBIAN,
                "osDisk": {"name": f"{nic}-os", "createOption": "FromImage", "deleteOption": "Delete",
                           "diskSizeGB": 64, "managedDisk": {"storageAccountType": "StandardSSD_LRS"}},
            },
            "osProfile": {
                "computerName": "cpc-1", "adminUsername": "cloudpc", "customData": "I2Nsb3VkLWNvbmZpZwo=",
                "linuxConfiguration": {"disablePasswordAuthentication": True, "ssh": {"publicKeys": keys}},
            },
            "networkProfile": {"networkInterfaces": [
                {"id": nic_id, "properties": {"primary": True, "deleteOption": "Delete"}}
            ]},
            "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
            "userData": "eyJhIjogMX0=",
        } | properties,
    }  # fmt: skip
