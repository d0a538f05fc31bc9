"""What goes on between machines, network interfaces, disks and their operations."""

from __future__ import annotations

import pytest

from tests.azure.arm import FakeArm
from tests.azure.back_ends import GuestStatus
from tests.azure.client import Http, nic_body, vm_body
from tests.azure.clock import Delays
from tests.azure.quota import Shortage


@pytest.mark.parametrize(
    ("style", "headers"),
    [
        ("both", {"azure-asyncoperation", "location"}),
        ("async", {"azure-asyncoperation"}),
        ("location", {"location"}),
    ],
)  # fmt: skip
def test_operations_are_followed_by_either_header(arm: FakeArm, http: Http, style: str, headers: set[str]) -> None:
    arm.operations.style = style  # type: ignore[assignment]
    arm.operations.polls, arm.operations.retry_after = 2, 10
    http.nic()
    got = http.vm()
    assert {"azure-asyncoperation", "location"} & set(got.headers) == headers
    assert got.headers["retry-after"] == "10"
    before = arm.count("poll")
    ended = http.follow(got)
    assert arm.count("poll") - before == 3  # two in progress
    assert ended.body.get("status", "Succeeded") == "Succeeded"


def test_what_location_shows_in_the_end(arm: FakeArm, http: Http) -> None:
    arm.operations.style = "location"
    http.nic()
    assert http.follow(http.vm()).body["name"] == "vm"
    assert http.follow(http.delete("virtualMachines/vm")).status == 204
    arm.fail("Disks_Delete", "InternalServerError", asynchronous=True)
    arm.add(arm.account.id("disks", "d"), "Microsoft.Compute/disks", creationData={"createOption": "Empty"})
    assert http.follow(http.delete("disks/d")).code == "InternalServerError"
    assert arm.left["disks"] == ["d"]


def test_a_failure_afterwards_is_told_with_status_200(arm: FakeArm, http: Http) -> None:
    http.nic()
    arm.fail("VirtualMachines_CreateOrUpdate", "AllocationFailed", asynchronous=True)
    got = http.vm()
    assert got.status == 201
    ended = http.follow(got)
    assert (ended.status, ended.body["status"], ended.code) == (200, "Failed", "AllocationFailed")
    vm = http.get("virtualMachines/vm?$expand=instanceView").body["properties"]
    assert vm["provisioningState"] == "Failed"
    assert [s["code"] for s in vm["instanceView"]["statuses"]] == ["ProvisioningState/failed/AllocationFailed"]


def test_a_machine_that_failed_holds_its_network_interface_for_three_minutes(arm: FakeArm, http: Http) -> None:
    http.nic()
    arm.fail("VirtualMachines_CreateOrUpdate", "AllocationFailed", asynchronous=True)
    http.follow(http.vm())
    assert http.delete("networkInterfaces/nic").code == "NicReservedForAnotherVm"
    http.follow(http.delete("virtualMachines/vm"))
    # deleteOption doesn't help where the machine never was
    assert arm.left == {"virtualMachines": [], "networkInterfaces": ["nic"], "disks": ["nic-os"]}
    got = http.delete("networkInterfaces/nic")
    assert (got.code, got.status) == ("NicReservedForAnotherVm", 400)
    arm.clock.advance(181)
    assert http.delete("networkInterfaces/nic").status == 202
    assert http.delete("disks/nic-os").status == 202
    http.get("virtualMachines")
    assert arm.left == {"virtualMachines": [], "networkInterfaces": [], "disks": []}


@pytest.mark.parametrize("code", ["OSProvisioningTimedOut", "OSProvisioningClientError"])
def test_a_guest_that_is_never_set_up(arm: FakeArm, http: Http, code: str) -> None:
    http.nic()
    arm.fail("VirtualMachines_CreateOrUpdate", code, asynchronous=True)
    assert http.follow(http.vm()).code == code
    view = http.get("virtualMachines/vm/instanceView").body
    assert [s["code"] for s in view["statuses"]] == [f"ProvisioningState/failed/{code}", "PowerState/running"]
    http.follow(http.delete("virtualMachines/vm"))
    assert arm.left == {"virtualMachines": [], "networkInterfaces": [], "disks": []}


