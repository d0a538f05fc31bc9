from __future__ import annotations

from tests.azure.arm import FakeArm
from tests.azure.client import Http, vm_body
from tests.azure.throttling import CREATES, LISTS, POLLS, READS, WRITES


def test_twelve_writes_of_one_machine_and_four_a_minute_from_then_on(arm: FakeArm, http: Http) -> None:
    arm.clock.speed = 0
    http.made()  # one
    tags = {"tags": {"a": "1"}}
    for _ in range(11):
        assert http("PATCH", "virtualMachines/vm", tags).status == 200
    got = http("PATCH", "virtualMachines/vm", tags)
    assert (got.status, got.code, got.headers["retry-after"]) == (429, "TooManyRequests", "15")
    assert got.body["error"]["details"][0]["target"] == WRITES.name
    assert http("POST", "virtualMachines/vm/start").status == 429  # all that changes it
    assert http.put("virtualMachines/vm/runCommands/c", {"location": "westeurope"}).status in (400, 429)
    http.nic("other")
    body = vm_body(arm, "other")
    assert http.put("virtualMachines/other", body).status == 201  # another machine has its own
    arm.clock.advance(15)
    assert http("PATCH", "virtualMachines/vm", tags).status == 200
    assert http("PATCH", "virtualMachines/vm", tags).status == 429
    arm.clock.advance(3600)
    assert arm.buckets.left(WRITES, arm.account.id("virtualMachines", "vm")) == 12


def test_reads_have_a_bucket_of_their_own(arm: FakeArm, http: Http) -> None:
    arm.clock.speed = 0
    http.made()
    for _ in range(36):
        assert http.get("virtualMachines/vm/instanceView").status == 200
    got = http.get("virtualMachines/vm")
    assert (got.status, got.headers["retry-after"]) == (429, "5")
    assert got.body["error"]["details"][0]["target"] == READS.name
    assert http("PATCH", "virtualMachines/vm", {"tags": {}}).status == 200


def test_so_have_looks_at_operations(arm: FakeArm, http: Http) -> None:
    arm.clock.speed = 0
    http.nic()
    where = http.vm().headers["azure-asyncoperation"]
    for _ in range(45):
        assert http.get(where).status == 200
    got = http.get(where)
    assert (got.status, got.headers["retry-after"]) == (429, "4")
    assert got.body["error"]["details"][0]["target"] == POLLS.name
    arm.buckets.on = False
    assert http.get(where).status == 200


def test_waits_are_told_in_the_clients_seconds(arm: FakeArm, http: Http) -> None:
    http.made()
    arm.clock.speed = 0
    while http("PATCH", "virtualMachines/vm", {"tags": {}}).status != 429:
        pass
    arm.clock.speed = 0.001
    arm.operations.retry_after = 10
    assert int(http("PATCH", "virtualMachines/vm", {"tags": {}}).headers["retry-after"]) > 10_000
    arm.clock.speed = 100
    arm.operations.polls = 1
    assert http.nic("other").headers["retry-after"] == "1"


def test_machines_of_a_subscription(arm: FakeArm, http: Http) -> None:
    arm.clock.speed = 0
    for _ in range(CREATES.burst):
        arm.buckets.take(CREATES, arm.account.subscription)
    http.nic()
    got = http.vm()
    assert (got.status, got.headers["retry-after"]) == (429, "1")
    assert http.get("virtualMachines").status == 200
    for _ in range(LISTS.burst - 1):
        arm.buckets.take(LISTS, arm.account.subscription)
    assert http.get("virtualMachines").status == 429


def test_tags_may_count(arm: FakeArm, http: Http) -> None:
    http.made()
    path = f"{arm.account.id('virtualMachines', 'vm')}/providers/Microsoft.Resources/tags/default"
    merge = {"operation": "Merge", "properties": {"tags": {"x": "1"}}}
    for counts, status in ((False, 200), (True, 429)):
        arm.buckets.counts_tags = counts
        assert [http("PATCH", path, merge).status for _ in range(14)][-1] == status
