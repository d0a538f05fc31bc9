"""The roles in docs/azure-roles: with them alone everything works, and no action is in them that nothing needs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from cloudpc.machines.azure import entra_join, parts, permissions
from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.host import AzureHost
from cloudpc.machines.azure.image_names import of_resource
from cloudpc.machines.azure.images import AzureImage
from cloudpc.machines.azure.names import name_of
from cloudpc.machines.azure.tags import made_now, to_tags
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Script
from cloudpc.model.machines import Network, Order, Removed
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from tests.azure.arm import FakeArm
from tests.azure.back_ends import GuestStatus
from tests.azure.client import Http
from tests.azure.hosts import INSTALLATION, azure_order, host_config
from tests.azure.linux_answers import LinuxAnswers
from tests.azure.log import Logged
from tests.azure.test_entra import windows
from tests.support.project import REPO

ROLES = REPO / "docs" / "azure-roles"
BY_SCOPE: Mapping[str, tuple[str, ...]] = {
    "group": permissions.GROUP, "network": permissions.NETWORK, "subscription": permissions.SUBSCRIPTION,
    "images": permissions.IMAGES,
}  # fmt: skip
LISTED = {"Microsoft.Compute/virtualMachines/read"}
"""Asked of the whole subscription by who has it in a group: Azure lists what may be read."""


def _role(scope: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROLES / f"{scope}.json").read_text())
    return found


def _scope(logged: Logged) -> str:
    """Whose role has to allow a request."""
    path = logged.path.lower()
    if "/resourcegroups/" not in path:
        return "subscription"
    if "/virtualnetworks/" in path:
        return "network"
    return "images" if "/galleries/" in path or "/microsoft.compute/images/" in path else "group"


@pytest.mark.parametrize("scope", BY_SCOPE)
def test_the_files_are_roles_for_azure_with_the_actions_that_the_code_names(scope: str) -> None:
    role = _role(scope)
    assert role["Actions"] == sorted(BY_SCOPE[scope])
    assert role["Name"]
    assert role["IsCustom"] is True
    assert not role["NotActions"] + role["DataActions"] + role["NotDataActions"]
    assert role["AssignableScopes"] == ["/subscriptions/00000000-0000-0000-0000-000000000000"]


def test_no_role_gives_by_wildcard_or_what_is_anothers() -> None:
    assert sorted(path.stem for path in ROLES.iterdir()) == sorted(BY_SCOPE)
    actions = [action for scope in BY_SCOPE for action in BY_SCOPE[scope]]
    assert not [action for action in actions if "*" in action]
    assert all(action.endswith("/read") for action in permissions.SUBSCRIPTION + permissions.IMAGES)
    powerful = ("roleassignments", "roledefinitions", "policy", "locks", "register/action")
    assert not [action for action in actions for word in powerful if word in action.lower()]


@pytest.fixture
def used(arm: FakeArm, http: Http, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[str, str]]]:
    """What a whole life took, with nothing but the roles: scope and action."""
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    arm.table.otherwise = LinuxAnswers()
    given = [{"actions": _role(scope)["Actions"], "notActions": []} for scope in BY_SCOPE]
    found: set[tuple[str, str]] = set()
    checked = arm.check_linked

    def linked(scope: str, action: str) -> None:
        found.add(("network" if "/virtualNetworks/" in scope else "group", action))
        checked(scope, action)

    monkeypatch.setattr(arm, "check_linked", linked)
    windows(arm, http)
    life = _Life(arm, AzureHost(host_config(arm, deallocateStopped=True)))
    arm.permissions = given
    arm.log.clear()
    life.run()
    for logged in arm.log:
        if logged.operation != "blob":
            assert logged.code not in ("AuthorizationFailed", "LinkedAuthorizationFailed"), logged
            scope = _scope(logged)
            assert (scope, logged.action) in {("subscription", each) for each in LISTED} or logged.action in BY_SCOPE[
                scope
            ], f"{logged}: {logged.action} is not in the role for the {scope}"
            found.add((scope, logged.action))
    if arm.count("VirtualMachines_CreateOrUpdate"):
        found.add(("group", "Microsoft.Compute/disks/write"))  # its disk is made with it
    yield found
    life.host.close()


def test_a_whole_life_takes_all_that_is_in_them_and_nothing_else(used: set[tuple[str, str]]) -> None:
    used -= {("subscription", action) for action in LISTED}
    assert used == {(scope, action) for scope, actions in BY_SCOPE.items() for action in actions}


def _the(image: AzureImage, _: Watch) -> AzureImage:
    return image


class _Life:
    """What runs, doctor, health checks and adoption ask of a host, once each."""

    def __init__(self, arm: FakeArm, host: AzureHost) -> None:
        self.arm = arm
        self.host = host

    def run(self) -> None:
        host = self.host
        assert {check.status for check in host.check()} == {"passed"}
        assert {check.status for check in host.check_network(Network())} == {"passed"}
        host.hypervisor()
        host.capacity()
        order = azure_order()
        self._made(order)
        self._looked_at(order)
        self._turned_off_and_on(order)
        assert host.delete(order.id, Watch().within(30)) is Removed.GONE
        for number, image in enumerate(self._own_images()):
            own = replace(azure_order(f"own-{number}"), image=partial(_the, image))
            host.claim(own, Watch().within(60))
            assert host.delete(own.id, Watch().within(30)) is Removed.GONE
        self._never_ready()
        self._left_over()
        self._joined()

    def _joined(self) -> None:
        """What the machine `cpc123` with Windows then says of itself is nobody's question here."""
        arm = Arm(host_config(self.arm))
        with suppress(ProvisioningError):
            entra_join.join(arm, "cpc123", Watch().within(30))
        arm.close()
        assert self.arm.entra.devices

    def _made(self, order: Order) -> None:
        self.host.claim(order, Watch().within(60))
        self.host.make(order, Watch().within(60))
        self.host.guest(order.id).run([Script("true", timeout=10, name="nothing")], Watch().within(60))
        assert self.host.access(order.id, Watch().within(60)).host
        self.host.finish(order.id, Phase.HANDED_OVER)

    def _looked_at(self, order: Order) -> None:
        assert self.host.describe(order.id)
        assert self.host.overview([order.id])
        assert self.host.owned(INSTALLATION)
        assert not self.host.unreadable(INSTALLATION, [order.id])

    def _turned_off_and_on(self, order: Order) -> None:
        self.arm.table.states["*"] = GuestStatus(running=False)
        assert self.host.give_up_places(INSTALLATION, "policy")
        del self.arm.table.states["*"]
        self.host.power_on(order.id, Watch().within(60))
        for stays_off in (False, True):
            assert self.host.shut_down(order.id, Watch().within(60), stays_off=stays_off)
            self.host.power_on(order.id, Watch().within(60))

    def _never_ready(self) -> None:
        order = azure_order("u-never", first_boot_in_seconds=0.5)
        self.arm.table.states["*"] = GuestStatus(agent=False)
        self.host.claim(order, Watch().within(60))
        with pytest.raises(ProvisioningError) as failed:
            self.host.make(order, Watch().within(60))
        assert failed.value.code is ErrorCode.GUEST_AGENT_LOST
        assert failed.value.console
        del self.arm.table.states["*"]
        assert self.host.delete(order.id, Watch().within(30)) is Removed.GONE

    def _own_images(self) -> Iterator[AzureImage]:
        gallery = f"{self.arm.account.id('galleries', 'ours')}/images/office"
        managed = self.arm.account.id("images", "own")
        disk = {"osType": "Linux", "osState": "Generalized"}
        self.arm.add(
            gallery,
            "Microsoft.Compute/galleries/images",
            hyperVGeneration="V2",
            architecture="x64",
            identifier={"publisher": "p", "offer": "o", "sku": "s"},
            **disk,
        )
        self.arm.add(
            f"{gallery}/versions/1.0.0", "Microsoft.Compute/galleries/images/versions", provisioningState="Succeeded",
            publishingProfile={"targetRegions": [{"name": "West Europe"}]},
            storageProfile={"osDiskImage": {"sizeInGB": 30}, "dataDiskImages": []},
        )  # fmt: skip
        self.arm.add(
            managed, "Microsoft.Compute/images", provisioningState="Succeeded", hyperVGeneration="V2",
            storageProfile={"osDisk": {**disk, "diskSizeGB": 30}},
        )  # fmt: skip
        for path in (gallery, managed):
            named = of_resource(path)
            assert named is not None
            yield AzureImage(image_id="own", digest="ab", named=named)

    def _left_over(self) -> None:
        """A disk and a card that an attempt which was killed has left."""
        order = azure_order("u-left")
        name = name_of(order.id)
        tags = {**to_tags(order.tag), **made_now()}
        card = self.arm.account.id("networkInterfaces", f"{name}-a0-nic")
        disk = self.arm.account.id("disks", f"{name}-a0-os")
        self.arm.add(card, "Microsoft.Network/networkInterfaces", provisioningState="Succeeded").body["tags"] = tags
        made: dict[str, Any] = {"provisioningState": "Succeeded", "creationData": {"createOption": "FromImage"}}
        self.arm.add(disk, "Microsoft.Compute/disks", **made).body["tags"] = tags
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parts, "YOUNG", timedelta(0))
            left = self.host.remnants(INSTALLATION)
        assert len(self.host.discard(left)) == len(left) == 2
