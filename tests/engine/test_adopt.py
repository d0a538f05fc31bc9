"""State is lost, the machines are there: `up` leaves them alone, `adopt` takes them back or removes them."""

from __future__ import annotations

import pytest

from tests.support.project import Project

pytestmark = pytest.mark.engine


@pytest.fixture
def lost(project: Project) -> Project:
    project.up()
    assert project.pulumi("stack", "rm", "demo", "--force", "--yes", "--preserve-config").code == 0
    return project


@pytest.mark.parametrize("run_before", [False, True])
def test_machines_are_taken_back_as_they_are(lost: Project, run_before: bool) -> None:
    before = lost.machines()
    lost.policy(windowsSetting={"locale": "de-DE"})  # which nobody who is there already gets
    if run_before:
        assert lost.cloudpc("up", "demo").code == 3
        assert {o["statusDetail"]["code"] for o in lost.state().values()} == {"machineNotInState"}
    refused = lost.cloudpc("adopt")
    assert refused.code == 4, refused
    assert lost.machines() == before
    ran = lost.cloudpc("adopt", "--yes")
    assert ran.code == 0, ran
    assert "taken back, not rebuilt" in ran.output
    after = lost.state()
    assert {o["status"] for o in after.values()} == {"provisioned"}
    assert {o["deviceName"] for o in after.values()} == {m["tag"]["device_name"] for m in before.values()}
    assert all("locale" not in o["settings"] or o["settings"]["locale"] != "de-DE" for o in after.values())
    assert lost.calls().count("claim u000") == 1
    assert {m["tag"]["phase"] for m in lost.machines().values()} == {"handedOver"}
    assert "4 unchanged" in lost.up().output
    assert lost.cloudpc("adopt").code == 0


def test_or_removed(lost: Project) -> None:
    ran = lost.cloudpc("adopt", "--remove", "--yes")
    assert ran.code == 0, ran
    assert lost.machines() == {}
    assert lost.leaks() == []
