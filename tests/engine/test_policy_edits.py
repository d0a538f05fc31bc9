"""What an edit of a policy or of a plan changes: the next new one, never one that is there."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cloudpc.model.policy import ProvisioningPolicy
from tests.support.project import Project, sha256, user

from .life import BIG, SMALL, act, configure, nothing_more_to_do, preview

pytestmark = pytest.mark.engine


def test_each_service_plan_is_a_cloud_pc_of_its_own(project: Project) -> None:
    project.directory([user("both", SMALL, BIG), user("swaps", SMALL)])
    project.policy(gracePeriodInHours=0)
    project.up()
    before = project.state()

    project.directory([user("both", BIG), user("swaps", BIG)])
    told = preview(project)
    assert f"both@contoso.example ({SMALL}): grace until" in told
    assert f"swaps@contoso.example ({SMALL}): grace until" in told
    assert f"both@contoso.example ({BIG})" not in told
    assert f"swaps@contoso.example ({BIG}): will get a new Cloud PC" in told
    project.up()
    state = project.state()
    assert {key: outputs["status"] for key, outputs in state.items()} == {
        f"both/{SMALL}": "inGracePeriod", f"both/{BIG}": "provisioned",
        f"swaps/{SMALL}": "inGracePeriod", f"swaps/{BIG}": "provisioned",
    }  # fmt: skip
    assert state[f"both/{BIG}"] == before[f"both/{BIG}"]
    assert state[f"swaps/{BIG}"]["deviceName"] != state[f"swaps/{SMALL}"]["deviceName"]
    assert state[f"swaps/{BIG}"]["servicePlan"]["vCpuCount"] == 2
    project.up()
    project.up()
    assert project.state() == {"both": before[f"both/{BIG}"], "swaps": state[f"swaps/{BIG}"]}
    assert {m["size"]["vcpus"] for m in project.machines().values()} == {2}
    assert len(list((project.root / "host" / "machines").glob("*.json"))) == 2
    nothing_more_to_do(project)


def test_no_edit_of_the_policy_changes_an_existing_one_and_the_next_new_one_follows_it(project: Project) -> None:
    project.directory([user("well"), user("bad"), user("leaves")])
    project.host(
        networks=["lab"], faults=[{"call": "start", "user": "bad", "fault": "error", "times": 1, "retriable": False}]
    )
    project.policy()
    project.up()
    project.directory([user("well"), user("bad")])
    project.up()
    before, machines = project.state(), project.machines()
    assert project.statuses() == {"well": "provisioned", "bad": "failed", "leaves": "inGracePeriod"}

    stacks = project.root / "stacks"
    (stacks / "connections").mkdir()
    (stacks / "connections" / "lab.yaml").write_text("libvirtNetwork: lab\n")
    (stacks / "more.sh").write_text("#!/bin/sh\n")
    other = project.root / "other.qcow2"
    other.write_bytes(project.image.read_bytes() + b"\0" * 512)
    edits: dict[str, Any] = {
        "displayName": "Another name",
        "description": "Another description",
        "domainJoinConfigurations": [{"domainJoinType": "azureADJoin", "onPremisesConnectionId": "lab"}],
        "imageId": "other",
        "cloudPcNamingTemplate": "%RAND:8%",
        "windowsSetting": {"locale": "de-DE"},
        "timeZone": "Europe/Berlin",
        "localAdminEnabled": True,
        "resetEnabled": True,
        "gracePeriodInHours": 1,
        "packages": ["htop"],
        "postProvisioningScript": "more.sh",
        "startFrom": "template",
        "timeouts": {"firstBootInSeconds": 60, "setUpInSeconds": 61},
        "assignments": [{"target": {"groupId": "everybody"}}, {"target": {"groupId": "guests"}}],
    }
    fields = {field.alias for field in ProvisioningPolicy.model_fields.values()}
    assert fields - edits.keys() == {"provisioningType", "imageType"}, "one has one value, the other needs a gallery"
    project.directory([user("well"), user("bad"), user("new")], {"everybody": ["well", "bad"], "guests": ["new"]})
    project.policy(**edits)
    image = {"path": str(other), "sha256": sha256(other), "firmware": "bios"}
    configure(project, lambda config: config["cloudpc:images"].update(other=image))
    told = preview(project, "--diff")
    assert not re.search(r"(well|bad|leaves)(/|@)", told)
    assert f"new@contoso.example ({SMALL}): will get a new Cloud PC (image other)" in told
    assert re.search(r"\+ 1 to create\s+~ 1 to update\s+2 changes. 4 unchanged", told), told  # the policy's own entry
    project.up()
    after = project.state()
    new = after.pop("new")
    assert after == before
    assert {name: m for name, m in project.machines().items() if name != "new"} == machines
    assert new["settings"] == {
        "provisioningPolicyName": "Another name", "imageType": "custom", "imageId": "other",
        "imageDigest": image["sha256"], "networks": [{"kind": "network", "source": "lab", "connection": "lab"}],
        "locale": "de-DE", "timeZone": "Europe/Berlin", "localAdminEnabled": True, "packages": ["htop"],
        "script": {"path": "more.sh", "sha256": sha256(stacks / "more.sh")}, "startFrom": "template",
        "firstBootInSeconds": 60, "setUpInSeconds": 61,
    }  # fmt: skip
    assert re.fullmatch("[A-Z0-9]{8}", new["deviceName"])
    nothing_more_to_do(project)

    act(project, reprovision={f"well/{SMALL}": 2})
    told = preview(project)
    assert f"well@contoso.example ({SMALL}): reprovision: all data on it is lost (image tiny -> other; other" in told
    assert "time zone UTC -> Europe/Berlin" in told