def test_azure_gives_up_after_twenty_minutes(arm: FakeArm, http: Http) -> None:
    arm.table.states["*"] = GuestStatus(provisioned=False, agent=False)
    http.nic()
    got = http.vm()
    assert http.get(got.headers["azure-asyncoperation"]).body["status"] == "InProgress"
    view = http.get("virtualMachines/vm/instanceView").body
    assert [s["code"] for s in view["statuses"]] == [
        "ProvisioningState/creating", "ProvisioningState/creating/OSProvisioningInProgress", "PowerState/running",
    ]  # fmt: skip
    assert view["vmAgent"]["statuses"][0]["displayStatus"] == "Not Ready"
    arm.clock.advance(20 * 60)
    assert http.follow(got).code == "OSProvisioningTimedOut"


@pytest.mark.parametrize(
    ("shortage", "zones", "code", "at_once"),
    [
        (Shortage(), [], "AllocationFailed", True),
        (Shortage(asynchronous=True), [], "AllocationFailed", False),
        (Shortage("Standard_D2as_v5", "1"), ["1"], "ZonalAllocationFailed", True),
        (Shortage("*", "1", asynchronous=True), ["1"], "ZonalAllocationFailed", False),
        (Shortage(code="OverconstrainedAllocationRequest"), [], "OverconstrainedAllocationRequest", True),
        (Shortage("Standard_D2as_v5", "1"), ["2"], None, True),
        (Shortage("Standard_D4as_v5"), [], None, True),
    ],
)
def test_no_hardware(
    arm: FakeArm, http: Http, shortage: Shortage, zones: list[str], code: str | None, at_once: bool
) -> None:
    arm.shortages.append(shortage)
    http.nic()
    got = http.put("virtualMachines/vm", vm_body(arm) | ({"zones": zones} if zones else {}))
    if code is None:
        assert http.follow(got).body["status"] == "Succeeded"
    elif at_once:
        assert (got.status, got.code, arm.left["virtualMachines"]) == (409, code, [])
    else:
        assert (got.status, http.follow(got).code) == (201, code)


# ---- conditions and changes


def test_created_only_if_it_is_not_there(arm: FakeArm, http: Http) -> None:
    http.nic()
    assert http.put("virtualMachines/vm", vm_body(arm), If_None_Match="*").status == 201
    got = http.put("virtualMachines/vm", vm_body(arm), If_None_Match="*")
    assert (got.code, got.status) == ("PreconditionFailed", 412)
    arm.ignores_if_none_match = True
    assert http.put("virtualMachines/vm", vm_body(arm), If_None_Match="*").status == 200


def test_if_match_and_etag(arm: FakeArm, http: Http) -> None:
    http.made()
    etag = http.get("virtualMachines/vm").body["etag"]
    assert http("PATCH", "virtualMachines/vm", {"tags": {"a": "1"}}, If_Match=etag).status == 200
    assert http("PATCH", "virtualMachines/vm", {"tags": {"a": "2"}}, If_Match=etag).code == "PreconditionFailed"
    assert http.put("virtualMachines/new", vm_body(arm), If_Match="*").code == "PreconditionFailed"
    arm.tells_etags = False
    assert "etag" not in http.get("virtualMachines/vm").body


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("osProfile", "customData", "b3RoZXI="), ("osProfile", "computerName", "other"),
        ("storageProfile", "imageReference", {"publisher": "Debian", "offer": "debian-12", "sku": "12-gen2",
                                              "version": "1.0.0"}),
    ],
)  # fmt: skip
def test_what_can_not_be_changed(arm: FakeArm, http: Http, part: str, name: str, value: object) -> None:
    http.made()
    body = vm_body(arm)
    body["properties"][part] |= {name: value}
    got = http.put("virtualMachines/vm", body)
    assert (got.code, got.status) == ("PropertyChangeNotAllowed", 409)
    assert f"'{part}.{name}'" in got.message
    assert http("PATCH", "virtualMachines/vm", {"properties": {part: {name: value}}}).status >= 400


