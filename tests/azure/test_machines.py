from __future__ import annotations

from tests.azure.arm import FakeArm
from tests.azure.back_ends import Command, Outcome, Vm
from tests.azure.client import Http


def test_a_machine_is_made_seen_and_deleted_with_what_belongs_to_it(arm: FakeArm, http: Http) -> None:
    assert http.nic().status == 201
    got = http.vm()
    assert (got.status, got.body["properties"]["provisioningState"]) == (201, "Creating")
    assert http.follow(got).body["status"] == "Succeeded"
    vm = http.get("virtualMachines/vm?$expand=instanceView").body
    assert vm["properties"]["provisioningState"] == "Succeeded"
    codes = [status["code"] for status in vm["properties"]["instanceView"]["statuses"]]
    assert codes == ["ProvisioningState/succeeded", "PowerState/running"]
    assert vm["properties"]["storageProfile"]["imageReference"]["exactVersion"] == "12.20251110.2"
    assert "customData" not in vm["properties"]["osProfile"]
    assert arm.left == {"virtualMachines": ["vm"], "networkInterfaces": ["nic"], "disks": ["nic-os"]}
    assert http.follow(http.delete("virtualMachines/vm")).body["status"] == "Succeeded"
    assert arm.left == {"virtualMachines": [], "networkInterfaces": [], "disks": []}
    assert http.get("virtualMachines/vm").code == "ResourceNotFound"
    assert http.delete("virtualMachines/vm").status == 204


def test_a_script_runs_and_is_answered(arm: FakeArm, http: Http) -> None:
    def greet(vm: Vm, command: Command) -> Outcome:
        return Outcome(3, f"{vm.name} {command.environment['SECRET']}", "oh")

    arm.table.answer("cloud-init", greet)
    http.made()
    body = {
        "location": arm.account.location,
        "properties": {
            "source": {"script": "cloud-init status --wait"}, "asyncExecution": True, "timeoutInSeconds": 60,
            "protectedParameters": [{"name": "SECRET", "value": "s3cret"}],
        },
    }  # fmt: skip
    got = http.put("virtualMachines/vm/runCommands/one", body)
    assert got.status == 201
    http.follow(got)
    shown = http.get("virtualMachines/vm/runCommands/one?$expand=instanceView").body["properties"]
    view = shown["instanceView"]
    assert (view["executionState"], view["exitCode"], view["output"], view["error"]) == ("Failed", 3, "vm s3cret", "oh")
    assert "protectedParameters" not in shown
    http.follow(http.delete("virtualMachines/vm/runCommands/one"))
    assert http.get("virtualMachines/vm/runCommands/one").status == 404
