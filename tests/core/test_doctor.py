"""When doctor may remove what a tenant has: only if every Cloud PC that there may be is known."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Container, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_driver import FakeHostConfig

from cloudpc.cli import doctor_hosts, doctor_organisation
from cloudpc.cli.doctor_hosts import Ours
from cloudpc.cli.doctor_organisation import KnownOwners, SeenOnHosts
from cloudpc.connections import files
from cloudpc.model.check import Check
from cloudpc.model.devices import OwnedDevice
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Amount, Machine, PowerState, Removed
from cloudpc.model.remnants import Kind, Remnant
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import Watch
from cloudpc.operations import asked
from cloudpc.operations.inventory import Inventory

_INSTALLATION = "abcdefgh"
_HOST = FakeHostConfig(name="kvm1", uri="fake:///nowhere")


def _machine(user: str, phase: Phase, generation: int = 1) -> Machine:
    tag = Tag(_INSTALLATION, "demo", user, "plan", generation, f"PC-{user}", "", phase)
    return Machine(uuid.uuid4(), f"cloudpc-{user}", tag, PowerState.RUNNING, Amount())


def _device(user: str, generation: int = 1) -> OwnedDevice:
    return OwnedDevice(
        "device", f"PC-{user}", f"id of {user}", f"{_INSTALLATION}/{user}/plan/{generation}", enabled=True
    )


class _Directory:
    """Entra, and a domain."""

    def __init__(self, *held: OwnedDevice) -> None:
        self.held = held
        self.removed: list[str] = []

    def owned(self, installation: str, besides: Collection[str] = ()) -> Sequence[OwnedDevice]:
        return [each for each in self.held if each.owner not in besides]

    def remove(self, name: str, device_id: uuid.UUID, recorded: None) -> None:
        self.removed.append(name)

    def close(self) -> None: ...


class _Host:
    """Has these machines, or does not answer."""

    name = "kvm1"
    takes = 0.0
    """Seconds, for a list of its machines."""

    def __init__(self, *machines: Machine, answers: bool = True) -> None:
        self.machines = {m.id: m for m in machines}
        self._answers = answers
        self.left: list[Remnant] = []

    def check(self) -> list[Any]:
        return []

    def owned(self, installation: str, besides: Container[uuid.UUID] = ()) -> list[Machine]:
        if not self._answers:
            raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, "no answer")
        time.sleep(self.takes)
        return [machine for machine in self.machines.values() if machine.id not in besides]

    def describe(self, machine_id: uuid.UUID) -> Machine | None:
        return self.machines.get(machine_id)

    def unreadable(self, installation: str, known: Collection[uuid.UUID] = ()) -> dict[uuid.UUID, str]:
        return {}

    def remnants(self, installation: str) -> list[Remnant]:
        return self.left

    def discard(self, remnants: Collection[Remnant]) -> list[str]:
        self.left = [remnant for remnant in self.left if remnant not in remnants]
        return [remnant.name for remnant in remnants]

    def delete(self, machine_id: uuid.UUID, _watch: Watch) -> Removed:
        del self.machines[machine_id]
        return Removed.GONE


def _looked_at(host: _Host, monkeypatch: pytest.MonkeyPatch, *known: Machine) -> SeenOnHosts:
    monkeypatch.setattr(doctor_hosts, "connect", lambda _: host)
    seen = SeenOnHosts()
    ours = Ours([_INSTALLATION], Inventory(given=frozenset(m.id for m in known)), set(), remove=True)
    list(doctor_hosts._host(_HOST, ours, seen))
    return seen


def _told(directory: _Directory, seen: SeenOnHosts, *, remove: bool = True) -> list[Check]:
    organisation: Any = SimpleNamespace(devices=lambda _: directory)
    known = KnownOwners([_INSTALLATION], seen.owners, seen, remove)
    return list(doctor_organisation._left("tenant", organisation, "record", known))


def test_what_belongs_to_no_cloud_pc_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = _machine("u-mine", Phase.HANDED_OVER, 2), _machine("u-other", Phase.READY)
    seen = _looked_at(_Host(mine, other), monkeypatch, mine)
    directory = _Directory(_device("u-mine", 2), _device("u-mine", 1), _device("u-other"), _device("u-gone"))
    [finding] = _told(directory, seen)
    assert directory.removed == ["PC-u-mine", "PC-u-gone"], "of the first, what an older generation has left"
    assert "removed" in finding.detail


def test_the_device_of_a_machine_that_is_removed_now_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    host = _Host(_machine("u-begun", Phase.PROVISIONING))
    seen = _looked_at(host, monkeypatch)
    directory = _Directory(_device("u-begun"))
    _told(directory, seen)
    assert not host.machines
    assert directory.removed == ["PC-u-begun"]


def test_nothing_is_removed_while_state_lacks_a_machine_that_a_user_has(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _looked_at(_Host(_machine("u-lost", Phase.HANDED_OVER)), monkeypatch)
    directory = _Directory(_device("u-lost"), _device("u-gone"))
    for remove in (True, False):
        [finding] = _told(directory, seen, remove=remove)
        assert "PC-u-gone" in finding.detail, "the other has its machine"
        assert "cloudpc-u-lost" in finding.hint
        assert "cloudpc adopt" in finding.hint
    assert not directory.removed


@pytest.mark.parametrize("is_known", [True, False])
def test_no_disk_is_removed_while_state_lacks_a_machine_that_a_user_has(
    monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """As with another backend's state: a disk whose machine was undefined there may be a user's, on any host."""
    mine = _machine("u-mine", Phase.HANDED_OVER)
    one, other = _Host(), _Host(mine)
    disk = Remnant(Kind.VOLUME, "a disk", uuid.uuid4().hex[:12])
    one.left = [disk, Remnant(Kind.NETWORK_CARD, "a card", disk.machine)]
    hosts = {"one": one, "other": other}
    monkeypatch.setattr(doctor_hosts, "connect", lambda config: hosts[config.name])
    configs = [FakeHostConfig(name=name, uri=f"fake:///{name}") for name in hosts]
    surroundings: Any = {config.name: SimpleNamespace(hosts=[config]) for config in configs}
    inventory = Inventory(given=frozenset({mine.id}) if is_known else frozenset())
    ours = Ours([_INSTALLATION], inventory, set(), remove=True)
    told = list(doctor_hosts.findings(surroundings, ours, SeenOnHosts()))
    assert one.left == ([] if is_known else [disk])
    kept = [check for check in told if check.detail == "volume a disk has no machine"]
    assert [(mine.name in check.hint, "`cloudpc adopt`" in check.hint) for check in kept] == [(True, True)] * len(
        one.left
    )


def test_of_many_machines_that_state_lacks_a_few_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a lost state: each disk's line would hold all names of the fleet."""
    host = _Host(*(_machine(f"u-{number}", Phase.HANDED_OVER) for number in range(200)))
    host.left = [Remnant(Kind.VOLUME, "a disk", uuid.uuid4().hex[:12])]
    monkeypatch.setattr(doctor_hosts, "connect", lambda _: host)
    surroundings: Any = {"lab": SimpleNamespace(hosts=[_HOST])}
    ours = Ours([_INSTALLATION], Inventory(), set(), remove=True)
    told = list(doctor_hosts.findings(surroundings, ours, SeenOnHosts()))
    [hint] = [check.hint for check in told if check.detail == "volume a disk has no machine"]
    assert "and 197 more" in hint
    assert len(hint) < 400


