"""What a run sees of its machines before it plans: the same as a refresh, of all that answer in time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import PowerState
from cloudpc.model.tags import Phase
from cloudpc.operations import asked, look
from cloudpc.operations.consent import Consent
from cloudpc.operations.inventory import Inventory
from cloudpc.operations.overview import Look
from cloudpc.operations.records import CloudPCRecord, StackRecord
from cloudpc.operations.removal import Removal
from cloudpc.operations.tidying import Meant, tidy
from cloudpc.rules import findings, transitions

from .fake_organisation import Organisation
from .fake_rim import IDENTITY, Run, ScriptedHost, desired, hand_over
from .make import NOW

FULL = "the host's storage is full, so that its disk can't grow"


@pytest.fixture
def recorded(host: ScriptedHost) -> RecordedCloudPC:
    """What state has of a Cloud PC that its user works on."""
    made = transitions.provisioned(desired(), Run(host).provision(), NOW)
    hand_over(host)
    return made


def _but(pc: RecordedCloudPC, **changes: Any) -> RecordedCloudPC:
    return pc.model_copy(update=changes)


def _by_key(*cloud_pcs: RecordedCloudPC) -> dict[str, RecordedCloudPC]:
    return {pc.key: pc for pc in cloud_pcs}


def _changed(pc: RecordedCloudPC, *hosts: ScriptedHost) -> tuple[list[RecordedCloudPC], list[str]]:
    """What a run finds changed, and what it tells."""
    told: list[str] = []
    changed = Look(hosts, _by_key(pc)).changed(told.append, NOW)
    return list(changed.values()), told


def _stop(host: ScriptedHost) -> None:
    host._change(IDENTITY, lambda m: replace(m, power=PowerState.STOPPED))


def _pause(host: ScriptedHost) -> None:
    host._change(IDENTITY, lambda m: replace(m, power=PowerState.PAUSED, paused_because=FULL))


def _leave_off(host: ScriptedHost) -> None:
    host._change(IDENTITY, lambda m: replace(m, power=PowerState.LEFT_OFF))


def _undefine(host: ScriptedHost) -> None:
    host._path(IDENTITY).unlink()


def _take_disk(host: ScriptedHost) -> None:
    _stop(host)
    for disk in host.folder.glob("*.qcow2"):
        disk.unlink()


def _resize(host: ScriptedHost) -> None:
    host._change(IDENTITY, lambda m: replace(m, size=replace(m.size, vcpus=7)))


def _tell_of_it(host: ScriptedHost) -> None:
    host._change(IDENTITY, lambda m: replace(m, facts={"vmSize": "Standard_D2as_v5"}))


def _take_tag(host: ScriptedHost) -> None:
    path = host._path(IDENTITY)
    path.write_text(json.dumps({**json.loads(path.read_text()), "tag": None}))


def _make_another(host: ScriptedHost) -> None:
    host._change(IDENTITY, lambda m: replace(m, tag=replace(m.tag, generation=7, phase=Phase.PROVISIONING)))


def _restore_older_state(host: ScriptedHost) -> None:
    """From before its user was given the machine that is there."""
    host._change(IDENTITY, lambda m: replace(m, tag=replace(m.tag, generation=7)))


@pytest.mark.parametrize(
    ("happens", "power", "code"),
    [
        (_stop, "poweredOff", None),
        (_pause, "paused", None),
        (_leave_off, "deallocated", None),
        (_undefine, "running", "machineLost"),
        (_take_disk, "running", "machineLost"),
        (_make_another, "running", "machineLost"),
        (_restore_older_state, "running", "machineNotInState"),
        (_resize, "running", "machineChanged"),
        (_take_tag, "running", "tagUnreadable"),
        (_tell_of_it, "running", None),
    ],
)
def test_a_run_sees_what_a_refresh_would(
    host: ScriptedHost, recorded: RecordedCloudPC, happens: Callable[[ScriptedHost], None], power: str, code: str | None
) -> None:
    assert _changed(recorded, host) == ([], [])
    happens(host)
    [pc], told = _changed(recorded, host)
    assert told == []
    assert (pc.power_state, pc.status_detail.code if pc.status_detail else None) == (power, code)
    assert pc == look.as_seen(host, recorded, (), NOW)


def test_a_restored_state_in_which_it_was_ending_leaves_the_machine_that_its_user_has_now(
    host: ScriptedHost, recorded: RecordedCloudPC
) -> None:
    ending = _but(recorded, status=Status.DEPROVISIONING, leftovers=("its machine on local: busy",))
    assert _changed(ending, host) == ([], [])
    _restore_older_state(host)
    [found], _ = _changed(ending, host)
    assert found.is_not_in_state
    assert found == look.as_seen(host, ending, (), NOW)
    assert look.as_seen(None, ending, (), NOW) == ending
    left = Removal([host], Organisation(), Consent()).remove(IDENTITY, found)  # type: ignore[arg-type]
    ended = transitions.ended(found, found, left, NOW)
    assert "cloudpc adopt" in ended.leftovers[0]
    assert Removal([host], Organisation(), Consent()).remove(IDENTITY, ended) == left  # type: ignore[arg-type]
    assert _changed(ended, host) == ([], [])
    [machine] = host.owned(ended.installation)
    assert Inventory.of([StackRecord("lab", cloud_pcs=(CloudPCRecord("lab", ended, "alice"),))]).is_lost(machine)


def test_what_its_host_says_of_a_machine_is_recorded_and_stays_while_it_says_nothing(
    host: ScriptedHost, recorded: RecordedCloudPC
) -> None:
    assert recorded.facts == {}
    _tell_of_it(host)
    pc = look.as_seen(host, recorded, (), NOW)
    assert pc.facts == {"vmSize": "Standard_D2as_v5"}
    assert pc.events == recorded.events
    host._change(IDENTITY, lambda m: replace(m, facts={}))
    assert look.as_seen(host, pc, (), NOW) == pc


def test_one_that_is_known_to_stand_still_is_no_news(host: ScriptedHost, recorded: RecordedCloudPC) -> None:
    _pause(host)
    assert _changed(look.as_seen(host, recorded, (), NOW), host) == ([], [])


def test_a_disk_that_an_undefined_machine_has_left_is_named(host: ScriptedHost, recorded: RecordedCloudPC) -> None:
    _undefine(host)
    [pc], _ = _changed(recorded, host)
    assert pc.status_detail is not None
    assert "its disk is there" in pc.status_detail.message


def test_what_is_left_is_asked_once_and_its_trouble_hides_nothing_else(
    host: ScriptedHost, recorded: RecordedCloudPC, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = _by_key(recorded, *(_but(recorded, user_id=name) for name in ("u-bob", "u-carol")))
    asked: list[str] = []

    def remnants(installation: str) -> list[Any]:
        asked.append(installation)
        raise ProvisioningError(ErrorCode.DISK_FAILED, "no pool")

    monkeypatch.setattr(host, "remnants", remnants)
    _stop(host)
    told: list[str] = []
    changed = Look([host], several).changed(told.append, NOW)
    assert len(asked) == 1
    assert [pc.power_state for pc in changed.values()] == ["poweredOff"]
    assert [text.endswith(": no pool [diskFailed]") for text in told] == [True, True]


@pytest.mark.parametrize("fault", [{"call": "overview", "fault": "crash"}, {"call": "overview", "fault": "error"}])
def test_a_host_with_trouble_says_nothing(host: ScriptedHost, recorded: RecordedCloudPC, fault: dict[str, Any]) -> None:
    _undefine(host)
    host.configure(faults=[fault])
    changed, [told] = _changed(recorded, host)
    assert changed == []
    assert told.startswith("the machines on local could not be looked at: ")


def test_a_host_that_is_silent_holds_up_nobody(
    host: ScriptedHost, tmp_path: Path, recorded: RecordedCloudPC, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says later is not for this run, and the other's answer counts."""
    monkeypatch.setattr(asked, "WITHIN", 0.2)
    other, end = ScriptedHost(tmp_path, "other"), threading.Event()
    monkeypatch.setattr(other, "overview", lambda _ids: end.wait(60) and {})
    _stop(host)
    told: list[str] = []
    seen = Look([other, host], _by_key(recorded, _but(recorded, user_id="u-bob", host="other")))
    changed = seen.changed(told.append, NOW)
    end.set()
    assert [pc.user_id for pc in changed.values()] == ["u-alice"]
    assert [text.partition(" within ")[0] for text in told] == [
        "the machines on other could not be looked at: no answer"
    ]
    assert seen.handed_over("other") == frozenset()
    assert seen.handed_over("local") == {IDENTITY}