def test_equal_orders_preempt_each_other(arm: FakeArm, http: Http) -> None:
    arm.delays = Delays(allocation=60)
    http.nic()
    first, second = http.vm(), http.vm()
    assert (first.status, second.status) == (201, 200)
    assert http.follow(first).code == "OperationPreempted"
    arm.clock.advance(61)
    assert http.follow(second).body["status"] == "Succeeded"
    assert arm.left["virtualMachines"] == ["vm"]


def test_a_machine_on_its_way_out(arm: FakeArm, http: Http) -> None:
    http.made()
    arm.delays = Delays(deletion=60)
    first = http.delete("virtualMachines/vm")
    assert http.get("virtualMachines/vm").body["properties"]["provisioningState"] == "Deleting"
    for got in (http.vm(), http("PATCH", "virtualMachines/vm", {"tags": {}}), http("POST", "virtualMachines/vm/start")):
        assert (got.code, got.status) == ("OperationNotAllowed", 409)
        assert "marked for deletion" in got.message
    second = http.delete("virtualMachines/vm")
    assert second.status == 202
    arm.clock.advance(61)
    assert http.follow(first).body["status"] == http.follow(second).body["status"] == "Succeeded"
    assert arm.left == {"virtualMachines": [], "networkInterfaces": [], "disks": []}


def test_deleted_while_it_is_made(arm: FakeArm, http: Http) -> None:
    arm.delays = Delays(allocation=60)
    http.nic()
    made = http.vm()
    http.follow(http.delete("virtualMachines/vm"))
    assert http.follow(made).code == "OperationPreempted"
    arm.clock.advance(61)
    assert http.get("virtualMachines").body["value"] == []
    assert arm.left["virtualMachines"] == []


def test_a_failed_deletion(arm: FakeArm, http: Http) -> None:
    http.made()
    arm.fail("VirtualMachines_Delete", "InternalExecutionError", asynchronous=True)
    assert http.follow(http.delete("virtualMachines/vm")).code == "InternalExecutionError"
    assert http.get("virtualMachines/vm").body["properties"]["provisioningState"] == "Failed"
    http.follow(http.delete("virtualMachines/vm"))
    assert arm.left["virtualMachines"] == []


def test_what_is_in_use_stays(arm: FakeArm, http: Http) -> None:
    http.made()
    got = http.delete("networkInterfaces/nic")
    assert (got.code, got.status) == ("NicInUse", 400)
    got = http.delete("disks/nic-os")
    assert (got.code, got.status) == ("OperationNotAllowed", 409)
    body = vm_body(arm)
    body["properties"]["storageProfile"]["osDisk"]["name"] = "other"
    got = http.put("virtualMachines/other", body)
    assert (got.code, got.status) == ("NicInUse", 409)


def test_what_the_order_does_not_say_stays(arm: FakeArm, http: Http) -> None:
    http.nic()
    body = vm_body(arm)
    body["properties"]["networkProfile"]["networkInterfaces"][0]["properties"]["deleteOption"] = "Detach"
    del body["properties"]["storageProfile"]["osDisk"]["deleteOption"]
    http.follow(http.put("virtualMachines/vm", body))
    http.follow(http.delete("virtualMachines/vm"))
    assert arm.left == {"virtualMachines": [], "networkInterfaces": ["nic"], "disks": ["nic-os"]}
    disk = http.get("disks/nic-os").body
    assert (disk["properties"]["diskState"], disk.get("managedBy")) == ("Unattached", None)
    http.follow(http.delete("disks/nic-os"))
    http.follow(http.delete("networkInterfaces/nic"))
    assert http.delete("disks/nic-os").status == http.delete("networkInterfaces/nic").status == 204


# ---- tags and lists


def test_a_patch_replaces_tags_and_a_merge_does_not(arm: FakeArm, http: Http) -> None:
    http.made()
    tags = "virtualMachines/vm/providers/Microsoft.Resources/tags/default"
    path = f"{arm.account.group_id}/providers/Microsoft.Compute/{tags}"
    merge = {"operation": "Merge", "properties": {"tags": {"CLOUDPC-MACHINE": "n", "x": "1"}}}
    got = http("PATCH", path, merge)
    assert got.body["properties"]["tags"] == {"CLOUDPC-MACHINE": "n", "cloudpc-attempt": "1", "x": "1"}
    assert http.get(path).body == got.body
    http("PATCH", path, {"operation": "Delete", "properties": {"tags": {"x": "1"}}})
    assert "x" not in http.get("virtualMachines/vm").body["tags"]
    http("PATCH", "virtualMachines/vm", {"tags": {"only": "this"}})
    assert http.get("virtualMachines/vm").body["tags"] == {"only": "this"}
    assert http.get("disks/nic-os").body["tags"]["cloudpc-attempt"] == "1"  # from its creation, never later
    http("PATCH", "networkInterfaces/nic", {"tags": {"only": "this"}})
    assert http.get("networkInterfaces/nic").body["tags"] == {"only": "this"}


