"""Sizes, quota and capacity of a host, as the fake Azure tells them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.found_image import FoundImage
from cloudpc.machines.azure.sizes import Sizes
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.machines import Amount, Machine, PowerState
from cloudpc.model.watch import Watch
from tests.azure.arm import FakeArm
from tests.azure.client import Http
from tests.azure.hosts import azure_order
from tests.support.azure import entry
from tests.support.failures import fails_with

PLAN = "545e3611-3af8-49a5-9a0a-b7867968f4b0"
SIZE = Amount(2, 8192, 128)
IMAGE = FoundImage(name="debian-12", reference={}, nvme=True)
RESTRICTED = {
    "type": "Location", "values": ["westeurope"], "reasonCode": "NotAvailableForSubscription",
    "restrictionInfo": {"locations": ["westeurope"]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def token(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())


def sizes(arm: FakeArm, cache: Path | None = None, **changes: Any) -> Sizes:
    config = AzureHostConfig.model_validate(entry(arm, **changes))
    return Sizes(Arm(config), config, cache)


def tried(found: Sizes, size: Amount = SIZE, number: int = 0) -> list[tuple[str, str | None]]:
    candidates = found.candidates(PLAN, size, IMAGE, UUID(int=number), Watch())
    return [(candidate.size, candidate.zone) for candidate in candidates]


def test_a_plan_gets_the_usual_sizes_in_their_order(arm: FakeArm) -> None:
    assert [name for name, _ in tried(sizes(arm))] == ["Standard_D2as_v5", "Standard_D2s_v5", "Standard_B2as_v2"]
    assert [n for n, _ in tried(sizes(arm), Amount(2, 4096, 64))][:1] == ["Standard_B2als_v2"]
    assert tried(sizes(arm), Amount(1, 2048, 64)) == [("Standard_B1ms", None)]


def test_families_and_sizes_of_the_entry(arm: FakeArm) -> None:
    assert tried(sizes(arm, sizeFamilies=["standardESv5Family"])) == [("Standard_E2s_v5", None)]
    by_plan = {PLAN.upper(): ["Standard_F2s_v2", "Standard_D4s_v5"]}
    assert tried(sizes(arm, sizes=by_plan), Amount(2, 4096, 64)) == [
        ("Standard_F2s_v2", None), ("Standard_D4s_v5", None),
    ]  # fmt: skip


def test_zones_begin_with_another_one_for_each_machine(arm: FakeArm) -> None:
    found = sizes(arm, zones=["1", "2", "3"], sizeFamilies=["standardDSv5Family"])
    assert [zone for _, zone in tried(found, number=1)] == ["2", "3", "1"]
    assert [zone for _, zone in tried(found, number=3)] == ["1", "2", "3"]


def test_the_list_of_sizes_is_asked_for_once_and_usages_not_for_each(arm: FakeArm) -> None:
    found = sizes(arm)
    for number in range(5):
        tried(found, number=number)
    assert arm.count("ResourceSkus_List") == 1
    assert arm.count("Usage_List") == 1


def test_sizes_and_usages_on_all_pages_are_read(arm: FakeArm) -> None:
    arm.page_size, arm.quotas["standardBSFamily"] = 5, 0
    assert [name for name, _ in tried(sizes(arm))] == ["Standard_D2as_v5", "Standard_D2s_v5", "Standard_B2as_v2"]
    with fails_with(ErrorCode.NO_CAPACITY, "0 of 0 vCPUs of standardBSFamily"):
        tried(sizes(arm), Amount(1, 2048, 64))


def test_a_later_process_finds_the_list_on_disk(arm: FakeArm, tmp_path: Path) -> None:
    first = tried(sizes(arm, tmp_path, zones=["1"]))
    assert tried(sizes(arm, tmp_path, zones=["1"])) == first
    assert arm.count("ResourceSkus_List") == 1


@pytest.mark.parametrize("content", ["", "[]", "{", '{"asked": 1, "sizes": [{"x": 1}], "diskTypes": []}'])
def test_a_list_on_disk_that_cannot_be_read_is_asked_for_again(arm: FakeArm, tmp_path: Path, content: str) -> None:
    tried(sizes(arm, tmp_path))
    [file] = (tmp_path / "azure-sizes").iterdir()
    file.write_text(content)
    tried(sizes(arm, tmp_path))
    assert arm.count("ResourceSkus_List") == 2
    assert json.loads(file.read_text())["sizes"]


def test_a_list_on_disk_that_is_old_is_asked_for_again(arm: FakeArm, tmp_path: Path) -> None:
    tried(sizes(arm, tmp_path))
    [file] = (tmp_path / "azure-sizes").iterdir()
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"asked": kept["asked"] - 3700}))
    tried(sizes(arm, tmp_path))
    assert arm.count("ResourceSkus_List") == 2


def test_a_restriction_that_was_lifted_a_moment_ago_is_seen(arm: FakeArm, tmp_path: Path) -> None:
    arm.sizes["Standard_B1ms"].restrictions = [RESTRICTED]
    with pytest.raises(ProvisioningError):
        tried(sizes(arm, tmp_path), Amount(1, 2048, 64))
    [file] = (tmp_path / "azure-sizes").iterdir()
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"asked": kept["asked"] - 120}))
    arm.sizes["Standard_B1ms"].restrictions = []
    assert tried(sizes(arm, tmp_path), Amount(1, 2048, 64)) == [("Standard_B1ms", None)]


def test_without_quota_it_is_said_which_is_to_be_raised(arm: FakeArm) -> None:
    arm.quotas |= {"standardDASv5Family": 0, "standardDSv5Family": 1}
    with pytest.raises(ProvisioningError) as failed:
        tried(sizes(arm, sizeFamilies=["standardDASv5Family", "standardDSv5Family"]))
    assert failed.value.code is ErrorCode.NO_CAPACITY
    assert failed.value.message == (
        "weu has no size for 2 vCPU and 8 GB in westeurope (Standard_D2as_v5: 0 of 0 vCPUs of standardDASv5Family are "
        "used: 2 needed, 0 free; Standard_D2s_v5: 0 of 1 vCPUs of standardDSv5Family are used: 2 needed, 1 free)"
    )
    assert failed.value.hint.startswith(
        "ask Azure for a larger quota of standardDASv5Family or standardDSv5Family in westeurope"
    )


def test_the_quota_of_the_region_counts_for_all_families(arm: FakeArm) -> None:
    arm.quotas["cores"] = 1
    with fails_with(ErrorCode.NO_CAPACITY, "0 of 1 vCPUs of the region") as failed:
        tried(sizes(arm))
    assert "Total Regional vCPUs" in failed.value.hint


def test_a_restricted_size_is_said_with_its_reason(arm: FakeArm) -> None:
    arm.sizes["Standard_B1ms"].restrictions = [RESTRICTED]
    with fails_with(ErrorCode.NO_CAPACITY, "NotAvailableForSubscription") as failed:
        tried(sizes(arm), Amount(1, 2048, 64))
    assert "lift the restriction of Standard_B1ms in westeurope" in failed.value.hint


def test_a_size_restricted_in_a_zone_is_asked_for_in_others(arm: FakeArm) -> None:
    arm.sizes["Standard_B1ms"].restrictions = [
        {"type": "Zone", "values": ["westeurope"], "reasonCode": "NotAvailableForSubscription",
         "restrictionInfo": {"locations": ["westeurope"], "zones": ["1", "3"]}}
    ]  # fmt: skip
    assert tried(sizes(arm, zones=["1", "2", "3"]), Amount(1, 2048, 64)) == [("Standard_B1ms", "2")]


def test_what_had_no_room_comes_last(arm: FakeArm) -> None:
    found = sizes(arm, zones=["1", "2"], sizeFamilies=["standardDSv5Family"])
    first, second = found.candidates(PLAN, SIZE, IMAGE, UUID(int=0), Watch())
    found.refused(first)
    assert found.candidates(PLAN, SIZE, IMAGE, UUID(int=0), Watch()) == [second, first]


def test_the_amount_of_a_size(arm: FakeArm) -> None:
    found = sizes(arm)
    assert found.amount("standard_d2as_v5") == (2, 8192)
    assert found.amount("Standard_Z9") is None


def test_cancelled_while_asking(arm: FakeArm) -> None:
    cancel = Cancellation()
    cancel.cancel()
    with pytest.raises(Cancelled):
        sizes(arm).candidates(PLAN, SIZE, IMAGE, UUID(int=0), Watch(cancel))


# ---- capacity


def test_capacity_is_limited_by_the_quota_of_the_region_alone(arm: FakeArm, http: Http) -> None:
    arm.quotas["cores"] = 20
    http.made()
    capacity = sizes(arm).capacity([])
    assert (capacity.total.vcpus, capacity.total.memory_mib, capacity.total.disk_gib) == (20, None, None)
    assert capacity.committed.vcpus == 2
    assert capacity.free.vcpus == 18


def machine(number: int) -> Machine:
    return Machine(UUID(int=number), f"cpc{number}", azure_order().tag, PowerState.RUNNING, SIZE)


def test_a_host_with_as_many_machines_as_it_may_have_has_no_room(arm: FakeArm) -> None:
    found = sizes(arm, maxCloudPCs=2)
    assert found.capacity([machine(1)]).free.vcpus > 0
    full = found.capacity([machine(1), machine(2)])
    assert full.free.vcpus == 0
    assert full.committed.memory_mib == 2 * SIZE.memory_mib
    assert full.machines == {UUID(int=1), UUID(int=2)}


def test_one_more_than_may_be_is_refused(arm: FakeArm) -> None:
    found = sizes(arm, maxCloudPCs=1)
    with fails_with(ErrorCode.NO_CAPACITY, "weu", "1 Cloud PCs", "allows 1") as failed:
        found.refuse_beyond_maximum(UUID(int=2), [UUID(int=1)])
    assert failed.value.code is ErrorCode.NO_CAPACITY
    found.refuse_beyond_maximum(UUID(int=1), [UUID(int=1)])  # which is there already


def test_of_many_that_are_placed_at_once_no_more_are_let_in(arm: FakeArm) -> None:
    found = sizes(arm, maxCloudPCs=2)
    for number in (1, 2, 1):
        found.refuse_beyond_maximum(UUID(int=number), [])
    with pytest.raises(ProvisioningError):
        found.refuse_beyond_maximum(UUID(int=3), [])


# ---- doctor


def said(arm: FakeArm, **changes: Any) -> dict[str, tuple[str, str]]:
    return {check.what: (check.status, check.detail) for check in sizes(arm, **changes).checks()}


def test_doctor_tells_the_quota(arm: FakeArm) -> None:
    status, detail = said(arm)["quota of westeurope"]
    assert status == "passed"
    assert "Total Regional vCPUs 0 of" in detail
    arm.quotas["standardDASv5Family"] = 0
    [check] = [check for check in sizes(arm).checks() if check.what == "quota of westeurope"]
    assert check.status == "warning"
    assert "ask Azure for a larger quota of standardDASv5Family vCPUs in westeurope" in check.hint


def test_doctor_tells_all_that_the_region_has_not(arm: FakeArm) -> None:
    found = said(arm, sizes={PLAN: ["Standard_D2as_v9"]}, sizeFamilies=["standardDASv5Famly"], diskType="Premium_ZRS")
    assert found["size"] == ("failed", "westeurope has no size Standard_D2as_v9 (did you mean 'Standard_D2as_v5'?)")
    assert found["family of sizes"][1].endswith("(did you mean 'standardDASv5Family'?)")
    assert found["disk type"][0] == "failed"


def test_doctor_tells_a_region_that_azure_does_not_have(arm: FakeArm) -> None:
    assert said(arm, location="westeurop") == {"sizes": ("failed", "Azure has no sizes of machines in westeurop")}


def test_a_plan_without_a_size_has_failed_and_one_without_quota_is_a_warning(arm: FakeArm) -> None:
    found = sizes(arm)
    assert found.plan_check(PLAN, SIZE, IMAGE, Watch()).status == "passed"
    assert found.plan_check(PLAN, Amount(3, 8192, 64), IMAGE, Watch()).status == "failed"
    arm.quotas["cores"] = 0
    assert sizes(arm).plan_check(PLAN, SIZE, IMAGE, Watch()).status == "warning"