def test_hosts_without_machines_of_this_policy_are_not_asked(host: ScriptedHost, tmp_path: Path) -> None:
    other = ScriptedHost(tmp_path, "other")
    other.away = True
    made = transitions.provisioned(desired(), Run(host).provision(), NOW)
    assert _changed(made, host, other) == ([], [])
    assert _changed(_but(made, status=Status.DEPROVISIONING, host="other"), host, other) == ([], [])


def test_one_whose_tag_can_t_be_read_while_it_counts_as_lost_is_told(
    host: ScriptedHost, recorded: RecordedCloudPC
) -> None:
    _take_tag(host)
    lost = findings.lost(recorded, "gone", NOW)
    changed, [told] = _changed(lost, host)
    assert changed == []
    assert "[tagUnreadable]" in told


@pytest.mark.parametrize("has_namesake", [True, False])
def test_one_that_another_host_has_is_followed(
    host: ScriptedHost, tmp_path: Path, recorded: RecordedCloudPC, has_namesake: bool
) -> None:
    """It was migrated by hand; or hosts were renamed, or the name of its own given to another."""
    _pause(host)
    host.folder.rename(tmp_path / "other")
    hosts = [ScriptedHost(tmp_path, name) for name in (["local"] if has_namesake else []) + ["other"]]
    [pc], told = _changed(recorded, *hosts)
    assert told == []
    assert (pc.host, pc.status, pc.power_state) == ("other", Status.PROVISIONED, "paused")
    assert pc.events[-1].endswith("its machine is on other now")
    lost = findings.lost(recorded, "gone", NOW)
    [pc], _ = _changed(lost, *hosts)
    assert (pc.host, pc.status) == ("other", Status.PROVISIONED)


