"""The fake host is one that many processes use at once, as a real one is: nothing of that fails by chance."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_driver import FakeHostConfig
from fake_hypervisor import FakeHost

from cloudpc.model.errors import ProvisioningError
from cloudpc.model.identity import machine_id
from cloudpc.model.machine_names import machine_name
from cloudpc.model.machines import Amount, MachineSpec, Network
from cloudpc.model.tags import Phase, Tag

INSTALLATION = "0123456789abcdef"


def spec(user: str) -> MachineSpec:
    identity = machine_id(INSTALLATION, user, "plan")
    return MachineSpec(identity, machine_name(INSTALLATION, identity), user, Amount(1, 64, 1), Network())


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
    host.claim(spec("alice"), tag("alice"))
    assert [machine.tag.user_id for machine in host.owned(INSTALLATION)] == ["alice"]
    assert host.capacity().committed == Amount(1, 64, 1)
    assert host.remnants(INSTALLATION) == []
    assert host.describe(spec("bob").id) is None
    assert host.keep_for_diagnosis(spec("bob").id, None) == ""  # type: ignore[arg-type]


def test_what_vanishes_does_not_come_back(host: FakeHost) -> None:
    host.claim(spec("alice"), tag("alice"))
    host.delete(spec("alice").id)
    for call in (host.power_on, lambda identity: host.finish(identity, Phase.READY)):
        with pytest.raises(ProvisioningError, match="has no machine"):
            call(spec("alice").id)
    assert host.owned(INSTALLATION) == []
