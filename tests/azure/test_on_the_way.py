"""What somebody must correct in Azure while a Cloud PC is made: it waits, and a later run ends well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from cloudpc import guests
from cloudpc.machines.azure.host import AzureHost
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.cloud_pc import DesiredCloudPC, Status
from cloudpc.model.errors import ErrorCode
from cloudpc.model.identity import machine_id
from cloudpc.model.outcome import Outcome
from cloudpc.model.watch import Watch
from cloudpc.provisioning import pipeline
from cloudpc.provisioning.resources import Resources
from cloudpc.rules.entitlement import Entitlement
from cloudpc.rules.lifecycle import reconcile
from tests.azure.arm import FakeArm
from tests.azure.hosts import DEBIAN, host_config
from tests.azure.linux_answers import LinuxAnswers
from tests.core import make

NOTHING: dict[str, list[str]] = {"virtualMachines": [], "networkInterfaces": [], "disks": []}


@pytest.fixture
def host(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> Iterator[AzureHost]:
    monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
    arm.table.otherwise = LinuxAnswers()
    opened = AzureHost(host_config(arm))
    yield opened
    opened.close()


def wanted() -> DesiredCloudPC:
    """Of a plan that the fake has a size for."""
    plan = replace(make.plan(), ram_in_gb=2, storage_in_gb=64)
    today = make.today(settings=make.settings())
    return reconcile({}, [Entitlement(make.user("u-alice"), plan)], {}, today, make.NOW).desired[0]


class Quiet:
    """A Reporter that nobody reads."""

    def step(self, text: str) -> None:
        pass

    def milestone(self, text: str, *, warning: bool = False) -> None:
        pass


def provision(host: AzureHost) -> Outcome:
    resources = Resources([host], lambda _watch: DEBIAN, lambda: None, guests.named, pause=0.01)
    return pipeline.provision(wanted(), resources, Quiet(), Cancellation())


def test_nothing_is_wrong(arm: FakeArm, host: AzureHost) -> None:
    outcome = provision(host)
    assert outcome.status is Status.PROVISIONED, outcome.error
    assert [len(names) for names in arm.left.values()] == [1, 1, 1]


def _revoked(arm: FakeArm) -> None:
    arm.revoked_at = 1


def _expired(arm: FakeArm) -> None:
    arm.clock.advance(5)
    arm.expire_tokens()


@pytest.mark.parametrize("happens", [_revoked, _expired])
def test_before_anything_was_made_it_waits_and_nothing_was_tried_thrice(
    arm: FakeArm, host: AzureHost, happens: Callable[[FakeArm], None]
) -> None:
    happens(arm)
    outcome = provision(host)
    assert outcome.error is not None
    assert (outcome.status, outcome.error.code) == (Status.PENDING_PROVISION, ErrorCode.HOST_REFUSES)
    assert outcome.attempts <= 1
    assert arm.left == NOTHING


def test_a_role_that_is_revoked_at_any_request(monkeypatch: pytest.MonkeyPatch) -> None:
    requests, at = 2, 1
    while at < requests:
        with FakeArm() as arm:
            monkeypatch.setenv("CLOUDPC_AZURE_TOKEN", arm.token())
            arm.table.otherwise = LinuxAnswers()
            arm.buckets.on = False  # two provisionings at once are more than Azure allows
            arm.revoked_at = at
            host = AzureHost(host_config(arm))
            _waits_and_comes_well(arm, host, at)
            host.close()
            arm.revoked_at = None
            if at == 1:
                requests = _requests(arm, host)
        at += 1
    assert requests > 10


def _requests(arm: FakeArm, host: AzureHost) -> int:
    """How many a whole provisioning takes."""
    host.delete(machine_id(make.INSTALLATION, "u-alice", "small"), Watch())
    before = len(arm.log)
    assert provision(host).status is Status.PROVISIONED
    host.close()
    return len(arm.log) - before


def _waits_and_comes_well(arm: FakeArm, host: AzureHost, at: int) -> None:
    outcome = provision(host)
    assert outcome.status in (Status.PENDING_PROVISION, Status.PROVISIONED_WITH_WARNINGS, Status.PROVISIONED), (
        at, outcome.error and outcome.error.whole()
    )  # fmt: skip
    if outcome.status is Status.PENDING_PROVISION:
        assert outcome.error is not None
        assert outcome.error.code is ErrorCode.HOST_REFUSES, (at, outcome.error.whole())
    arm.revoked_at = None
    again = provision(host)
    assert again.status is Status.PROVISIONED, (at, again.error and again.error.whole())
    arm.clock.advance(1000)
    host.discard(host.remnants(make.INSTALLATION))
    assert [len(names) for names in arm.left.values()] == [1, 1, 1], at
