"""`cloudpc policy validate` of a policy with hosts in Azure: all that is wrong, before anything is made."""

from __future__ import annotations

import json

import pytest

from tests.azure.arm import FakeArm
from tests.azure.fixtures import arm
from tests.support.azure import entry, policy
from tests.support.project import Project

__all__ = ["arm"]


@pytest.fixture(autouse=True)
def token(arm: FakeArm, project: Project) -> None:
    project.env["CLOUDPC_AZURE_TOKEN"] = arm.token()


def validated(project: Project, *arguments: str) -> list[tuple[str, str]]:
    ran = project.cloudpc("policy", "validate", "--json", *arguments)
    return [(problem["field"], problem["message"]) for problem in json.loads(ran.output)]


def test_a_policy_is_read_without_asking_azure(arm: FakeArm, project: Project) -> None:
    policy(project, entry(arm))
    assert validated(project) == []
    assert not arm.log


def test_what_is_well_is_only_read(arm: FakeArm, project: Project) -> None:
    policy(project, entry(arm))
    assert validated(project, "--hosts") == []
    assert {request.method for request in arm.log} == {"GET"}


def test_all_that_its_hosts_lack_is_told_at_once(arm: FakeArm, project: Project) -> None:
    policy(
        project, entry(arm, sizeFamilies=["standardESv5Famly"], diskType="Premium_ZRS"), imageId="Debian_debian-12_13"
    )
    found = validated(project, "--hosts")
    assert {field for field, _ in found} == {"cloudpc:hosts[0]"}
    said = "\n".join(message for _, message in found)
    assert "did you mean 'standardESv5Family'?" in said
    assert "westeurope has no disks of the type Premium_ZRS" in said
    assert "the marketplace of westeurope has no Debian:debian-12:13:latest" in said
    assert not any(arm.left.values())


def test_a_size_that_the_subscription_may_not_have_is_told(arm: FakeArm, project: Project) -> None:
    for size in arm.sizes.values():
        size.restrictions = [{
            "type": "Location", "reasonCode": "NotAvailableForSubscription",
            "restrictionInfo": {"locations": ["westeurope"]},
        }]  # fmt: skip
    policy(project, entry(arm))
    [(field, message)] = validated(project, "--hosts")
    assert field == "cloudpc:hosts"
    assert "Standard_B1ms: it is not available for the subscription (NotAvailableForSubscription)" in message
    assert "ask Azure's support to lift the restriction of Standard_B1ms in westeurope" in message


def test_what_is_worth_a_look_is_told_beside_that_it_is_valid(arm: FakeArm, project: Project) -> None:
    arm.quotas["cores"] = 0
    policy(project, entry(arm), imageId="contoso_vdi_vdi-gen2")
    ran = project.cloudpc("policy", "validate", "--hosts")
    assert ran.code == 0, ran
    assert "demo: valid" in ran.output
    assert "its terms are accepted once, by `az vm image terms accept --urn contoso:vdi:vdi-gen2:latest`" in ran.output
    assert "ask Azure for a larger quota of Total Regional vCPUs in westeurope" in ran.output


def test_doctor_looks_at_the_images_of_policies(arm: FakeArm, project: Project) -> None:
    policy(project, entry(arm), imageId="contoso_vdi_vdi-gen2")
    policy(project, entry(arm), name="gone", imageId="Debian_debian-12_13")
    policy(project, entry(arm), name="well")
    found = json.loads(project.cloudpc("doctor", "--json").output)
    said = {
        check["what"]: (check["state"], check["detail"], check["hint"]) for check in found if "image" in check["what"]
    }
    state, detail, _ = said["policy demo: image contoso_vdi_vdi-gen2 on weu"]
    assert (state, "az vm image terms accept" in detail) == ("warning", True)
    state, detail, hint = said["policy gone: image Debian_debian-12_13 on weu"]
    assert (state, "has no Debian:debian-12:13:latest" in detail, bool(hint)) == ("failed", True, True)
    state, *_ = said["policy well: image debian_debian-12_12-gen2 on weu"]
    assert state == "ok"
