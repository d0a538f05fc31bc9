"""Somebody adds a kind of hosts: a folder on the path (tests/toy), and no file of the code knows it."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import yaml

from tests.support.project import FAKES, REPO, Project

pytestmark = pytest.mark.engine
FILE = "stacks/Pulumi.demo.yaml"


@pytest.fixture
def shelf(project: Project) -> Project:
    project.env["PYTHONPATH"] = os.pathsep.join([str(REPO / "tests" / "toy"), str(FAKES)])
    return project


def _write(project: Project, *hosts: dict[str, Any], vlan: object = 7, **changes: Any) -> None:
    """A policy on these shelves, through the connection `floor`."""
    joins = [{"domainJoinType": "azureADJoin", "onPremisesConnectionId": "floor"}]
    path = project.policy(**{"imageType": "gallery", "imageId": "box-7", "domainJoinConfigurations": joins, **changes})
    content = yaml.safe_load(path.read_text())
    content["config"]["cloudpc:hosts"] = list(hosts) or [_shelf(project)]
    path.write_text(yaml.safe_dump(content))
    connections = project.root / "stacks" / "connections"
    connections.mkdir(exist_ok=True)
    (connections / "floor.yaml").write_text(yaml.safe_dump({"vlan": vlan}))


def _shelf(project: Project, **changes: Any) -> dict[str, Any]:
    return {"name": "cellar", "kind": "shelf", "folder": str(project.root / "cellar"), "boards": 2, **changes}


def test_a_policy_runs_on_it(shelf: Project) -> None:
    shelf.directory(1)
    shelf.host("cellar", networks=["7"])
    _write(shelf)
    assert shelf.cloudpc("policy", "validate").code == 0
    shelf.up()
    [cloud_pc] = shelf.state().values()
    assert (cloud_pc["status"], cloud_pc["host"]) == ("provisioned", "cellar")
    assert cloud_pc["settings"]["networks"] == [{"kind": "vlan", "source": "7", "connection": "floor"}]
    checked = shelf.cloudpc("connection", "check")
    assert (checked.code, "cellar" in checked.output) == (0, True), checked
    assert "vlan 7" in shelf.cloudpc("connection", "list").output
    assert not [line for line in shelf.up().output.splitlines() if "CloudPC" in line and "unchanged" not in line]


def test_its_fields_are_in_the_schemas(shelf: Project) -> None:
    policy = json.loads(shelf.cloudpc("policy", "schema").output)
    assert set(policy["$defs"]["ShelfConfig"]["properties"]) == {"name", "kind", "folder", "boards"}
    assert "LibvirtHostConfig" in policy["$defs"]
    connection = json.loads(shelf.cloudpc("policy", "schema", "--of", "connection").output)
    assert {"vlan", "libvirtNetwork", "hostedNetwork", "adDomainName"} <= set(connection["properties"])


def _told(project: Project) -> list[str]:
    problems = json.loads(project.cloudpc("policy", "validate", "--json").output)
    return [f"{problem['file']}: {problem['field']}: {problem['message']}" for problem in problems]


def test_its_mistakes_are_told_by_their_fields_and_all_at_once(shelf: Project) -> None:
    shelf.directory(1)
    _write(
        shelf,
        _shelf(shelf, boards=0, bords=1),
        _shelf(shelf, name="loft", kind="shelve"),
        {"name": "attic"},
        vlan=5000,
    )
    assert _told(shelf) == [
        f"{FILE}: cloudpc:hosts[0].boards: must be greater than or equal to 1",
        f"{FILE}: cloudpc:hosts[0].bords: is not a known field (did you mean 'boards'?); allowed here: boards, folder, "
        "kind, name",
        f"{FILE}: cloudpc:hosts[1].kind: must be the kind of a driver: azure, shelf (did you mean 'shelf'?)",
        f"{FILE}: cloudpc:hosts[2].uri: is required",
        "stacks/connections/floor.yaml: vlan: must be less than or equal to 4094",
    ]
    _write(shelf, vlan=None)
    assert _told(shelf) == [
        "stacks/connections/floor.yaml: file: needs exactly one of subnetId, libvirtNetwork, bridge, vlan and "
        "hostedNetwork: true"
    ]
    _write(shelf, _shelf(shelf), _shelf(shelf, name="loft"))
    assert _told(shelf) == [f"{FILE}: cloudpc:hosts: two hosts have the same folder"]


def test_what_none_of_a_policys_hosts_can_have_is_told(shelf: Project) -> None:
    shelf.directory(1)
    _write(shelf, imageType="custom", imageId="tiny")
    assert _told(shelf) == [
        f"{FILE}: cloudpc:policy.imageType: means images of the kind qcow2, azure, and no host of the policy takes "
        "those: cellar (shelf: box)"
    ]
    _write(shelf)
    (shelf.root / "stacks" / "connections" / "floor.yaml").write_text("bridge: br0\n")
    assert _told(shelf) == [
        f"{FILE}: cloudpc:policy.domainJoinConfigurations[0].onPremisesConnectionId: is of the bridge br0, and no host "
        "of the policy has networks of that kind: cellar (shelf)"
    ]
    _write(shelf, {"name": "host", "uri": f"fake://{shelf.root}/host"})
    assert _told(shelf) == [
        f"{FILE}: cloudpc:policy.domainJoinConfigurations[0].onPremisesConnectionId: is of the VLAN 7, and no host of "
        "the policy has networks of that kind: host (fake)",
        f"{FILE}: cloudpc:policy.imageId: is not a recipe; there are: debian-12, debian-12-desktop, micro",
    ]


def test_each_host_of_a_mixed_policy_gets_what_it_takes(shelf: Project) -> None:
    shelf.directory(2)
    _write(shelf, {"name": "host", "uri": f"fake://{shelf.root}/host"}, _shelf(shelf), domainJoinConfigurations=[
        {"domainJoinType": "azureADJoin", "regionName": "automatic"},
    ])  # fmt: skip
    shelf.up()
    assert {cloud_pc["host"] for cloud_pc in shelf.state().values()} == {"cellar"}


@pytest.fixture
def crates(shelf: Project) -> Project:
    """With images of one's own for shelves, which are named by another field than files are."""
    shelf.env["PYTHONPATH"] += os.pathsep + str(REPO / "tests" / "crates")
    shelf.directory(2)
    for name in ("host", "cellar"):
        shelf.host(name, cores=1)
    automatic = [{"domainJoinType": "azureADJoin", "regionName": "automatic"}]
    hosts = {"name": "host", "uri": f"fake://{shelf.root}/host"}, _shelf(shelf)
    _write(shelf, *hosts, imageType="custom", imageId="tiny", domainJoinConfigurations=automatic)
    return shelf


