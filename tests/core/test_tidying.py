"""What a run tidies up after dead ones, host by host: what is finished, what goes, and what is only looked at."""

from __future__ import annotations

from collections.abc import Collection, Container
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Amount, Machine, Removed
from cloudpc.model.remnants import Kind, Remnant
from cloudpc.model.tags import Phase
from cloudpc.model.watch import REMOVED_WITHIN, Watch
from cloudpc.operations.consent import Consent
from cloudpc.operations.removal import Removal
from cloudpc.operations.tidying import Meant, tidy
from cloudpc.provisioning.order import tag_of
from cloudpc.provisioning.registration import Registration
from tests.support.orders import order

from . import make
from .fake_rim import IDENTITY, ScriptedHost, desired


class Host(ScriptedHost):
    """Keeps what it is asked; what is left on it is what a test says."""

    def __init__(self, folder: Path, name: str = "local", *left: Remnant) -> None:
        super().__init__(folder, name)
        self.left = list(left)
        self.asked: list[Any] = []

    def owned(self, installation: str, known: Container[UUID] = ()) -> list[Machine]:
        self.asked.append(("owned", installation, known))
        machines: list[Machine] = super().owned(installation, known)
        return machines

    def remnants(self, installation: str) -> list[Remnant]:
        self.asked.append(("remnants", installation))
        return self.left

    def discard(self, remnants: Collection[Remnant]) -> list[str]:
        return [remnant.name for remnant in remnants]

    def finish(self, machine_id: UUID, phase: Phase) -> None:
        self.asked.append(("finish", machine_id, phase))
        super().finish(machine_id, phase)

    def delete(self, machine_id: UUID, watch: Watch) -> Removed:
        assert 0 < watch.remaining <= REMOVED_WITHIN
        removed: Removed = super().delete(machine_id, watch)
        return removed


def has(host: ScriptedHost, user_id: str = "u-alice", phase: Phase = Phase.READY) -> UUID:
    tag = replace(tag_of(desired(user_id=user_id)), phase=phase)
    host.claim(order(tag, Amount(1, 512, 8)), Watch())
    return desired(user_id=user_id).machine_id


def tidied(meant: Meant, *hosts: ScriptedHost) -> list[str]:
    organisation: Any = _Nobody()
    return tidy(hosts, Removal(hosts, organisation, Consent()), meant)


class _Nobody:
    """Registers nothing."""

    def registration(self, recorded: str | None = None) -> Any:
        return Registration()


def living(host: str = "local", **changes: Any) -> dict[UUID, RecordedCloudPC]:
    return {IDENTITY: RecordedCloudPC(**desired().model_dump(), status=Status.PROVISIONED, host=host, **changes)}


def test_each_machine_that_nobody_was_given_is_removed_and_told(tmp_path: Path) -> None:
    host, other = Host(tmp_path), Host(tmp_path, "other")
    for user in ("u-alice", "u-bob", "u-eve"):
        has(host, user)
    has(other, "u-carol")
    wanted = has(host, "u-wanted")
    names = sorted(m.name for each in (host, other) for m in each.machines() if m.id != wanted)
    known = [UUID(int=1)]
    meant = Meant(make.INSTALLATION, "lab", {}, [wanted], handed_over=lambda name: known if name == "local" else ())
    assert sorted(tidied(meant, host, other)) == names
    assert [machine.id for machine in host.machines()] == [wanted]
    assert host.asked == [("owned", make.INSTALLATION, known), ("remnants", make.INSTALLATION)]


def test_one_that_state_has_is_handed_over(tmp_path: Path) -> None:
    host = Host(tmp_path)
    has(host)
    assert tidied(Meant(make.INSTALLATION, "lab", living()), host) == []
    assert ("finish", IDENTITY, Phase.HANDED_OVER) in host.asked
    assert [machine.tag.phase for machine in host.machines()] == [Phase.HANDED_OVER]


@pytest.mark.parametrize(
    "trouble", [ProvisioningError(ErrorCode.HOST_UNREACHABLE, "no route"), ZeroDivisionError("what a driver does")]
)
def test_a_host_in_trouble_has_its_turn_in_a_later_run(tmp_path: Path, trouble: Exception) -> None:
    host, other = Host(tmp_path), Host(tmp_path, "other")
    has(host)
    has(other, "u-bob")

    def refuse(*_: object) -> Any:
        raise trouble

    host.owned = refuse  # type: ignore[method-assign]
    assert len(tidied(Meant(make.INSTALLATION, "lab", {}), host, other)) == 1
    assert (len(host.machines()), other.machines()) == (1, [])


