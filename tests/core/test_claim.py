"""A place for a machine: which host and network, what waits, and who else claims it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cloudpc.model.cloud_pc import NetworkChoice, Status
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Capacity
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from cloudpc.provisioning.ledger import Ledger
from cloudpc.provisioning.looks import Looks

from .fake_organisation import Organisation
from .fake_rim import IDENTITY, THROUGH_HQ, Run, ScriptedHost, desired, hand_over, machines


@pytest.mark.parametrize("phase", Phase)
def test_another_policys_machine_is_never_touched(host: ScriptedHost, phase: Phase) -> None:
    Run(host).provision()
    host.finish(IDENTITY, phase)
    before = host.machines(), host.things()
    outcome = Run(host).provision(desired(policy_id="other"))
    assert outcome.status is Status.NOT_PROVISIONED
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.OTHER_POLICY_FIRST
    assert "'lab'" in outcome.error.message
    assert outcome.attempts == 1
    assert (host.machines(), host.things()) == before


def test_two_policies_at_once_on_one_host(host: ScriptedHost) -> None:
    def overtake() -> None:
        host.hooks.clear()
        assert Run(host).provision(desired(policy_id="other")).status is Status.PROVISIONED

    host.hooks["claim"] = overtake
    outcome = Run(host).provision()
    assert outcome.status is Status.NOT_PROVISIONED
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.OTHER_POLICY_FIRST
    assert outcome.attempts == 1
    assert [m.tag.policy_id for m in host.machines()] == ["other"]


def test_two_policies_at_once_on_two_hosts(tmp_path: Path) -> None:
    first, second = ScriptedHost(tmp_path, "first", cores=8), ScriptedHost(tmp_path, "second", cores=4)
    away = ScriptedHost(tmp_path, "away")
    away.away = True

    def overtake() -> None:
        first.hooks.clear()
        assert Run(second).provision(desired(policy_id="other")).status is Status.PROVISIONED

    first.hooks["claim"] = overtake
    outcome = Run(first, away, second).provision()
    assert (outcome.status, outcome.attempts) == (Status.NOT_PROVISIONED, 1)
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.OTHER_POLICY_FIRST
    assert machines([first, second]) == {"second": [Phase.READY]}
    assert first.things() == []


def test_another_run_of_this_policy_that_is_always_faster(host: ScriptedHost) -> None:
    Run(host).provision()
    spec = host.claimed[0]
    host.delete(IDENTITY, Watch())
    another = ScriptedHost(host.folder.parent)
    host.hooks["claim"] = lambda: another.claim(spec, Watch())
    outcome = Run(host).provision()
    assert outcome.error is not None
    assert (outcome.stage, outcome.attempts) == (Stage.PLACING, 3)
    assert outcome.error.code is ErrorCode.HYPERVISOR_ERROR
    assert outcome.error.message == f"{spec.name} was claimed by another run of this policy"


@pytest.mark.parametrize(
    ("room", "lacking"),
    [({"cores": 0}, "1 cores (0 free)"), ({"memory_mib": 511}, "512 MiB"), ({"disk_gib": 7}, "8 GB of disk (7 free)")],
)
def test_what_does_not_fit_waits(tmp_path: Path, room: dict[str, Any], lacking: str) -> None:
    host = ScriptedHost(tmp_path, **room)
    outcome = Run(host).provision()
    assert outcome.status is Status.PENDING_PROVISION
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.NO_CAPACITY
    assert lacking in outcome.error.message
    assert (outcome.stage, outcome.attempts) == (Stage.PLACING, 1)
    assert host.things() == []


def without_image(code: ErrorCode = ErrorCode.IMAGE_NOT_FOUND) -> None:
    raise ProvisioningError(code, "first has no such image", retriable=False, hint="mend it")


@pytest.mark.parametrize("code", [ErrorCode.IMAGE_NOT_FOUND, ErrorCode.IMAGE_INVALID])
def test_it_goes_where_its_image_is(tmp_path: Path, code: ErrorCode) -> None:
    first, second = ScriptedHost(tmp_path, "first", cores=8), ScriptedHost(tmp_path, "second", cores=4)
    first.hooks["claim"] = partial(without_image, code)
    outcome = Run(first, second).provision()
    assert (outcome.status, outcome.host, outcome.attempts) == (Status.PROVISIONED, "second", 1)
    assert first.things() == []


def test_where_the_host_that_has_its_image_is_full_it_waits(tmp_path: Path) -> None:
    first, full = ScriptedHost(tmp_path, "first", cores=8), ScriptedHost(tmp_path, "second", cores=0)
    first.hooks["claim"] = without_image
    outcome = Run(first, full).provision()
    assert (outcome.status, outcome.stage) == (Status.PENDING_PROVISION, Stage.PLACING)
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.NO_CAPACITY
    assert "first has no such image" in outcome.error.message


def test_an_image_that_no_host_has_is_the_failure(tmp_path: Path) -> None:
    hosts = [ScriptedHost(tmp_path, "first"), ScriptedHost(tmp_path, "second")]
    for host in hosts:
        host.hooks["claim"] = without_image
    outcome = Run(*hosts).provision()
    assert (outcome.status, outcome.stage, outcome.attempts) == (Status.FAILED, Stage.IMAGE, 1)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.hint) == (ErrorCode.IMAGE_NOT_FOUND, "mend it")


def test_the_last_place_is_given_once(tmp_path: Path) -> None:
    host = ScriptedHost(tmp_path, cores=1)
    assert Run(host).provision().status is Status.PROVISIONED
    assert Run(host).provision(desired(user_id="u-bob")).status is Status.PENDING_PROVISION


def test_the_roomiest_host_takes_it(tmp_path: Path) -> None:
    hosts = [ScriptedHost(tmp_path, name, cores=cores) for name, cores in [("a", 2), ("b", 8), ("c", 4)]]
    chosen: list[UUID] = []
    run = Run(*hosts)
    run.looks = Looks(Ledger(hosts))

    def see() -> None:
        with run.looks.ledger.books() as books:
            chosen.extend(machine_id for book in books.values() for machine_id in book._chosen)

    hosts[1].hooks["claim"] = see
    assert run.provision().host == "b"
    assert chosen == [IDENTITY], "so that others which are placed meanwhile count it once"


def test_machines_spread_by_the_scarcer_of_memory_and_cores(tmp_path: Path) -> None:
    little_memory = ScriptedHost(tmp_path, "a", cores=1000, memory_mib=1024)
    few_cores = ScriptedHost(tmp_path, "b", cores=8, memory_mib=64 * 1024)
    placed = [Run(little_memory, few_cores).provision(desired(user_id=f"u{i}")).host for i in range(5)]
    assert placed == ["b", "b", "b", "a", "b"]


def test_a_full_host_is_passed_over(tmp_path: Path) -> None:
    full, free = ScriptedHost(tmp_path, "full", cores=0), ScriptedHost(tmp_path, "free", cores=1)
    assert Run(full, free).provision().host == "free"


def test_a_host_that_is_away_is_passed_over(tmp_path: Path) -> None:
    away, there = ScriptedHost(tmp_path, "away"), ScriptedHost(tmp_path, "there")
    away.away = True
    outcome = Run(away, there).provision()
    assert (outcome.status, outcome.host, outcome.attempts) == (Status.PROVISIONED, "there", 1)


def test_why_nothing_was_placed_names_every_host(tmp_path: Path) -> None:
    away, full = ScriptedHost(tmp_path, "away"), ScriptedHost(tmp_path, "full", cores=0)
    away.away = True
    outcome = Run(away, full).provision()
    assert outcome.status is Status.PENDING_PROVISION
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.NO_CAPACITY
    assert "away does not answer" in outcome.error.message
    assert "full lacks 1 cores" in outcome.error.message
    assert outcome.error.hint == ""  # what to do about the other host is no help with this code


def test_a_host_whose_storage_is_broken_fails_it_alone_and_waits_beside_a_full_one(tmp_path: Path) -> None:
    class Broken(ScriptedHost):
        def capacity(self) -> Capacity:
            raise ProvisioningError(ErrorCode.DISK_FAILED, f"the pool of {self.name} is broken")

    first, second = Broken(tmp_path, "first"), Broken(tmp_path, "second")
    failed = Run(first, second).provision()
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (Status.FAILED, ErrorCode.DISK_FAILED)
    full = ScriptedHost(tmp_path, "full", cores=0)
    waits = Run(first, full).provision()
    assert waits.error is not None
    assert (waits.status, waits.error.code) == (Status.PENDING_PROVISION, ErrorCode.NO_CAPACITY)
    assert "the pool of first is broken" in waits.error.message


@pytest.mark.parametrize("count", [1, 2])
def test_when_no_host_answers_it_waits(tmp_path: Path, count: int) -> None:
    hosts = [ScriptedHost(tmp_path, f"h{i}") for i in range(count)]
    for host in hosts:
        host.away = True
    outcome = Run(*hosts).provision()
    assert outcome.status is Status.PENDING_PROVISION
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.hint) == (ErrorCode.HOST_UNREACHABLE, "start libvirt")


def _refusing(folder: Path, name: str, code: ErrorCode, call: str = "wait_ready", **settings: Any) -> ScriptedHost:
    """A host that claims and then, while it makes the machine, says this."""
    host = ScriptedHost(folder, name, **settings)

    def refuse() -> None:
        raise ProvisioningError(code, f"{name} says {code}")

    host.hooks[call] = refuse
    return host


@pytest.mark.parametrize("call", ["ensure_image", "create_disk", "start", "wait_ready"])
@pytest.mark.parametrize(
    ("code", "status", "attempts"),
    [
        (ErrorCode.NO_CAPACITY, Status.PENDING_PROVISION, 1),
        (ErrorCode.POOL_UNUSABLE, Status.PENDING_PROVISION, 1),
        (ErrorCode.HOST_REFUSES, Status.PENDING_PROVISION, 1),
        (ErrorCode.DISALLOWED_BY_POLICY, Status.FAILED, 1),
        (ErrorCode.HOST_UNREACHABLE, Status.FAILED, 3),
        (ErrorCode.STORAGE_FULL, Status.FAILED, 3),
    ],
)
def test_no_room_is_waited_for_whenever_its_host_finds_out(
    tmp_path: Path, call: str, code: ErrorCode, status: Status, attempts: int
) -> None:
    host = _refusing(tmp_path, "late", code, call)
    outcome = Run(host).provision()
    assert outcome.error is not None
    assert (outcome.status, outcome.error.code, outcome.attempts) == (status, code, attempts)
    assert (outcome.stage is Stage.PLACING) == (status is Status.PENDING_PROVISION)
    assert host.things() == []
    assert not (status is Status.PENDING_PROVISION and host.kept())


@pytest.mark.parametrize("code", [ErrorCode.NO_CAPACITY, ErrorCode.HOST_REFUSES])
def test_a_host_that_has_no_room_after_all_is_passed_over(tmp_path: Path, code: ErrorCode) -> None:
    late, small = _refusing(tmp_path, "late", code, cores=8), ScriptedHost(tmp_path, "small", cores=1)
    outcome = Run(late, small).provision()
    assert (outcome.status, outcome.host, outcome.attempts) == (Status.PROVISIONED, "small", 2)


@pytest.mark.parametrize("cores", [0, 1])
def test_where_no_host_has_room_after_all_it_waits(tmp_path: Path, cores: int) -> None:
    late = _refusing(tmp_path, "late", ErrorCode.NO_CAPACITY, cores=8)
    other = _refusing(tmp_path, "other", ErrorCode.NO_CAPACITY, cores=cores)
    outcome = Run(late, other).provision()
    assert (outcome.status, outcome.attempts) == (Status.PENDING_PROVISION, 2)
    assert late.things() == other.things() == []


def test_what_a_person_has_to_change_is_waited_for_and_others_are_asked(tmp_path: Path) -> None:
    refusing, sound = ScriptedHost(tmp_path, "refusing", cores=8), ScriptedHost(tmp_path, "sound", cores=1)

    def refuse() -> None:
        raise ProvisioningError(ErrorCode.HOST_REFUSES, "a role is missing", hint="assign it")

    refusing.hooks["claim"] = refuse
    outcome = Run(refusing).provision()
    assert outcome.error is not None
    assert (outcome.status, outcome.attempts) == (Status.PENDING_PROVISION, 1)
    assert (outcome.error.code, outcome.error.hint) == (ErrorCode.HOST_REFUSES, "assign it")
    assert (Run(refusing, sound).provision().host, refusing.things()) == ("sound", [])


def test_what_an_organisation_forbids_fails_at_once(tmp_path: Path) -> None:
    host = ScriptedHost(tmp_path)

    def forbid() -> None:
        raise ProvisioningError(ErrorCode.DISALLOWED_BY_POLICY, "no machines in this region")

    host.hooks["claim"] = forbid
    outcome = Run(host).provision()
    assert outcome.error is not None
    assert (outcome.status, outcome.error.code, outcome.attempts) == (
        Status.FAILED, ErrorCode.DISALLOWED_BY_POLICY, 1,
    )  # fmt: skip


def test_what_waits_after_its_registration_has_none(host: ScriptedHost, organisation: Organisation) -> None:
    run = Run(host)
    run.registration = organisation.registration()

    def away() -> None:
        raise ProvisioningError(ErrorCode.NO_CAPACITY, "stopped, and there is no room to start it")

    host.hooks["set_password"] = away
    assert run.provision().status is Status.PENDING_PROVISION
    assert organisation.devices == {}
    assert host.things() == []


_CORP = NetworkChoice(kind="network", source="corp")
_BRIDGE = NetworkChoice(kind="bridge", source="br0")
_HOSTED = NetworkChoice(kind="hosted")


@pytest.mark.parametrize(
    ("known", "used"), [([], ("hosted", "")), (["br0"], ("bridge", "br0")), (["br0", "corp"], ("network", "corp"))]
)
def test_the_first_network_that_is_there_is_used(tmp_path: Path, known: list[str], used: tuple[str, str]) -> None:
    host = ScriptedHost(tmp_path, networks=known)
    assert Run(host).provision(desired(networks=(_CORP, _BRIDGE, _HOSTED))).status is Status.PROVISIONED
    [spec] = host.claimed
    assert (spec.network.kind, spec.network.source) == used


def test_a_better_network_is_worth_a_fuller_host(tmp_path: Path) -> None:
    roomy = ScriptedHost(tmp_path, "roomy", cores=64)
    connected = ScriptedHost(tmp_path, "connected", cores=2, networks=["corp"])
    assert Run(roomy, connected).provision(desired(networks=(_CORP, _HOSTED))).host == "connected"


def test_while_no_connection_is_healthy_it_waits(host: ScriptedHost) -> None:
    run = Run(host)
    run.healthy = lambda choice, _afresh: ProvisioningError(
        ErrorCode.CONNECTION_NOT_HEALTHY, f"no answer through {choice.connection}"
    )
    outcome = run.provision(desired(networks=(THROUGH_HQ,)))
    assert outcome.error is not None
    assert (outcome.status, outcome.stage, outcome.attempts) == (Status.PENDING_PROVISION, Stage.PLACING, 1)
    assert outcome.error.code is ErrorCode.CONNECTION_NOT_HEALTHY
    assert "no answer through hq" in outcome.error.message


def test_a_connection_may_be_used_without_joining_a_domain(host: ScriptedHost, organisation: Organisation) -> None:
    run = Run(host)
    run.registration = organisation.registration()
    outcome = run.provision(desired(networks=(NetworkChoice(kind="hosted", connection="hq"),)))
    assert (outcome.status, outcome.connection) == (Status.PROVISIONED, "hq")
    assert organisation.calls == ["register"]
    assert host.tags[0].joined_through == ""


def test_without_any_of_the_networks_it_waits(host: ScriptedHost) -> None:
    outcome = Run(host).provision(desired(networks=(_CORP, _BRIDGE)))
    assert outcome.status is Status.PENDING_PROVISION
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.NETWORK_NOT_FOUND
    assert "corp" in outcome.error.message
    assert "br0" in outcome.error.message


def test_a_users_machine_is_looked_for_where_none_would_be_made(tmp_path: Path) -> None:
    """Its policy has another kind of image by now, which that host does not take."""
    old, new = ScriptedHost(tmp_path, "old"), ScriptedHost(tmp_path, "new")
    Run(old).provision()
    hand_over(old)
    run = Run(old, new)
    run.taking = [new]
    outcome = run.provision()
    assert outcome.error is not None
    assert (outcome.status, outcome.error.code) == (Status.FAILED, ErrorCode.MACHINE_NOT_IN_STATE)
    assert new.machines() == []


def test_where_something_is_left_is_recorded_though_it_waits(tmp_path: Path) -> None:
    host = _refusing(tmp_path, "late", ErrorCode.NO_CAPACITY, "start")

    def keep() -> None:
        raise ProvisioningError(ErrorCode.HYPERVISOR_ERROR, "can't be removed now")

    host.hooks["delete"] = keep
    outcome = Run(host).provision()
    assert (outcome.status, outcome.host) == (Status.PENDING_PROVISION, "late")
    assert "can't be removed now" in outcome.remains