def test_user_data_is_shown_to_who_asks_for_it(http: Http) -> None:
    http.made()
    assert "userData" not in http.get("virtualMachines/vm").body["properties"]
    assert http.get("virtualMachines/vm?$expand=userData").body["properties"]["userData"] == "eyJhIjogMX0="
    http("PATCH", "virtualMachines/vm", {"properties": {"userData": "eyJhIjogMn0="}})
    assert http.get("virtualMachines/vm?$expand=userData").body["properties"]["userData"] == "eyJhIjogMn0="


def test_lists_lag_behind(arm: FakeArm, http: Http) -> None:
    arm.delays = Delays(lists=60)
    http.made()
    kinds = ("virtualMachines", "networkInterfaces", "disks")
    assert http.get("virtualMachines/vm").status == 200
    assert [http.get(kind).body["value"] for kind in kinds] == [[], [], []]
    arm.clock.advance(61)
    assert [len(http.get(kind).body["value"]) for kind in kinds] == [1, 1, 1]
    http.follow(http.delete("virtualMachines/vm"))
    assert http.get("virtualMachines/vm").status == 404
    assert [len(http.get(kind).body["value"]) for kind in kinds] == [1, 1, 1]
    arm.clock.advance(61)
    assert [http.get(kind).body["value"] for kind in kinds] == [[], [], []]


def test_what_is_found_by_tag_has_no_tags(arm: FakeArm, http: Http) -> None:
    http.made()
    path = f"{arm.account.subscription_id}/resources"
    found = http.get(f"{path}?$filter=tagName eq 'cloudpc-machine' and tagValue eq 'm'").body["value"]
    assert sorted(r["name"] for r in found) == ["nic", "nic-os", "vm"]
    assert not any("tags" in r for r in found)
    assert http.get(f"{path}?$filter=tagName eq 'cloudpc-machine' and tagValue eq 'n'").body["value"] == []
    everything = http.get(f"{arm.account.subscription_id}/resourcegroups/{arm.account.group}/resources").body["value"]
    assert any("tags" in r for r in everything)


def test_power(arm: FakeArm, http: Http) -> None:
    http.made()

    def state() -> str:
        http.get("virtualMachines")
        return str(http.get("virtualMachines/vm/instanceView").body["statuses"][-1]["code"])

    for action, power in (("powerOff", "stopped"), ("start", "running"), ("deallocate", "deallocated"),
                          ("start", "running"), ("restart", "running")):  # fmt: skip
        got = http("POST", f"virtualMachines/vm/{action}")
        assert got.status == 202
        http.follow(got)
        assert state() == f"PowerState/{power}"
    arm.table.states["vm"] = GuestStatus(running=False)
    assert state() == "PowerState/stopped"  # shut down from inside: billed
    (shown,) = http.get(
        f"{arm.account.subscription_id}/providers/Microsoft.Compute/virtualMachines?statusOnly=true"
    ).body["value"]
    assert shown["properties"]["instanceView"]["statuses"][-1]["code"] == "PowerState/stopped"


def test_a_start_without_room(arm: FakeArm, http: Http) -> None:
    http.made()
    http.follow(http("POST", "virtualMachines/vm/deallocate"))
    arm.fail("VirtualMachines_Start", "AllocationFailed", asynchronous=True)
    assert http.follow(http("POST", "virtualMachines/vm/start")).code == "AllocationFailed"
    assert http.get("virtualMachines/vm/instanceView").body["statuses"][-1]["code"] == "PowerState/deallocated"