def test_what_was_removed_is_told_though_the_rest_was_not(tmp_path: Path) -> None:
    host = Host(tmp_path)
    has(host)
    [machine] = host.machines()

    def refuse(_: str) -> Any:
        raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, "no route")

    host.remnants = refuse  # type: ignore[method-assign]
    assert tidied(Meant(make.INSTALLATION, "lab", {}), host) == [machine.name]


def test_a_host_that_is_silent_is_not_asked(tmp_path: Path) -> None:
    host = Host(tmp_path)
    has(host)
    assert tidied(Meant(make.INSTALLATION, "lab", {}, silent=["local"]), host) == []
    assert host.asked == []


def test_what_another_run_has_begun_since_the_list_stays(tmp_path: Path) -> None:
    host = Host(tmp_path)
    has(host)
    listed = host.owned(make.INSTALLATION)
    host.finish(IDENTITY, Phase.HANDED_OVER)
    host.owned = lambda *_: listed  # type: ignore[method-assign]
    assert tidied(Meant(make.INSTALLATION, "lab", {}), host) == []
    assert len(host.machines()) == 1


def test_what_cannot_be_removed_now_is_not_told_as_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path)
    has(host)
    [machine] = host.machines()
    monkeypatch.setattr(Removal, "delete_unknown", lambda *_: ["its device: no answer", "its disk: busy"])
    assert tidied(Meant(make.INSTALLATION, "lab", {}), host) == []
    assert f"{machine.name} stays for now: its device: no answer; its disk: busy" in caplog.text


def test_the_one_that_state_means_is_on_another_host_and_this_one_goes(tmp_path: Path) -> None:
    host, other = Host(tmp_path), Host(tmp_path, "other")
    has(host, phase=Phase.HANDED_OVER)
    has(other)
    [machine] = other.machines()
    assert tidied(Meant(make.INSTALLATION, "lab", living("local")), host, other) == [machine.name]
    assert (len(host.machines()), other.machines()) == (1, [])


@pytest.mark.parametrize("has_another_generation", [False, True])
def test_it_stays_where_the_host_that_state_names_has_none(tmp_path: Path, *, has_another_generation: bool) -> None:
    host, other = Host(tmp_path), Host(tmp_path, "other")
    if has_another_generation:
        tag = replace(tag_of(desired()), generation=7, phase=Phase.HANDED_OVER)
        host.claim(order(tag, Amount(1, 512, 8)), Watch())
    has(other)
    assert tidied(Meant(make.INSTALLATION, "lab", living("local")), host, other) == []
    assert len(other.machines()) == 1


def test_what_outlived_its_machine_and_what_was_kept_long_enough_goes(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    nobody = "0" * 32
    past, later = now - timedelta(minutes=1), now + timedelta(hours=1)
    over = Remnant(Kind.VOLUME, "over", nobody, keep_until=past)
    kept = Remnant(Kind.VOLUME, "kept", "1" * 32, keep_until=later)
    card = Remnant(Kind.NETWORK_CARD, "card", "3" * 32, policy_id="lab")
    others = Remnant(Kind.NETWORK_CARD, "others", "3" * 32, policy_id="other")
    disk = Remnant(Kind.DISK, "disk", "2" * 32, policy_id="lab")
    in_use = Remnant(Kind.NETWORK_CARD, "in use", IDENTITY.hex, policy_id="lab")
    host = Host(tmp_path, "local", over, kept, card, others, disk, in_use)
    assert tidied(Meant(make.INSTALLATION, "lab", living()), host) == ["over", "card"]


def test_places_that_are_given_up_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Gives(Host):
        def give_up_places(self, installation: str, policy_id: str) -> list[str]:
            self.asked.append((installation, policy_id))
            return ["cloudpc-a"]

    host = Gives(tmp_path)
    caplog.set_level("INFO")
    tidied(Meant(make.INSTALLATION, "lab", {}), host)
    assert host.asked[-1] == (make.INSTALLATION, "lab")
    assert "cloudpc-a on local was off, and is billed no longer" in caplog.text