@pytest.mark.parametrize(
    "change", [{"phase": Phase.PROVISIONING}, {"phase": Phase.READY}, {"generation": 2}, {"policy_id": "theirs"}]
)
def test_what_else_another_host_may_have_is_not_followed(
    host: ScriptedHost, tmp_path: Path, recorded: RecordedCloudPC, change: dict[str, Any]
) -> None:
    """What a failed attempt or an interrupted reprovision has left there, or another policy's."""
    host._change(IDENTITY, lambda m: replace(m, tag=replace(m.tag, **change)))
    host.folder.rename(tmp_path / "other")
    [pc], _ = _changed(recorded, ScriptedHost(tmp_path, "local"), ScriptedHost(tmp_path, "other"))
    assert (pc.host, pc.is_lost) == ("local", True)


def test_another_host_is_asked_once_for_all_that_are_missing(
    host: ScriptedHost, tmp_path: Path, recorded: RecordedCloudPC, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "WITHIN", 0.2)
    other, end = ScriptedHost(tmp_path, "other"), threading.Event()
    listed: list[str] = []

    def overview(_ids: object) -> dict[Any, Any]:
        listed.append("other")
        end.wait(60)
        return {}

    monkeypatch.setattr(other, "overview", overview)
    _undefine(host)
    told: list[str] = []
    looked = Look([host, other], _by_key(recorded, _but(recorded, user_id="u-bob")))
    assert looked.changed(told.append, NOW) == {}, "it may be there"
    end.set()
    assert len(told) == 2
    assert "its machine is not on local, and may be on other (no answer" in told[0]
    assert listed == ["other"]