def _with_image(project: Project, **fields: Any) -> None:
    """The policy's image of one's own, with further fields; without those that are None."""
    path = project.root / FILE
    content = yaml.safe_load(path.read_text())
    image = {**content["config"]["cloudpc:images"]["tiny"], **fields}
    content["config"]["cloudpc:images"]["tiny"] = {name: value for name, value in image.items() if value is not None}
    path.write_text(yaml.safe_dump(content))


def test_a_host_for_which_an_image_has_no_form_is_told(crates: Project) -> None:
    said = crates.cloudpc("policy", "validate")
    assert said.code == 0
    assert "cellar (shelf) gets none of the Cloud PCs: the image tiny has no form for it; add crate to" in said.output
    assert "cloudpc:images.tiny" in said.output


def test_one_image_of_ones_own_for_two_kinds_of_hosts(crates: Project) -> None:
    """Each host gets it in the form that it takes, and state remembers which."""
    _with_image(crates, crate="left")
    assert "gets none" not in crates.cloudpc("policy", "validate").output
    crates.up()
    made = {cloud_pc["host"]: cloud_pc["settings"] for cloud_pc in crates.state().values()}
    assert {name: settings.get("imageKind") for name, settings in made.items()} == {"host": None, "cellar": "box"}
    assert made["host"]["imageDigest"] != made["cellar"]["imageDigest"]
    assert not any("imageForms" in settings for settings in made.values())
    assert crates.cloudpc("list", "--outdated", "--json").output.strip() == "[]"
    _with_image(crates, crate="right")
    [row] = json.loads(crates.cloudpc("list", "--outdated", "--json").output)
    assert (row["host"], row["outdated"]) == ("cellar", ["a newer build of image tiny"])


def test_what_is_wrong_with_any_form_is_told_at_once(crates: Project) -> None:
    _with_image(crates, crate="", firmware="coreboot", sha256=None, crates=1)
    assert sorted(line.partition(": cloudpc:images.tiny.")[2] for line in _told(crates)) == [
        "crate: must have at least 1 character",
        "crates: is not a known field (did you mean 'crate'?); allowed here: crate, firmware, guestOS, "
        "hasDesktop, "
        "maximumSizeInGB, "
        "minimumMemoryInMB, path, sha256, url",
        "firmware: must be 'bios' or 'uefi'",
        "sha256: is required",
    ]
    _with_image(crates, path=None, crate=None, firmware="bios", crates=1)
    told = _told(crates)
    assert f"{FILE}: cloudpc:images.tiny: needs path, url, azureResourceId or crate" in told
    assert any(line.startswith(f"{FILE}: cloudpc:images.tiny.crates: is not a known field") for line in told)


def test_the_schema_has_all_forms(crates: Project) -> None:
    schema = json.loads(crates.cloudpc("policy", "schema").output)
    fields = {
        name: set(model.get("required", ())) for name, model in schema["$defs"].items() if "guestOS" in str(model)
    }
    assert {"CustomImage": {"sha256"}, "CrateEntry": {"crate"}}.items() <= fields.items()
    assert {"sha256", "crate"} in fields.values()
