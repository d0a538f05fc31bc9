"""What state and history say after each step."""

from __future__ import annotations

import pytest

from cloudpc.iac import outputs
from cloudpc.model.cloud_pc import Status

_EARLIER = "2026-11-24T09:00:00Z"


@pytest.mark.parametrize("status", [Status.PENDING_PROVISION, Status.NOT_PROVISIONED, Status.DEPROVISIONING])
@pytest.mark.parametrize("why", ["noCapacity", "not whole: " + 300 * "x"])
def test_what_is_tried_by_each_run_is_one_event_as_long_as_it_ends_the_same(status: Status, why: str) -> None:
    first = outputs.with_event({"events": [f"{_EARLIER} provisioned generation 1"]}, status, why)
    first["events"][-1] = first["events"][-1].replace(first["lastModifiedDateTime"], _EARLIER)
    again = outputs.with_event(first, status, why)
    assert again["events"] == first["events"]
    assert again["lastModifiedDateTime"] == _EARLIER, "since then"
    otherwise = outputs.with_event(again, status, "hostUnreachable")
    assert len(otherwise["events"]) == 3
    assert otherwise["lastModifiedDateTime"] != _EARLIER


def test_a_retry_that_fails_the_same_way_is_an_event() -> None:
    once = outputs.with_event({}, Status.FAILED, "bootTimeout")
    assert len(outputs.with_event(once, Status.FAILED, "bootTimeout")["events"]) == 2