def test_a_machine_is_not_gone_while_another_host_may_have_it(
    host: ScriptedHost, tmp_path: Path, recorded: RecordedCloudPC
) -> None:
    other = ScriptedHost(tmp_path, "other")
    _undefine(host)
    other.away = True
    with pytest.raises(look.MayBeElsewhereError, match=r"may be on other \(other does not answer\)"):
        look.as_seen(host, recorded, [host, other], NOW)
    other.away = False
    lost = look.as_seen(host, recorded, [host, other], NOW)
    assert lost.is_lost
    other.away = True
    assert look.as_seen(host, lost, [host, other], NOW) == lost


def test_one_whose_host_is_not_configured_is_told_as_that_while_another_does_not_answer(
    host: ScriptedHost, tmp_path: Path, recorded: RecordedCloudPC
) -> None:
    """Its host was not even asked: once for all of that host, as where all others answer."""
    other = ScriptedHost(tmp_path, "other")
    other.away = True
    with pytest.raises(ProvisioningError, match=r"^the host local is not in cloudpc:hosts$") as caught:
        look.as_seen(None, recorded, [other], NOW)
    assert not isinstance(caught.value, look.MayBeElsewhereError)


@pytest.mark.parametrize("has_disk", [True, False])
def test_a_copy_made_by_hand_is_no_disk_that_a_machine_works_with_again(
    host: ScriptedHost, recorded: RecordedCloudPC, has_disk: bool
) -> None:
    [disk] = host.folder.glob("cloudpc-*.qcow2")
    copy = disk.with_name(f"{disk.stem}-before.qcow2")
    copy.write_bytes(b"data")
    if not has_disk:
        disk.unlink()
    _undefine(host)
    detail = look.as_seen(host, recorded, (), NOW).status_detail
    assert detail
    assert ("works again" in detail.message, disk.name in detail.message) == (has_disk, has_disk)
    assert (copy.name in detail.message) is not has_disk
    assert "its data is gone" not in detail.message


def test_of_one_that_is_still_ending_nobody_asks_what_is_left(
    host: ScriptedHost, recorded: RecordedCloudPC, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its removal does; a run that finds it unchanged lists no pool for it."""
    asked_for: list[str] = []
    monkeypatch.setattr(host, "remnants", lambda installation: asked_for.append(installation) or [])
    _undefine(host)
    assert _changed(_but(recorded, status=Status.DEPROVISIONING, leftovers=("its device: away",)), host) == ([], [])
    assert asked_for == []


def test_a_run_has_hosts_give_up_the_places_of_what_is_off(host: ScriptedHost) -> None:
    asked: list[tuple[str, str]] = []
    host.give_up_places = lambda *whose: asked.append(whose) or []  # type: ignore[attr-defined]
    tidy([host], Removal([host], Organisation(), Consent()), Meant("inst", "demo", {}))  # type: ignore[arg-type]
    assert asked == [("inst", "demo")]


def test_a_silent_host_is_not_tidied(host: ScriptedHost, tmp_path: Path, recorded: RecordedCloudPC) -> None:
    """Its end would be waited for, and which hypervisor it is, is not known."""
    hosts = [host, ScriptedHost(tmp_path, "other")]
    listed: list[str] = []
    for each in hosts:
        each.owned = lambda *_, name=each.name: listed.append(name) or []
    removal = Removal(hosts, Organisation(), Consent())  # type: ignore[arg-type]
    assert tidy(hosts, removal, Meant("inst", "demo", {}, silent={"other"})) == []
    assert listed == ["local"]
