"""Whatever is asked, in whatever order, whatever fails: an answer or a refusal, and what is there fits together."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.azure.arm import FakeArm
from tests.azure.client import Http, nic_body, vm_body
from tests.azure.clock import Delays

VMS, NICS = ("a", "b"), ("x", "y")
_vms, _nics = st.sampled_from(VMS), st.sampled_from(NICS)
_orders = st.tuples(st.just("PUT vm"), _vms, _nics, st.sampled_from(["", "changed", "detach", "wrong"]))
_steps = st.one_of(
    _orders,
    _orders,
    st.tuples(st.just("PUT nic"), _nics),
    st.tuples(st.just("PUT nic"), _nics),
    st.tuples(st.just("DELETE"), st.sampled_from([f"virtualMachines/{vm}" for vm in VMS])),
    st.tuples(st.just("DELETE"), st.sampled_from([f"networkInterfaces/{nic}" for nic in NICS])),
    st.tuples(st.just("DELETE"), st.sampled_from([f"disks/{nic}-os" for nic in NICS])),
    st.tuples(st.just("POST"), _vms, st.sampled_from(["start", "powerOff", "deallocate", "restart", "redeploy"])),
    st.tuples(st.just("POST"), _vms, st.just("retrieveBootDiagnosticsData")),
    st.tuples(st.just("run"), _vms),
    st.tuples(st.just("extend"), _vms),
    st.tuples(st.just("PATCH"), _vms, st.dictionaries(st.sampled_from(["t", "u"]), st.text(max_size=2), max_size=2)),
    st.tuples(st.just("GET"), _vms, st.sampled_from(["", "/instanceView", "?$expand=instanceView", "/runCommands"])),
    st.tuples(st.just("advance"), st.sampled_from([1, 31, 200])),
    st.tuples(
        st.just("fail"), st.sampled_from(["VirtualMachines_*", "*_Delete", "*_CreateOrUpdate"]),
        st.sampled_from(["AllocationFailed", "OSProvisioningTimedOut", "InternalServerError"]), st.booleans(),
    ),
)  # fmt: skip


@given(steps=st.lists(_steps, max_size=25), delay=st.sampled_from([0, 30]))
def test_what_is_there_fits_together(steps: list[Any], delay: int) -> None:
    with FakeArm() as arm, Http(arm) as http:
        arm.delays = Delays(delay, delay, delay, delay, delay, delay, delay)
        for step in steps:
            _do(arm, http, *step)
            assert not arm.violations
            _fits_together(arm)
        assert {r.status for r in arm.log} <= {200, 201, 202, 204, 400, 404, 409, 412, 429, 500}


def _do(arm: FakeArm, http: Http, verb: str, *what: Any) -> None:
    if verb == "PUT nic":
        http.put(f"networkInterfaces/{what[0]}", nic_body(arm))
    elif verb == "PUT vm":
        http.put(f"virtualMachines/{what[0]}", _order(arm, *what[1:]))
    elif verb == "run":
        order = {"location": arm.account.location, "properties": {"source": {"script": "true"}}}
        http.put(f"virtualMachines/{what[0]}/runCommands/r", order)
    elif verb == "extend":
        properties = {"publisher": "p", "type": "t", "typeHandlerVersion": "1.0"}
        order = {"location": arm.account.location, "properties": properties}
        http.put(f"virtualMachines/{what[0]}/extensions/e", order)
    elif verb == "PATCH":
        http("PATCH", f"virtualMachines/{what[0]}", {"tags": what[1]})
    elif verb == "POST":
        http("POST", f"virtualMachines/{what[0]}/{what[1]}")
    elif verb == "GET":
        http.get(f"virtualMachines/{what[0]}{what[1]}")
    elif verb == "advance":
        arm.clock.advance(what[0])
        http.get("virtualMachines")
    elif verb == "fail":
        arm.fail(what[0], what[1], asynchronous=what[2])
    else:
        http.delete(what[0])


def _order(arm: FakeArm, nic: str, how: str) -> dict[str, Any]:
    body = vm_body(arm, nic)
    if how == "changed":
        body["properties"]["osProfile"]["customData"] = "b3RoZXI="
    elif how == "detach":
        body["properties"]["networkProfile"]["networkInterfaces"][0]["properties"]["deleteOption"] = "Detach"
    elif how == "wrong":
        body["properties"]["hardwareProfile"]["vmSize"] = "Standard_D99"
    return body


def _fits_together(arm: FakeArm) -> None:
    with arm.lock:
        machines = {r.id: r for r in arm.resources.of("Microsoft.Compute/virtualMachines")}
        holders = {}
        for nic in arm.resources.of("Microsoft.Network/networkInterfaces"):
            if holder := nic.properties.get("virtualMachine"):
                assert holder["id"] in machines, "a card of a machine that is gone"
                holders[nic.id] = holder["id"]
        for machine in machines.values():
            for reference in machine.properties["networkProfile"]["networkInterfaces"]:
                assert holders.get(reference["id"]) == machine.id, "a machine without its card"
        for disk in arm.resources.of("Microsoft.Compute/disks"):
            assert disk.body.get("managedBy", next(iter(machines), None)) in {*machines, None}
            assert (disk.properties["diskState"] == "Attached") == ("managedBy" in disk.body)
