"""The fake host is one that many processes use at once, as a real one is: nothing of that fails by chance."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_driver import FakeHostConfig
from fake_hypervisor import FakeHost

from cloudpc.model.errors import ProvisioningError
from cloudpc.model.machines import Amount, Order
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import Watch
from tests.support.orders import order

INSTALLATION = "0123456789abcdef"


def spec(user: str) -> Order:
    return order(tag(user), Amount(1, 64, 1))


def tag(user: str) -> Tag:
    return Tag(INSTALLATION, "policy", user, "plan", 1, "CPC-1", "settings")


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(FakeHostConfig(name="host", uri=f"fake://{tmp_path}"))


def vanishes(host: FakeHost, user: str) -> None:
    """Another process removes this one's file after it was listed: a name that leads nowhere."""
    path = host._path(spec(user).id)
    path.unlink(missing_ok=True)
    path.symlink_to("gone")


def test_a_claim_goes_past_what_vanishes(host: FakeHost) -> None:
    vanishes(host, "bob")
    host.claim(spec("alice"), Watch())
    assert [machine.tag.user_id for machine in host.owned(INSTALLATION)] == ["alice"]
    assert host.capacity().committed == Amount(1, 64, 1)
    assert host.remnants(INSTALLATION) == []
    assert host.describe(spec("bob").id) is None
    assert host.keep_for_diagnosis(spec("bob").id, None) == ""  # type: ignore[arg-type]


def test_what_vanishes_does_not_come_back(host: FakeHost) -> None:
    host.claim(spec("alice"), Watch())
    host.delete(spec("alice").id, Watch())
    for call in (
        lambda identity: host.power_on(identity, Watch()),
        lambda identity: host.finish(identity, Phase.READY),
    ):
        with pytest.raises(ProvisioningError, match="has no machine"):
            call(spec("alice").id)
    assert host.owned(INSTALLATION) == []
