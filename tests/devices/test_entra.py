"""Devices in the fake tenant: whatever happens on the way, there is one while a Cloud PC lives, and none after it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from cloudpc.devices.entra import EntraDevices
from cloudpc.graph.client import Graph, Session
from cloudpc.graph.configuration import GraphConfig
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.devices import NewDevice, RegisteredDevice, TemporaryAccessPass
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.identity import Identity
from tests.graph.fixtures import jwt, reached
from tests.support.failures import fails_with
from tests.tenant.faults import Faults
from tests.tenant.fixtures import directory_file, tenant
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Logged, Tenant

__all__ = ["directory_file", "reached", "tenant"]

INSTALLATION = "0123456789abcdef"
ALICE, BOB = guid("user", "u-alice"), guid("user", "u-bob")
PASSES = f"/users/{ALICE}/authentication/temporaryAccessPassMethods"
Strike = Callable[[Faults], Any]


def identity(generation: int = 1, installation: str = INSTALLATION, name: str = "CPC-ALICE-7KQ2P") -> Identity:
    return Identity(installation, ALICE, "LAB", generation, name)


def new(whose: Identity | None = None) -> NewDevice:
    return NewDevice.of(whose or identity(), "Engineering's PCs", "Linux", "12")


class Registry:
    """The registry under test, in either mode, and what it told."""

    def __init__(self, graph: Graph) -> None:
        self.told: list[str] = []
        self.record = EntraDevices(graph, "record", tell=self.told.append)
        self.adopt = EntraDevices(graph, "adopt", tell=self.told.append, poll=0.05)

    def recorded(self, whose: Identity | None = None) -> RegisteredDevice:
        return self.record.register(new(whose), 30, Cancellation())

    def adopted(
        self, whose: Identity | None = None, timeout: float = 30, besides: frozenset[str] = frozenset()
    ) -> RegisteredDevice:
        return self.adopt.register(new(whose), timeout, Cancellation(), besides)

    def known(self) -> frozenset[str]:
        return self.adopt.known(identity().device_name)

    def remove(self, recorded: RegisteredDevice | None, whose: Identity | None = None, mode: str = "record") -> None:
        whose = whose or identity()
        getattr(self, mode).remove(whose.device_name, whose.device_id, recorded)


@pytest.fixture
def graph(tenant: Tenant, reached: Callable[..., GraphConfig]) -> Iterator[Graph]:
    """As a signed-in admin."""
    made = Graph(reached(tenant, tenant.admin_token))
    yield made
    made.close()


@pytest.fixture
def registry(graph: Graph) -> Registry:
    return Registry(graph)


# ---- record


def test_a_record_says_whose_it_is(tenant: Tenant, registry: Registry) -> None:
    found = registry.recorded()
    [device] = tenant.devices.values()
    assert (found.id, found.device_id) == (device["id"], str(identity().device_id))
    assert (found.registration, found.display_name) == ("record", "CPC-ALICE-7KQ2P")
    assert (device["operatingSystem"], device["operatingSystemVersion"]) == ("Linux", "12")
    assert device["physicalIds"] == ["[OrderID]:Engineering's PCs", f"[CloudPC]:{INSTALLATION}/{ALICE}/LAB/1"]
    assert device["accountEnabled"]
    assert (device["_owners"], device["_users"]) == ([ALICE], [ALICE])
    assert registry.told == []


@pytest.mark.parametrize(
    "strike",
    [
        lambda f: f.drop("/devices", when="after", method="POST"),
        lambda f: f.drop("/devices", when="before", method="POST"),
        lambda f: f.throttle("/devices", method="POST", retry_after=0),
        lambda f: f.unavailable("/devices", method="POST"),
        lambda f: f.error("/devices", 500, "InternalServerError", method="POST"),
        lambda f: (
            f.drop("/devices", when="after", method="POST"),
            # the device is not yet to be seen: the next try is refused, "already exists"
            f.error("/devices(*", 404, "Request_ResourceNotFound", method="GET", times=2),
        ),
        lambda f: f.drop("/devices/*", when="after", method="POST", times=2),
    ],
)
def test_nothing_registers_twice(tenant: Tenant, registry: Registry, strike: Strike) -> None:
    strike(tenant.faults)
    found = registry.recorded()
    [device] = tenant.devices.values()
    assert (found.id, device["_owners"], device["_users"]) == (device["id"], [ALICE], [ALICE])


def test_asked_for_again_it_is_the_same(tenant: Tenant, registry: Registry) -> None:
    assert registry.recorded() == registry.recorded()
    assert tenant.count("POST", "/devices") == 1


def test_a_new_generation_is_another_device(tenant: Tenant, registry: Registry) -> None:
    first, second = registry.recorded(), registry.recorded(identity(2, name="CPC-ALICE-XXXXX"))
    assert first.device_id != second.device_id
    assert len(tenant.devices) == 2


def test_many_at_once(tenant: Tenant, registry: Registry) -> None:
    many = [identity(i) for i in range(1, 21)]
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(registry.recorded, many))
    assert {f.device_id for f in found} == {str(i.device_id) for i in many}
    assert len(tenant.devices) == 20


def test_many_looks_at_once_find_each_its_own(tenant: Tenant, registry: Registry) -> None:
    many = [identity(i, name=f"CPC-{i}") for i in range(1, 41)]
    with ThreadPoolExecutor(20) as pool:
        first = list(pool.map(registry.recorded, many))
        again = list(pool.map(registry.recorded, many))
        list(pool.map(lambda i: registry.remove(None, i), many[::2]))
    assert again == first
    assert [f.device_id for f in first] == [str(i.device_id) for i in many]
    assert {d["displayName"] for d in tenant.devices.values()} == {i.device_name for i in many[1::2]}


def test_an_applications_token_is_refused_in_words(
    tenant: Tenant, reached: Callable[..., GraphConfig], registry: Registry
) -> None:
    reached(tenant)  # the application's
    with pytest.raises(ProvisioningError) as caught:
        registry.recorded()
    assert caught.value.code is ErrorCode.DEVICE_REGISTRATION_FAILED
    assert not caught.value.retriable
    assert "needs a signed-in user with the permission Directory.AccessAsUser.All" in caught.value.message
    assert "docs/microsoft-graph.md" in caught.value.hint


def test_a_refused_owner_is_told_and_not_fatal(tenant: Tenant, registry: Registry) -> None:
    tenant.faults.error("/devices/*/registeredOwners/$ref", 403, "Authorization_RequestDenied")
    assert registry.recorded()
    assert [t.partition(":")[0] for t in registry.told] == ["CPC-ALICE-7KQ2P has no registered owner in Entra"]
    assert [d["_users"] for d in tenant.devices.values()] == [[ALICE]]


def test_a_foreign_device_of_this_id_is_left_alone(tenant: Tenant, registry: Registry) -> None:
    foreign = tenant.add_device({"deviceId": str(identity().device_id), "displayName": "OTHER"})
    with fails_with(ErrorCode.DEVICE_REGISTRATION_FAILED, "OTHER"):
        registry.recorded()
    registry.remove(None)
    assert tenant.devices == {foreign["id"]: foreign}


def test_cancelled_it_registers_nothing(tenant: Tenant, registry: Registry) -> None:
    cancel = Cancellation()
    cancel.cancel()
    for mode in (registry.record, registry.adopt):
        with pytest.raises(Cancelled):
            mode.register(new(), 30, cancel)
    assert not tenant.requests


# ---- adopt


def test_the_device_that_the_guest_joined_is_taken_over(tenant: Tenant, registry: Registry) -> None:
    joined = tenant.guest_joined("CPC-ALICE-7KQ2P", user="u-alice")
    joined["physicalIds"] = ["[HWID]:h:1"]
    found = registry.adopted()
    assert (found.registration, found.id, found.device_id) == ("adopt", joined["id"], joined["deviceId"])
    assert found.managed_device_id == next(iter(tenant.managed_devices))
    assert joined["physicalIds"] == [
        "[HWID]:h:1", "[OrderID]:Engineering's PCs", f"[CloudPC]:{INSTALLATION}/{ALICE}/LAB/1",
    ]  # fmt: skip
    assert registry.adopted() == found, "asked for again"
    assert tenant.count("PATCH", "/devices/*") == 1


def test_it_is_waited_for(tenant: Tenant, registry: Registry) -> None:
    looks: list[int] = []

    def joins_at_the_third_look(logged: Logged) -> None:
        if logged.path == "/devices":
            looks.append(logged.status)
            if len(looks) == 3:
                tenant.guest_joined("CPC-ALICE-7KQ2P", managed=False)

    tenant._on_request = joins_at_the_third_look
    found = registry.adopted()
    assert [d["id"] for d in tenant.devices.values()] == [found.id]
    assert looks == [200] * 4


def test_none_appears_in_time(registry: Registry) -> None:
    with fails_with(ErrorCode.DEVICE_NOT_FOUND, "CPC-ALICE-7KQ2P", "0 s", "did not join") as caught:
        registry.adopted(timeout=0.2)
    assert caught.value.code is ErrorCode.DEVICE_NOT_FOUND
    assert caught.value.retriable


def test_several_of_one_name_are_an_error_with_their_ids(tenant: Tenant, registry: Registry) -> None:
    ids = sorted(tenant.guest_joined("CPC-ALICE-7KQ2P")["deviceId"] for _ in range(2))
    with pytest.raises(ProvisioningError) as caught:
        registry.adopted()
    assert f"Entra has 2 devices named CPC-ALICE-7KQ2P: {ids[0]}, {ids[1]}" in caught.value.message
    assert not caught.value.retriable


def _saying(device_id: str) -> NewDevice:
    return replace(new(), joined_as=lambda: UUID(device_id))


def test_of_several_of_one_name_the_guest_s_own_word_decides(tenant: Tenant, registry: Registry) -> None:
    first, second = (tenant.guest_joined("CPC-ALICE-7KQ2P") for _ in range(2))
    found = registry.adopt.register(_saying(second["deviceId"].upper()), 30, Cancellation())
    assert found.id == second["id"]
    assert not any(entry.startswith("[CloudPC]:") for entry in first["physicalIds"])


def test_a_device_that_the_guest_does_not_call_its_own_is_waited_past(tenant: Tenant, registry: Registry) -> None:
    other = tenant.guest_joined("CPC-ALICE-7KQ2P")
    before = dict(other)
    said = "11111111-2222-3333-4444-555555555555"
    with pytest.raises(ProvisioningError) as caught:
        registry.adopt.register(_saying(said), 0.2, Cancellation())
    assert caught.value.code is ErrorCode.DEVICE_NOT_FOUND
    assert f"the guest says it has joined as {said}" in caught.value.message
    assert f"are others: {other['deviceId']}" in caught.value.message
    assert other == before


def test_a_guest_s_word_reaches_no_device_of_another_name(tenant: Tenant, registry: Registry) -> None:
    laptop = tenant.guest_joined("CEO-LAPTOP")
    known = tenant.guest_joined("CPC-ALICE-7KQ2P")
    for device in (laptop, known):
        besides = frozenset({known["id"]})
        with pytest.raises(ProvisioningError) as caught:
            registry.adopt.register(_saying(device["deviceId"]), 0.1, Cancellation(), besides)
        assert caught.value.code is ErrorCode.DEVICE_NOT_FOUND
    assert tenant.count("PATCH", "/devices/*") == 0


def test_somebody_elses_device_of_that_name_is_not_taken(tenant: Tenant, registry: Registry) -> None:
    other = tenant.guest_joined("CPC-ALICE-7KQ2P")
    registry.adopted(identity(installation="f" * 16))
    with pytest.raises(ProvisioningError) as caught:
        registry.adopted(timeout=0.1)
    assert caught.value.code is ErrorCode.DEVICE_NOT_FOUND
    mine = tenant.guest_joined("CPC-ALICE-7KQ2P")
    assert registry.adopted().id == mine["id"] != other["id"]


def test_a_second_attempts_guest_has_its_own_device_and_the_firsts_goes(tenant: Tenant, registry: Registry) -> None:
    first = tenant.guest_joined("CPC-ALICE-7KQ2P")
    registry.adopted()
    before = registry.known()
    assert before == {first["id"]}
    with fails_with(ErrorCode.DEVICE_NOT_FOUND, "CPC-ALICE-7KQ2P", "did not join"):
        registry.adopted(timeout=0.1, besides=before)
    assert list(tenant.devices) == [first["id"]], "it goes when another is there"

    second = tenant.guest_joined("CPC-ALICE-7KQ2P")
    found = registry.adopted(besides=before)
    assert found.id == second["id"]
    assert list(tenant.devices) == [second["id"]]
    assert [m["azureADDeviceId"] for m in tenant.managed_devices.values()] == [second["deviceId"]]
    assert registry.adopted(besides=before) == found, "asked for again"
    registry.remove(found, mode="adopt")
    assert not tenant.devices


def test_a_device_of_an_attempt_that_never_took_it_over_does_not_stand_in_the_way(
    tenant: Tenant, registry: Registry
) -> None:
    left = tenant.guest_joined("CPC-ALICE-7KQ2P")
    before = frozenset(id_.upper() for id_ in registry.known())
    mine = tenant.guest_joined("CPC-ALICE-7KQ2P")
    assert registry.adopted(besides=before).id == mine["id"]
    assert left["physicalIds"] == [], "nothing says that it was ours"
    registry.remove(None, mode="adopt")
    assert list(tenant.devices) == [left["id"]]


def test_what_a_dead_attempt_has_disabled_only_is_tried_again(tenant: Tenant, registry: Registry) -> None:
    first = tenant.guest_joined("CPC-ALICE-7KQ2P")
    registry.adopted()
    before = registry.known()
    second = tenant.guest_joined("CPC-ALICE-7KQ2P")
    tenant.faults.refuse_deletion(times=1)
    assert registry.adopted(besides=before).id == second["id"]
    assert [first["accountEnabled"], second["accountEnabled"]] == [False, True]
    assert "is disabled; the tenant refuses to delete it" in registry.told[0]
    registry.remove(None, mode="adopt")
    assert not tenant.devices, "both, where state never knew"


def test_where_the_older_device_cannot_go_nothing_is_without_our_tag(tenant: Tenant, registry: Registry) -> None:
    tenant.guest_joined("CPC-ALICE-7KQ2P")
    registry.adopted()
    before = registry.known()
    tenant.guest_joined("CPC-ALICE-7KQ2P")
    tenant.faults.error("/deviceManagement/*", 403, "Forbidden")
    with fails_with(ErrorCode.DEVICE_REGISTRATION_FAILED, "DeviceManagementManagedDevices.Read.All"):
        registry.adopted(besides=before)
    registry.remove(None, mode="adopt")
    assert not tenant.devices
    assert not tenant.managed_devices


def test_a_record_asks_for_no_devices_before(tenant: Tenant, registry: Registry) -> None:
    tenant.guest_joined("CPC-ALICE-7KQ2P")
    assert registry.record.known("CPC-ALICE-7KQ2P") == frozenset()
    assert not tenant.requests


def test_devices_that_cannot_be_read_before_are_not_none(tenant: Tenant, registry: Registry) -> None:
    tenant.faults.error("/devices", 403, "Authorization_RequestDenied")
    with fails_with(ErrorCode.DEVICE_REGISTRATION_FAILED, "Device.Read.All"):
        registry.known()


# ---- joined by its host


_MARK = "[AzureResourceId]:/subscriptions/1/virtualMachines/cpc1"


def _marked(tenant: Tenant, name: str, mark: str = _MARK) -> dict[str, Any]:
    device = tenant.guest_joined(name)
    device["physicalIds"] = [mark.upper()]
    return device


def _of_host(registry: Registry, timeout: float = 30, besides: frozenset[str] = frozenset()) -> RegisteredDevice:
    return registry.adopt.register(replace(new(), mark=_MARK), timeout, Cancellation(), besides)


def test_a_device_that_its_host_has_made_is_known_by_its_mark(tenant: Tenant, registry: Registry) -> None:
    device = _marked(tenant, "cpc1")
    assert registry.adopt.known("CPC-ALICE-7KQ2P", _MARK) == {device["id"]}
    assert registry.known() == frozenset()
    assert _of_host(registry).id == device["id"]
    assert f"[CloudPC]:{INSTALLATION}/{ALICE}/LAB/1" in device["physicalIds"]
    registry.remove(_of_host(registry), mode="adopt")
    assert not tenant.devices


def test_a_mark_that_only_begins_alike_is_another_machines(tenant: Tenant, registry: Registry) -> None:
    _marked(tenant, "cpc1", f"{_MARK}2")
    assert registry.adopt.known("CPC-ALICE-7KQ2P", _MARK) == frozenset()
    with pytest.raises(ProvisioningError):
        _of_host(registry, timeout=0.1)


def test_the_device_of_an_earlier_machine_of_that_mark_goes(tenant: Tenant, registry: Registry) -> None:
    earlier = _marked(tenant, "cpc1")
    mine = _marked(tenant, "CPC-ALICE-7KQ2P")
    assert _of_host(registry, besides=frozenset({earlier["id"]})).id == mine["id"]
    assert list(tenant.devices) == [mine["id"]]


def test_what_a_dead_run_has_made_join_goes_by_its_mark(tenant: Tenant, registry: Registry) -> None:
    _marked(tenant, "cpc1")
    anothers = _marked(tenant, "cpc1")
    anothers["physicalIds"].append(f"[CloudPC]:{'f' * 16}/{ALICE}/LAB/1")
    named = tenant.guest_joined("CPC-ALICE-7KQ2P")
    whose = identity()
    registry.adopt.remove(whose.device_name, whose.device_id, None, _MARK)
    assert set(tenant.devices) == {anothers["id"], named["id"]}


def test_which_tenant_is_signed_in_to(tenant: Tenant, registry: Registry, reached: Callable[..., GraphConfig]) -> None:
    assert registry.adopt.tenant() == "", "its token doesn't say"
    with closing(Graph(reached(tenant, tenant.tokens.issue("delegated", text=jwt(tid=tenant.tenant_id))))) as graph:
        assert Registry(graph).adopt.tenant() == tenant.tenant_id


# ---- the end


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("mode", ["record", "adopt"])
def test_nothing_is_left_also_where_state_never_knew(
    tenant: Tenant, registry: Registry, mode: str, known: bool
) -> None:
    if mode == "adopt":
        tenant.guest_joined("CPC-ALICE-7KQ2P")
    other = tenant.guest_joined("CPC-OTHER", managed=True)
    found = registry.recorded() if mode == "record" else registry.adopted()
    registry.remove(found if known else None, mode=mode)
    assert list(tenant.devices) == [other["id"]]
    assert [m["deviceName"] for m in tenant.managed_devices.values()] == ["CPC-OTHER"]
    registry.remove(found if known else None, mode=mode)  # 404 is done


def test_intunes_device_goes_first_and_the_device_is_disabled_before_it_goes(
    tenant: Tenant, registry: Registry
) -> None:
    tenant.guest_joined("CPC-ALICE-7KQ2P")
    found = registry.adopted()
    tenant.requests.clear()
    registry.remove(found, mode="adopt")
    changes = [(r.method, r.path.split("/")[1]) for r in tenant.requests if r.method != "GET"]
    assert changes == [("DELETE", "deviceManagement"), ("PATCH", "devices"), ("DELETE", "devices")]


@pytest.mark.parametrize(
    "strike",
    [
        lambda f: f.drop("/devices/*", when="after", method="DELETE"),
        lambda f: f.drop("/devices/*", when="after", method="PATCH"),
        lambda f: f.drop("/deviceManagement/*", when="after", method="DELETE"),
        lambda f: f.throttle("/devices/*", method="DELETE", retry_after=0),
        lambda f: f.unavailable("/devices/*", method="DELETE"),
    ],
)
def test_a_removal_that_is_disturbed_is_finished(tenant: Tenant, registry: Registry, strike: Strike) -> None:
    tenant.guest_joined("CPC-ALICE-7KQ2P")
    found = registry.adopted()
    strike(tenant.faults)
    registry.remove(found, mode="adopt")
    assert not tenant.devices
    assert not tenant.managed_devices


def test_where_deletion_is_refused_it_is_disabled_and_that_is_told(tenant: Tenant, registry: Registry) -> None:
    found = registry.recorded()
    tenant.faults.refuse_deletion()
    registry.remove(found)
    assert [d["accountEnabled"] for d in tenant.devices.values()] == [False]
    assert "is disabled; the tenant refuses to delete it" in registry.told[0]
    assert [(o.enabled, str(o)) for o in registry.record.owned(INSTALLATION)] == [
        (False, "Entra device CPC-ALICE-7KQ2P")
    ]
    assert registry.recorded() == found, "the next attempt takes it again"
    assert [d["accountEnabled"] for d in tenant.devices.values()] == [True]


def test_a_deletion_that_something_else_than_the_tenant_refuses_is_tried_again(
    tenant: Tenant, registry: Registry
) -> None:
    found = registry.recorded()
    tenant.faults.error("/devices*", 403, "", method="DELETE")
    with pytest.raises(ProvisioningError):
        registry.remove(found)
    assert registry.told == []
    registry.remove(found)
    assert not tenant.devices


def test_whoever_called_is_told_on_its_own_thread(tenant: Tenant, graph: Graph) -> None:
    told: list[tuple[str, int]] = []
    registry = EntraDevices(graph, "record", tell=lambda text: told.append((text, threading.get_ident())))
    tenant.faults.error("/devices/*/registeredOwners/$ref", 403, "Authorization_RequestDenied")
    tenant.faults.refuse_deletion()
    found = registry.register(new(), 30, Cancellation())
    registry.remove(found.display_name, identity().device_id, found)
    assert [("no registered owner" in text, "refuses to delete" in text) for text, _ in told] == [
        (True, False),
        (False, True),
    ]
    assert {thread for _, thread in told} == {threading.get_ident()}


def test_what_was_done_is_told_also_where_the_rest_fails(tenant: Tenant, registry: Registry) -> None:
    tenant.faults.error("/devices/*/registeredOwners/$ref", 403, "Authorization_RequestDenied")
    tenant.faults.error("/devices/*/registeredUsers/$ref", 405, "Request_BadRequest")
    with pytest.raises(ProvisioningError):
        registry.recorded()
    assert "has no registered owner in Entra" in registry.told[0]


def test_a_removal_that_is_refused_for_now_says_why(tenant: Tenant, registry: Registry) -> None:
    found = registry.recorded()
    tenant.faults.error("/devices/*", 403, "Authorization_RequestDenied", method="PATCH")
    with fails_with(ErrorCode.DEVICE_REGISTRATION_FAILED, "Device.ReadWrite.All"):
        registry.remove(found)
    assert len(tenant.devices) == 1
    registry.remove(found)
    assert not tenant.devices


def test_intune_that_may_not_be_read_is_no_empty_intune(tenant: Tenant, registry: Registry) -> None:
    found = registry.recorded()
    tenant.faults.error("/deviceManagement/*", 403, "Forbidden")
    with fails_with(ErrorCode.DEVICE_REGISTRATION_FAILED, "DeviceManagementManagedDevices.Read.All"):
        registry.remove(found)
    assert len(tenant.devices) == 1, "Intune's goes first"


@pytest.mark.parametrize("mode", ["record", "adopt"])
def test_a_device_of_another_tenant_is_not_taken_for_removed(
    tenant: Tenant, reached: Callable[..., GraphConfig], mode: str
) -> None:
    def signed_in(tenant_id: str) -> Graph:
        return Graph(reached(tenant, tenant.tokens.issue("delegated", text=jwt(tid=tenant_id))))

    with closing(signed_in(tenant.tenant_id)) as graph:
        tenant.guest_joined("CPC-ALICE-7KQ2P")
        found = Registry(graph).recorded() if mode == "record" else Registry(graph).adopted()
        assert found.tenant_id == tenant.tenant_id
    other = "22222222-2222-2222-2222-222222222222"
    tenant.requests.clear()
    with closing(signed_in(other)) as graph, pytest.raises(ProvisioningError) as caught:
        Registry(graph).remove(found.model_copy(update={"id": guid("device", "not there")}), mode=mode)
    assert f"registered in tenant {tenant.tenant_id}, but signed in to {other}" in caught.value.message
    assert not tenant.requests
    with closing(signed_in(tenant.tenant_id.upper())) as graph:
        Registry(graph).remove(found, mode=mode)
    assert found.id not in tenant.devices


def test_where_the_token_does_not_say_its_tenant_a_device_is_removed_all_the_same(
    tenant: Tenant, registry: Registry
) -> None:
    found = registry.recorded()
    assert found.tenant_id == ""
    registry.remove(found.model_copy(update={"tenant_id": tenant.tenant_id}))
    assert not tenant.devices


def test_another_generations_device_is_left(tenant: Tenant, registry: Registry) -> None:
    registry.recorded(identity(2))
    registry.remove(None, identity(1))
    assert len(tenant.devices) == 1


def test_owned_are_those_of_this_installation(tenant: Tenant, registry: Registry) -> None:
    registry.recorded()
    registry.recorded(identity(installation=INSTALLATION + "0"))
    tenant.guest_joined("CPC-OTHER")
    assert [o.owner for o in registry.record.owned(INSTALLATION)] == [identity().owner]


# ---- passes


def test_a_pass_is_issued_once_and_never_replaces_another(tenant: Tenant, registry: Registry) -> None:
    first = registry.record.issue_pass(ALICE, 90, usable_once=True)
    assert isinstance(first, TemporaryAccessPass)
    assert first.value not in repr(first)
    assert (first.lifetime_in_minutes, first.is_usable_once) == (90, True)
    assert registry.record.issue_pass(ALICE, 90, usable_once=True) is None
    assert tenant.count("POST", PASSES) == 1
    assert registry.record.issue_pass(BOB, 60, usable_once=False) is not None


def test_two_cloud_pcs_of_a_user_at_once_get_one_pass(tenant: Tenant, registry: Registry) -> None:
    with ThreadPoolExecutor(4) as pool:
        passes = list(pool.map(lambda _: registry.record.issue_pass(ALICE, 60, usable_once=False), range(4)))
    assert sum(p is not None for p in passes) == 1


def test_a_pass_whose_answer_was_lost_is_replaced(tenant: Tenant, registry: Registry) -> None:
    tenant.faults.drop(PASSES, when="after", method="POST")
    issued = registry.record.issue_pass(ALICE, 60, usable_once=False)
    assert issued is not None
    assert tenant.passes[ALICE]["id"] == issued.id


def test_an_answer_without_a_list_is_not_read_as_no_pass(
    tenant: Tenant, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def odd(*_: Any) -> Any:
        return {"@odata.context": "…"}

    monkeypatch.setattr(Session, "json", odd)
    with fails_with(ErrorCode.CREDENTIALS_FAILED, "without a list", "temporaryAccessPassMethods") as caught:
        registry.record.issue_pass(ALICE, 60, usable_once=False)
    assert caught.value.code is ErrorCode.CREDENTIALS_FAILED
    assert not tenant.passes


def test_a_policy_that_allows_no_pass_is_told(tenant: Tenant, registry: Registry) -> None:
    tenant.passes_allowed = False
    with fails_with(ErrorCode.CREDENTIALS_FAILED, "400 badRequest", "tenant's policy") as caught:
        registry.record.issue_pass(ALICE, 60, usable_once=False)
    assert (caught.value.code, caught.value.retriable) == (ErrorCode.CREDENTIALS_FAILED, False)


def test_no_secret_is_logged(tenant: Tenant, registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        issued = registry.record.issue_pass(ALICE, 60, usable_once=False)
    assert issued is not None
    assert issued.value not in caplog.text
    assert tenant.admin_token not in caplog.text