def test_a_host_that_is_only_slow_keeps_disks_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run would no longer wait for it; here it answers later, and then its disks are at stake."""
    slow = _Host(_machine("u-mine", Phase.HANDED_OVER))
    slow.left = [disk := Remnant(Kind.VOLUME, "a disk", uuid.uuid4().hex[:12])]
    slow.takes = 0.1
    monkeypatch.setattr(asked, "WITHIN", 0.0)
    monkeypatch.setattr(doctor_hosts, "connect", lambda _: slow)
    surroundings: Any = {"lab": SimpleNamespace(hosts=[_HOST])}
    list(doctor_hosts.findings(surroundings, Ours([_INSTALLATION], Inventory(), set(), remove=True), SeenOnHosts()))
    assert slow.left == [disk]


def test_nothing_is_removed_if_a_host_did_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _looked_at(_Host(answers=False), monkeypatch)
    directory = _Directory(_device("u-gone"))
    [finding] = _told(directory, seen)
    assert finding.status == "warning"
    assert finding.hint == "not removed: the host kvm1 did not answer"
    assert not directory.removed


def test_computer_accounts_of_machines_that_state_lacks_are_not_called_left_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = _looked_at(_Host(_machine("u-lost", Phase.HANDED_OVER)), monkeypatch)
    domain = _Directory(_device("u-lost"), _device("u-gone"))
    monkeypatch.setattr(files, "read", lambda *_: SimpleNamespace(ad_domain_name="corp.example"))
    monkeypatch.setattr(doctor_organisation, "Organisation", lambda *_: SimpleNamespace(domain=lambda _: domain))
    surroundings: Any = {"demo": (object(), False)}
    known = KnownOwners([_INSTALLATION], seen.owners, seen, remove=True)
    [finding] = doctor_organisation._domain(tmp_path, "hq", surroundings, known)
    assert "PC-u-gone" in finding.detail
    assert "cloudpc adopt" in finding.hint


class _WithImages(_Host):
    def __init__(self) -> None:
        super().__init__()
        self.images = ["cloudpc-image-old"]

    def bring_image(self, image: Any, watch: Watch) -> None: ...

    def old_images(self) -> list[str]:
        return list(self.images)

    def discard_images(self, names: Collection[str]) -> list[str]:
        self.images = [name for name in self.images if name not in names]
        return list(names)


@pytest.mark.parametrize(
    ("remove", "busy", "status"), [(False, False, "warning"), (True, False, "passed"), (True, True, "warning")]
)
def test_old_images_are_told_and_go_when_asked_for_and_no_run_is_at_work(
    monkeypatch: pytest.MonkeyPatch, remove: bool, busy: bool, status: str
) -> None:
    host = _WithImages()
    monkeypatch.setattr(doctor_hosts, "connect", lambda _: host)
    ours = Ours([_INSTALLATION], Inventory(), {"demo"} if busy else set(), remove)
    [check] = [each for each in doctor_hosts._host(_HOST, ours, SeenOnHosts()) if each.what.endswith(": images")]
    assert (check.status, "cloudpc-image-old" in check.detail) == (status, True)
    assert bool(host.images) is (status == "warning")