def test_boot_diagnostics_are_read_without_a_token(arm: FakeArm, http: Http) -> None:
    http.made()
    got = http("POST", "virtualMachines/vm/retrieveBootDiagnosticsData?sasUriExpirationTimeInMinutes=5")
    where = got.body["serialConsoleLogBlobUri"]
    assert http.get(where).status == 403  # with the bearer
    with Http(arm, None) as bare:
        assert b"cpc-1 login: " in bare.get(where).content
        assert bare.get(where, Range="bytes=0-4").content == b"[    "
        assert bare.get(where, Range="bytes=-5").status == 416
        assert bare.get(where.replace("sig=", "sig=x")).status == 403
        arm.clock.advance(301)
        assert bare.get(where).status == 403
    body = vm_body(arm, "nic2", diagnosticsProfile={"bootDiagnostics": {"enabled": False}})
    http.nic("nic2")
    http.put("virtualMachines/vm2", body)
    assert http("POST", "virtualMachines/vm2/retrieveBootDiagnosticsData").code == "OperationNotAllowed"


def test_names_are_the_same_in_whatever_case(arm: FakeArm, http: Http) -> None:
    http.made()
    path = arm.account.id("virtualMachines", "VM").replace("resourceGroups", "RESOURCEGROUPS").replace("rg-", "RG-")
    assert http.get(path).body["id"] == arm.account.id("virtualMachines", "vm")


def test_an_update_of_a_network_interface_keeps_its_machine(arm: FakeArm, http: Http) -> None:
    http.made()
    before = http.get("networkInterfaces/nic").body["properties"]
    assert http.put("networkInterfaces/nic", nic_body(arm)).status == 200
    after = http.get("networkInterfaces/nic").body["properties"]
    assert after["virtualMachine"] == before["virtualMachine"]
    assert after["macAddress"] == before["macAddress"]
    assert after["ipConfigurations"][0]["properties"]["privateIPAddress"] == "10.0.0.4"


def test_lists_have_pages(arm: FakeArm, http: Http) -> None:
    arm.page_size = 2
    for name in ("n1", "n2", "n3"):
        http.nic(name)
    first = http.get("networkInterfaces")
    assert [nic["name"] for nic in first.body["value"]] == ["n1", "n2"]
    second = http.get(first.body["nextLink"])
    assert [nic["name"] for nic in second.body["value"]] == ["n3"]
    assert "nextLink" not in second.body


def test_tags_may_take_their_time(arm: FakeArm, http: Http) -> None:
    arm.delays = Delays(tags=30)
    arm.operations.style = "location"
    http.nic()
    path = f"{arm.account.id('networkInterfaces', 'nic')}/providers/Microsoft.Resources/tags/default"
    got = http("PATCH", path, {"operation": "Merge", "properties": {"tags": {"x": "1"}}})
    assert got.status == 202
    assert "x" not in http.get("networkInterfaces/nic").body["tags"]
    arm.clock.advance(31)
    assert http.follow(got).body["properties"]["tags"]["x"] == "1"
    assert http.get("networkInterfaces/nic").body["tags"]["x"] == "1"


def test_machine_and_card_are_in_one_region(arm: FakeArm, http: Http) -> None:
    arm.locations.add("northeurope")
    http.nic()
    got = http.put("virtualMachines/vm", vm_body(arm) | {"location": "northeurope"})
    assert got.code == "InvalidResourceReference"
    network = f"{arm.account.group_id}/providers/Microsoft.Network/virtualNetworks/north"
    arm.add_network(network, {"s": "10.9.0.0/24"}, "northeurope")
    http.follow(http.put("networkInterfaces/n", nic_body(arm, f"{network}/subnets/s") | {"location": "northeurope"}))
    assert http.put("virtualMachines/vm", vm_body(arm, "n") | {"location": "northeurope"}).status == 201


def test_a_card_must_be_whole_before_a_machine_gets_it(arm: FakeArm, http: Http) -> None:
    arm.delays = Delays(network_interface=30)
    http.put("networkInterfaces/nic", nic_body(arm))
    got = http.vm()
    assert (got.code, got.status) == ("ReferencedResourceNotProvisioned", 409)
    arm.clock.advance(31)
    http.get("networkInterfaces")
    http.delete("networkInterfaces/nic")
    assert http.vm().code == "ReferencedResourceNotProvisioned"
