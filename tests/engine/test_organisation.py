"""The whole with a tenant and a domain, on a real guest: join a group, work, leave it, and nothing is left anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudpc.images import gallery
from cloudpc.machines.libvirt.configuration import this_machine
from tests.devices.samba import ADDRESS, CONTROLLER, DOMAIN, PASSWORD, UNIT, Samba
from tests.machines.audit import things
from tests.support.project import PLAN, REPO, Project, user
from tests.tenant.identifiers import guid
from tests.tenant.tenant import Tenant

pytestmark = [pytest.mark.engine, pytest.mark.machine, pytest.mark.timeout(1500)]  # images are built if need be

_HOST = this_machine().model_dump(include={"name", "uri"})
_ALICE = guid("user", "alice")
_DISABLED = 0x2


@pytest.fixture
def tenant(tmp_path: Path) -> Iterator[Tenant]:
    file = tmp_path / "tenant.yaml"
    groups = [{"id": "engineering", "displayName": "Engineering", "members": []}]
    file.write_text(yaml.safe_dump({"users": [user("alice")], "groups": groups, "servicePlans": [PLAN]}))
    with Tenant(file) as running:
        yield running
    assert not running.violations


@pytest.fixture
def organised(new_project: Callable[[str], Project], tenant: Tenant, domain_controller: Samba) -> Iterator[Project]:
    """A policy as an organisation has it: its users in Entra, its machines in a domain and in Entra's list."""
    gallery.build(REPO / "vm-images", "debian-12", print)
    made = new_project("an organisation")
    made.env |= {"CLOUDPC_GRAPH_TOKEN": tenant.admin_token, "HQ_PASSWORD": PASSWORD}
    connections = made.root / "stacks" / "connections"
    connections.mkdir()
    (connections / "ca.pem").write_bytes(domain_controller.ca.read_bytes())
    controller = {"name": CONTROLLER, "address": ADDRESS, "guestAddress": "10.0.2.2"}
    hq = {
        "displayName": "Headquarters",
        "hostedNetwork": True,
        "adDomainName": DOMAIN,
        "adDomainUsername": f"joiner@{DOMAIN}",
        "adDomainPassword": {"environment": "HQ_PASSWORD"},
        "organizationalUnit": UNIT,
        "domainControllers": [controller],
        "caCertificate": "ca.pem",
    }
    (connections / "hq.yaml").write_text(yaml.safe_dump(hq))
    path = made.policy(
        imageType="gallery",
        imageId="debian-12",
        gracePeriodInHours=0,
        domainJoinConfigurations=[{"domainJoinType": "hybridAzureADJoin", "onPremisesConnectionId": "hq"}],
        assignments=[{"target": {"groupId": "Engineering"}}],
    )
    _configure(path, tenant)
    made.init()
    try:
        yield made
    finally:
        made.cloudpc("down", "demo", "--yes", "--clear-lock")
        for dn in domain_controller.computers():
            domain_controller.remove(dn)


def _configure(path: Path, tenant: Tenant) -> None:
    content = yaml.safe_load(path.read_text())
    more: dict[str, Any] = {
        "hosts": [_HOST],
        "directory": {"kind": "graph", "servicePlans": [{**PLAN, "id": guid("servicePlan", PLAN["id"])}]},
        "graph": {"endpoint": tenant.endpoint, "auth": "token"},
        "devices": {"registration": "record"},
        "credentials": {"kind": "temporaryAccessPass"},
    }
    content["config"] |= {f"cloudpc:{key}": value for key, value in more.items()}
    path.write_text(yaml.safe_dump(content))


def test_from_the_group_to_the_desk_and_back(organised: Project, tenant: Tenant, domain_controller: Samba) -> None:
    checked = organised.cloudpc("connection", "check", "hq")
    assert checked.code == 0, checked
    nobody = organised.cloudpc("up", "demo")
    assert nobody.code == 0, nobody
    assert organised.state() == {}

    tenant.join("alice", "engineering")
    ran = organised.cloudpc("up", "demo")
    assert ran.code == 0, ran
    made = organised.state()[_ALICE]
    name, installation = made["deviceName"], made["installation"]
    assert made["status"] == "provisioned"
    assert made["onPremisesConnectionName"] == "hq"
    [device] = tenant.devices_named(name)
    assert made["device"]["deviceId"] == device["deviceId"]
    account = domain_controller.find(name)
    assert account is not None
    assert made["computer"]["distinguishedName"] == f"CN={name},{UNIT}"
    assert f"host/{name.lower()}.{DOMAIN}".encode() in account["servicePrincipalName"], "the guest has joined"
    assert "temporaryAccessPass" in organised.cloudpc("credentials", "alice", "--json").output
    assert organised.cloudpc("connect", "alice", "--", "hostname").output.strip() == name.lower()
    doctor = organised.cloudpc("doctor")
    assert doctor.code == 0, doctor
    for secret in (PASSWORD, tenant.admin_token):
        assert secret not in ran.output + doctor.output
        assert secret not in (organised.root / "state" / ".pulumi" / "stacks" / "cloudpc" / "demo.json").read_text()

    tenant.leave("alice", "engineering")
    ran = organised.cloudpc("up", "demo")
    assert ran.code == 0, ran
    assert organised.state()[_ALICE]["status"] == "inGracePeriod"
    assert organised.cloudpc("connect", "alice", "--", "true").code == 0, "it keeps working"
    assert tenant.devices_named(name)
    ran = organised.cloudpc("up", "demo")
    assert ran.code == 0, ran
    assert organised.state()[_ALICE]["status"] == "deprovisioning"
    assert "leftovers" not in organised.state()[_ALICE]
    assert tenant.devices_named(name) == []
    account = domain_controller.find(name)
    assert account is not None, "disabled, never deleted"
    assert int(account["userAccountControl"][0]) & _DISABLED
    assert things(installation, _HOST["uri"]) == {}
    told = organised.cloudpc("doctor")
    assert told.code == 0, told
    assert name in told.output.replace("\n", ""), "for the admin's maintenance"
    organised.up()
    assert organised.state() == {}
