"""Behind Resource Manager's requests there are real machines: made, reached, asked, switched off and on, removed."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudpc.guests.linux import first_boot
from cloudpc.images import gallery
from cloudpc.model.access import Ssh
from cloudpc.model.cloud_pc import Account
from tests.azure.arm import FakeArm
from tests.azure.client import Got, Http, vm_body
from tests.azure.guests import Guests
from tests.azure.local_guest import missing
from tests.machines.audit import command_lines
from tests.machines.reach import answer, greeting
from tests.support.project import REPO

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900), pytest.mark.skipif(bool(missing()), reason=missing())]


class _Patient(Http):
    """Asks no oftener than Azure allows."""

    def follow(self, got: Got) -> Got:
        while (asked := self.get(got.headers["azure-asyncoperation"])).body.get("status") in ("InProgress", None):
            time.sleep(2)
        return asked


@pytest.fixture
def guests() -> Iterator[Guests]:
    made = Guests(gallery.build(REPO / "vm-images", "micro", print))
    yield made
    made.close()


@pytest.fixture
def http(guests: Guests) -> Iterator[Http]:
    with FakeArm(back_end=guests) as arm, _Patient(arm) as client:
        yield client
        assert not arm.violations


def custom_data() -> str:
    account = Account(name="alice", display_name="Alice Adams", ssh_public_keys=())
    made = first_boot.seed(instance_id="i-1", device_name="CPC-ALICE", account=account, local_admin=False)
    first, rest = made.user_data.split("\n", 1)
    return base64.b64encode(f"{first}\n# attempt 0815\n{rest}".encode()).decode()


def test_a_machine_from_its_order_to_its_end(http: Http, guests: Guests) -> None:
    profile = {**vm_body(http.arm)["properties"]["osProfile"], "customData": custom_data()}
    ended = http.made("cpc1", "nic1", osProfile=profile)
    assert ended.body["status"] == "Succeeded", ended
    address = http.get("networkInterfaces/nic1").body["properties"]["ipConfigurations"][0]["properties"]
    access = Ssh(host=address["privateIPAddress"], port=22)
    assert greeting(access) == b"SSH-"
    assert _view(http)["vmAgent"]["statuses"][0]["displayStatus"] == "Ready"
    _wait(lambda: "cpc-alice login:" in _console(http))

    ran = _run(http, 'printf "%s, %s\\n" "$(hostname)" "$WORD"; exit 3', WORD="a 'secret'")
    assert (ran["executionState"], ran["exitCode"], ran["output"]) == ("Failed", 3, "cpc-alice, a 'secret'\n")
    http.put("virtualMachines/cpc1/runCommands/long", _command(http, "sleep 4321"))
    http.delete("virtualMachines/cpc1/runCommands/long")
    _wait(lambda: _run(http, "ps | grep -c '[s]leep 4321'")["output"] == "0\n")

    assert http("POST", "virtualMachines/cpc1/deallocate").status == 202
    _wait(lambda: "PowerState/deallocated" in _codes(http) and not guests.guest("cpc1").runs)
    assert answer(access.host, 22, 1) == b""
    http.follow(http("POST", "virtualMachines/cpc1/start"))
    assert greeting(access) == b"SSH-"
    _wait(lambda: _view(http)["vmAgent"]["statuses"][0]["displayStatus"] == "Ready")
    _run(http, "(sleep 1; poweroff) > /dev/null 2>&1 &")
    _wait(lambda: "PowerState/stopped" in _codes(http))

    http.arm.clock.advance(600)  # so many writes to one machine are more than Azure allows at once
    http.follow(http.delete("virtualMachines/cpc1"))
    assert http.arm.left == {"virtualMachines": [], "networkInterfaces": [], "disks": []}
    assert guests.names == []
    _wait(lambda: not [line for line in command_lines() if access.host.encode() in line])


def test_of_windows_there_is_none(http: Http) -> None:
    image = {
        "publisher": "microsoftwindowsdesktop",
        "offer": "windows-11",
        "sku": "win11-24h2-ent",
        "version": "latest",
    }
    disk = {**vm_body(http.arm)["properties"]["storageProfile"]["osDisk"], "diskSizeGB": 128}
    profile = {"computerName": "cpc-1", "adminUsername": "cloudpc", "adminPassword": "Secret-0815-secret"}
    ended = http.made("cpc1", "nic1", storageProfile={"imageReference": image, "osDisk": disk}, osProfile=profile)
    assert ended.body["error"]["code"] == "OSProvisioningClientError", ended


def test_nothing_of_a_fake_outlives_it() -> None:
    made = Guests(gallery.build(REPO / "vm-images", "micro", print))
    with FakeArm(back_end=made) as arm, Http(arm) as client:
        client.nic()
        assert client.vm().status == 201
        _wait(lambda: client.get("virtualMachines/vm/instanceView").body.get("vmAgent"))
        assert Path(made.folder).exists()
    made.close()
    assert not Path(made.folder).exists()
    _wait(lambda: not [line for line in command_lines() if str(made.folder).encode() in line])


def _view(http: Http) -> Any:
    return http.get("virtualMachines/cpc1/instanceView").body


def _codes(http: Http) -> list[str]:
    return [status["code"] for status in _view(http)["statuses"]]


def _console(http: Http) -> str:
    got = http("POST", "virtualMachines/cpc1/retrieveBootDiagnosticsData")
    with Http(http.arm, token=None) as anybody:
        return anybody.get(got.body["serialConsoleLogBlobUri"]).content.decode(errors="replace")


def _command(http: Http, script: str, **secrets: str) -> dict[str, Any]:
    return {
        "location": http.arm.account.location,
        "properties": {
            "source": {"script": script}, "asyncExecution": True, "timeoutInSeconds": 60,
            "protectedParameters": [{"name": name, "value": value} for name, value in secrets.items()],
        },
    }  # fmt: skip


def _run(http: Http, script: str, **secrets: str) -> Any:
    where = f"virtualMachines/cpc1/runCommands/c{time.monotonic_ns()}"
    got = http.put(where, _command(http, script, **secrets))
    assert got.status in (200, 201), got
    view: Any = {}
    deadline = time.monotonic() + 120
    while view.get("executionState") not in ("Succeeded", "Failed", "TimedOut"):
        assert time.monotonic() < deadline, view
        time.sleep(1)
        view = http.get(f"{where}?$expand=instanceView").body["properties"]["instanceView"]
    http.delete(where)
    return view


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(2)
