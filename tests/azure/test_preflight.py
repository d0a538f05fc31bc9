"""What `cloudpc policy validate --hosts` is told of orders: by the host, from the fake Azure."""

from __future__ import annotations

from typing import Any

import pytest

from cloudpc.machines.azure.host import AzureHost
from cloudpc.machines.azure.image_names import of_marketplace
from cloudpc.machines.azure.images import AzureImage
from cloudpc.model.abilities import ChecksOrders, OrderChecks
from cloudpc.model.machines import Amount
from cloudpc.model.watch import Watch
from tests.azure.arm import FakeArm
from tests.azure.hosts import host_config

SMALL, USUAL = Amount(2, 4096, 64), Amount(2, 8192, 128)


@pytest.fixture(autouse=True)
def token(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())


def found(arm: FakeArm, image_id: str, plans: dict[str, Amount], *, memory: int = 64, **changes: Any) -> OrderChecks:
    named = of_marketplace(image_id)
    assert named is not None
    image = AzureImage(image_id=image_id, digest="ab", named=named, guest_os=named.guest_os, minimum_memory_mib=memory)
    host = AzureHost(host_config(arm, sizeFamilies=[], **changes))
    assert isinstance(host, ChecksOrders)
    checks = host.check_order(image, plans, Watch())
    assert {request.method for request in arm.log} == {"GET"}
    return checks


def statuses(checks: OrderChecks) -> tuple[list[str], dict[str, str]]:
    return [check.status for check in checks.image], {plan: check.status for plan, check in checks.sizes.items()}


def test_all_is_well(arm: FakeArm) -> None:
    checks = found(arm, "Debian_debian-12_12-gen2", {"small": SMALL, "usual": USUAL})
    assert statuses(checks) == ([], {"small": "passed", "usual": "passed"})


def test_an_image_too_large_for_one_plan(arm: FakeArm) -> None:
    image = "microsoftwindowsdesktop_windows-ent-cpc_win11-24H2-ent-cpc"
    checks = found(arm, image, {"small": SMALL, "usual": USUAL})
    assert statuses(checks) == (["failed"], {"usual": "passed"})
    assert "127.0 GB" in checks.image[0].detail


def test_an_image_that_is_not_there_is_told_once(arm: FakeArm) -> None:
    assert statuses(found(arm, "Debian_debian-99_99", {"small": SMALL, "usual": USUAL})) == (["failed"], {})
    assert statuses(found(arm, "Debian_debian-99_99", {})) == (["failed"], {})


def test_memory_counts_as_well(arm: FakeArm) -> None:
    checks = found(arm, "Debian_debian-12_12-gen2", {"small": SMALL, "usual": USUAL}, memory=8192)
    assert statuses(checks) == (["failed"], {"usual": "passed"})


def test_what_is_bought_warns(arm: FakeArm) -> None:
    assert statuses(found(arm, "contoso_vdi_vdi-gen2", {"usual": USUAL})) == (["warning"], {"usual": "passed"})


def test_sizes_that_are_not_there_and_quota_that_is_used_up(arm: FakeArm) -> None:
    arm.quotas["standardBasv2Family"] = arm.quotas["standardFSv2Family"] = arm.quotas["standardDalsv6Family"] = 0
    odd = Amount(3, 8192, 64)
    checks = found(arm, "Debian_debian-12_12-gen2", {"small": SMALL, "odd": odd})
    assert statuses(checks) == ([], {"small": "warning", "odd": "failed"})
