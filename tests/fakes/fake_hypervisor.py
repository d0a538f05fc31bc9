"""A hypervisor host made of files, with faults on demand: for flows through the real engine, without guests.

`fake:///folder` keeps each machine as `folder/machines/<id>.json`, shared by all processes like a real host's.
`folder/host.json` may set {"cores", "memory_mib", "disk_gib", "slots": boots at once, "seconds": {call: delay},
"meet": {call: how many of them wait for each other}, "slow": seconds for each answer, "deaf": seconds after which who
has asked gives up, since it takes connections and never answers} and "faults": [{"call": "wait_ready", "user": "u-bob",
"fault": "error|timeout|hang|kill|kill-engine|crash", "times": 1, "retriable": true}]; a fault without "user" hits
everybody, without "times" always. `folder/calls.log` has the begin and the end of each call.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import shell_guest
from fake_driver import FakeHostConfig

from cloudpc.machines.libvirt.configuration import REMEDY
from cloudpc.model.access import Access, Ssh
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.check import Check
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable
from cloudpc.model.guests import Completed, Guest, Script, Seed
from cloudpc.model.image import Image
from cloudpc.model.machine_names import named_after
from cloudpc.model.machines import (
    Amount,
    Capacity,
    Claimed,
    Hypervisor,
    Limits,
    Machine,
    Network,
    Order,
    PowerState,
    Removed,
)
from cloudpc.model.remnants import Kind, Remnant, without_machine
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase, Tag
from cloudpc.model.watch import Watch

_CODES = {
    "claim": ErrorCode.HYPERVISOR_ERROR,
    "ensure_image": ErrorCode.IMAGE_UPLOAD_FAILED,
    "create_disk": ErrorCode.DISK_FAILED,
    "start": ErrorCode.START_FAILED,
    "wait_ready": ErrorCode.GUEST_DIED,
    "run": ErrorCode.GUEST_AGENT_LOST,
    "set_password": ErrorCode.CREDENTIALS_FAILED,
    "finish ready": ErrorCode.HYPERVISOR_ERROR,
    "delete": ErrorCode.HYPERVISOR_ERROR,
}
"""What a real host says when a call fails or its deadline is over."""
_LIMITS = ("cores", "memory_mib", "disk_gib")
_MEET_WITHIN = 60.0
_FIELDS = frozenset(field.name for field in fields(Tag))
_VOLUMES = ("*.seed", "*.qcow2", "*-failed-*.log")
_MADE = re.compile(r"\.seed|\.qcow2|-failed-\d+\.log")
"""Others beside them were made by hand."""
_FACTS = """system PRETTY_NAME="Fake Linux 1"
key ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr1oZs1LkO8Ry5N2yp7aYz0kEJzq8nZhb3bJm1yQy7M fake
"""
"""What each guest says of itself, in the words of cloudpc.guests.linux."""


class FakeHost:
    """Implements cloudpc.model.machines.Host."""

    def __init__(self, config: FakeHostConfig) -> None:
        self.name = config.name
        self._folder = Path(config.folder)
        self._machines = self._folder / "machines"
        self._machines.mkdir(parents=True, exist_ok=True)
        self._kept = self._folder / "kept"
        """Is there once something of a failed one was kept."""
        self._meeting = threading.Condition()
        self._met: Counter[str] = Counter()
        self._read_before: dict[str, tuple[tuple[int, int], tuple[dict[str, Any], Machine | None]]] = {}
        self._settings_file = str(self._folder / "host.json")
        self._settings_before: tuple[tuple[int, ...], dict[str, Any]] = ((), {})
        self.facts = _FACTS

    # ---- what the interface asks for

    def hypervisor(self) -> Hypervisor:
        self._answer()
        return Hypervisor(str(self._folder.resolve()), frozenset(), REMEDY)

    def capacity(self) -> Capacity:
        self._answer()
        return self._capacity()

    def _capacity(self) -> Capacity:
        settings = self._settings()
        total = Limits(
            settings.get("cores", 10_000), settings.get("memory_mib", 10**9), settings.get("disk_gib", 10**9)
        )
        machines = self._all()
        sizes = [m.size for m in machines]
        committed = Amount(
            sum(s.vcpus for s in sizes), sum(s.memory_mib for s in sizes), sum(s.disk_gib for s in sizes)
        )
        return Capacity(total, committed, frozenset(m.id for m in machines))

    def claim(self, order: Order, watch: Watch) -> None:
        watch.check()
        self._fault("claim", order.tag.user_id)
        with self._lock():
            if machine := self._reached(order.id):
                raise Claimed(machine)
            if (self._folder / f"{order.name}.qcow2").exists() and not [*self._folder.glob(f"{order.name}-failed-*")]:
                message = f"{self.name} has the disk {order.name}.qcow2, whose machine is not defined any more"
                raise ProvisioningError(ErrorCode.MACHINE_NOT_IN_STATE, message, retriable=False)
            settings = self._settings()
            is_limited = not settings.keys().isdisjoint(_LIMITS)  # counting thousands for each one more takes long
            if is_limited and (lacking := _lacking(self._capacity(), order.size)):
                raise ProvisioningError(ErrorCode.NO_CAPACITY, f"{self.name} lacks {', '.join(lacking)}")
            known = settings.get("networks", [])
            if order.network.kind != "hosted" and order.network.source not in known:
                raise ProvisioningError(ErrorCode.NETWORK_NOT_FOUND, f"{self.name} has no {order.network.source}")
            self._write(Machine(order.id, order.name, order.tag, PowerState.STOPPED, order.size))

    def make(self, order: Order, watch: Watch) -> None:
        watch.stage(Stage.IMAGE)
        image = order.image(watch)
        self.ensure_image(image, order.tag.user_id, watch)
        watch.stage(Stage.DISK)
        self.create_disk(order, image, order.seed(image))
        watch.stage(Stage.STARTING, "waiting for a free boot slot")
        with self.boot_slot(watch):
            watch.stage(Stage.STARTING, f"on {self.name}")
            self.start(order, image)
            watch.stage(Stage.FIRST_BOOT, f"on {self.name}")
            booting = watch.within(order.first_boot_in_seconds)
            self.wait_ready(order.id, booting)
        watch.stage(Stage.FIRST_BOOT, "waiting for its network")
        self.access(order.id, watch.within(max(20, booting.remaining)))

    def power_on(self, machine_id: UUID, watch: Watch, *, until_ready: bool = True) -> None:
        self._fault("power_on", self._user(machine_id))
        was = self._need(machine_id).power
        self._change(machine_id, lambda m: replace(m, power=PowerState.RUNNING, paused_because=""))
        if until_ready and was is PowerState.STOPPED:
            watch.note(f"starting it on {self.name}")
            self.wait_ready(machine_id, watch)

    def shut_down(self, machine_id: UUID, watch: Watch, *, stays_off: bool) -> str:
        self._fault("shut_down", self._user(machine_id), watch.cancel)
        if self._need(machine_id).power is PowerState.STOPPED:
            return "off already"
        self._change(machine_id, lambda m: replace(m, power=PowerState.STOPPED, paused_because=""))
        return "shut down by its guest"

    def bring_image(self, image: Image, watch: Watch) -> None:
        self.ensure_image(image, "", watch)

    def update_kernel(self, machine_id: UUID, image: Image, watch: Watch) -> str:
        self._fault("update_kernel", self._user(machine_id), watch.cancel)
        (self._folder / f"{self._need(machine_id).name}.kernel").write_text(image.digest)
        return "has another kernel at its next start"

    def guest(self, machine_id: UUID) -> Guest:
        return FakeGuest(self, machine_id)

    def access(self, machine_id: UUID, watch: Watch) -> Access:
        self._need(machine_id)
        return Ssh(host="127.0.0.1", port=20_000 + machine_id.int % 10_000)

    def finish(self, machine_id: UUID, phase: Phase) -> None:
        self._fault(f"finish {phase}", self._user(machine_id))
        machine = self._need(machine_id)
        (self._folder / f"{machine.name}.seed").unlink(missing_ok=True)
        self._change(machine_id, lambda m: replace(m, tag=replace(m.tag, phase=phase)))
        self._fault(f"finished {phase}", self._user(machine_id))

    def describe(self, machine_id: UUID) -> Machine | None:
        self._answer()
        return self._described(machine_id)

    def _reached(self, machine_id: UUID) -> Machine | None:
        self._reach()
        return self._described(machine_id)

    def _described(self, machine_id: UUID) -> Machine | None:
        known = self._known(f"{self._machines}/{machine_id}.json")  # a Path takes longer than the look itself
        if known is None:
            return None
        value, machine = known
        if machine is None:  # somebody has taken it away
            raise TagUnreadable(value["name"], self.name)
        has_disk = machine.power is not PowerState.STOPPED or (self._folder / f"{machine.name}.qcow2").exists()
        return replace(machine, has_disk=has_disk)

    def overview(self, machine_ids: Collection[UUID]) -> dict[UUID, Machine | TagUnreadable]:
        self._reach()
        self._trouble("overview", "", None, 60)  # which changes nothing, so that it is not logged
        found: dict[UUID, Machine | TagUnreadable] = {}
        for machine_id in machine_ids:
            try:
                if machine := self._described(machine_id):
                    found[machine_id] = machine
            except TagUnreadable as error:
                found[machine_id] = error
        return found

    def owned(self, installation: str, besides: Container[UUID] = ()) -> list[Machine]:
        self._answer()
        return [m for m in self._all() if m.tag.installation == installation and m.id not in besides]

    def unreadable(self, installation: str, known: Collection[UUID] = ()) -> dict[UUID, str]:
        self._answer()
        names = {UUID(value["id"]): value["name"] for value in self._values() if value["tag"] is None}
        return {i: name for i, name in names.items() if _may_be_of(name, installation) or i in known}

    def retag(self, machine_id: UUID, tag: Tag, disk_gib: int) -> None:
        for value in (v for v in self._values() if v["id"] == str(machine_id) and v["tag"] is None):
            self._write(_load({**value, "tag": asdict(tag)}))

    def remnants(self, installation: str) -> list[Remnant]:
        self._answer()
        # Volumes first, as on a real host: a machine is there before it has any.
        files = [path for pattern in _VOLUMES for path in self._folder.glob(pattern)]
        found = ((path.name, named_after(path.name)) for path in files)
        ours = [(name, at) for name, at in found if at is not None and at.may_be_of(installation)]
        return self._without_machine(
            Remnant(
                Kind.VOLUME, name, at.machine, at.is_of(installation), _kept_until(name),
                by_hand=_MADE.fullmatch(at.ending) is None,
            )
            for name, at in ours
        )  # fmt: skip

    def discard(self, remnants: Collection[Remnant]) -> list[str]:
        with self._lock():
            names = sorted(remnant.name for remnant in self._without_machine(remnants))
            for name in names:
                (self._folder / name).unlink(missing_ok=True)
            return names

    def leaves_only_data(self) -> bool:
        return True

    def _without_machine(self, remnants: Iterable[Remnant]) -> list[Remnant]:
        there = [UUID(value["id"]) for value in self._values()]
        return without_machine(remnants, there)

    def delete(self, machine_id: UUID, watch: Watch) -> Removed:
        machine = self.describe(machine_id)
        if machine is None:
            return Removed.GONE
        self._fault("delete", machine.tag.user_id)
        its = [self._folder / f"{machine.name}.{what}" for what in ("seed", "qcow2", "kernel")]
        if self._kept.exists():  # a look through the files of thousands
            its += self._folder.glob(f"{machine.name}-failed-*.log")
        for path in (*its, self._folder / f"{machine_id}.password"):
            path.unlink(missing_ok=True)
        self._forget(machine_id)
        return Removed.GONE

    def keep_for_diagnosis(self, machine_id: UUID, until: datetime) -> str:
        machine = self.describe(machine_id)
        if machine is None:
            return ""
        self._fault("keep_for_diagnosis", machine.tag.user_id)
        self._kept.touch()
        log = self._folder / f"{machine.name}-failed-{int(until.timestamp())}.log"
        log.write_text("what the console said\n")
        for path in (self._folder / f"{machine.name}.seed", self._folder / f"{machine_id}.password"):
            path.unlink(missing_ok=True)
        self._forget(machine_id)
        return f"{machine.name}.qcow2 and {log.name}"

    def check(self) -> list[Check]:
        is_away = self._settings().get("away")
        return [Check("files", "failed" if is_away else "passed", str(self._folder), "wait" if is_away else "")]

    def check_network(self, network: Network) -> list[Check]:
        self._answer()
        self._fault("check_network", "")
        if network.kind != "hosted" and network.source not in self._settings().get("networks", []):
            raise ProvisioningError(ErrorCode.NETWORK_NOT_FOUND, f"{self.name} has no {network.source}", hint="make it")
        name = "hosted network" if network == Network() else f"libvirt network {network.source}"
        return [Check(name, "passed")]

    def close(self) -> None: ...

    # ---- what its guests do

    def run_script(self, machine_id: UUID, script: Script, watch: Watch) -> Completed:
        if script.name == "facts":
            return Completed(0, self.facts)
        if self._settings().get("shell"):  # for real, on this machine: only scripts of tests are harmless
            self._need(machine_id)
            done: Completed = shell_guest.run(script, watch)
            return done
        timeout = min(script.timeout, watch.remaining)
        try:
            self._fault("run", self._user(machine_id), watch.cancel, timeout)
        except TimeoutError as error:
            return Completed(124, str(error), timed_out=True)
        settings = self._settings()
        return Completed(settings.get("exit_code", 0), settings.get("output", "said by the fake guest"))

    def set_password(self, machine_id: UUID, user: str, password: str) -> None:
        self._fault("set_password", self._user(machine_id))
        if user == self._settings().get("no_user"):
            raise ProvisioningError(ErrorCode.CREDENTIALS_FAILED, f"the guest has no user {user}")
        (self._folder / f"{machine_id}.password").write_text(f"{user}:{password}")

    # ---- what making is made of

    def ensure_image(self, image: Image, user: str, watch: Watch) -> None:
        self._fault("ensure_image", user, watch.cancel)
        watch.note(f"uploading {image.image_id}")

    def create_disk(self, order: Order, image: Image, seed: Seed) -> None:
        self._fault("create_disk", self._user(order.id))
        (self._folder / f"{order.name}.seed").write_text(seed.user_data)
        (self._folder / f"{order.name}.qcow2").write_text(image.digest)

    @contextmanager
    def boot_slot(self, watch: Watch) -> Iterator[None]:
        watch.check()
        slots = self._settings().get("slots")
        if slots is None:
            yield
            return
        while True:
            for number in range(slots):
                with (self._folder / f"slot-{number}.lock").open("w") as file:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue
                    yield
                    return
            watch.wait(0.02)

    def start(self, order: Order, image: Image) -> None:
        self._fault("start", self._user(order.id))
        self._change(order.id, lambda m: replace(m, power=PowerState.RUNNING))

    def wait_ready(self, machine_id: UUID, watch: Watch) -> None:
        self._fault("wait_ready", self._user(machine_id), watch.cancel, watch.remaining)

    # ---- faults

    def _answer(self) -> None:
        """To a question from outside."""
        self._take_time()
        self._reach()

    def _take_time(self) -> None:
        settings = self._settings()
        if gives_up_after := settings.get("deaf"):
            self._log("begin", "deaf", "")
            time.sleep(gives_up_after)
            raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, f"{self.name} takes connections and does not answer")
        if slow := settings.get("slow"):
            time.sleep(slow)

    def _reach(self) -> None:
        """Unless nobody can reach it (`"away": true`)."""
        if self._settings().get("away"):
            raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, f"{self.name} does not answer")

    def _fault(self, call: str, user: str, cancel: Cancellation | None = None, timeout: float = 60) -> None:
        self._log("begin", call, user)
        try:
            self._trouble(call, user, cancel, timeout)
        finally:
            self._log("end", call, user)

    def _trouble(self, call: str, user: str, cancel: Cancellation | None, timeout: float) -> None:
        self._take_time()
        settings = self._settings()
        self._delay(call, settings.get("seconds", {}).get(call, 0), cancel, timeout)
        if wanted := settings.get("meet", {}).get(call):
            self._meet(call, wanted)
        for index, fault in enumerate(settings.get("faults", [])):
            if fault["call"] == call and fault.get("user", user) == user and self._take(index, user, fault):
                self._strike(call, fault, cancel or Cancellation(), timeout)

    def _log(self, event: str, call: str, user: str) -> None:
        with (self._folder / "calls.log").open("a") as log:
            log.write(f"{time.time():.3f} {os.getpid()} {event} {call} {user}\n")

    def _delay(self, call: str, seconds: float, cancel: Cancellation | None, timeout: float) -> None:
        if seconds and cancel is None:
            time.sleep(seconds)
        elif seconds and cancel:
            cancel.wait(min(seconds, timeout))
            if seconds > timeout:
                raise self._too_late(call, timeout)

    def _meet(self, call: str, wanted: int) -> None:
        """Return once so many calls of this name are here; for all later ones they were."""
        with self._meeting:
            self._met[call] += 1
            self._meeting.notify_all()
            if not self._meeting.wait_for(lambda: self._met[call] >= wanted, _MEET_WITHIN):
                raise RuntimeError(f"only {self._met[call]} of {wanted} calls of {call} at once")

    def _too_late(self, call: str, timeout: float) -> Exception:
        match call:
            case "run":
                return TimeoutError(f"took longer than {timeout:.0f} seconds")
            case "wait_ready":
                return ProvisioningError(ErrorCode.BOOT_TIMEOUT, f"not ready after {timeout:.0f} s")
        return ProvisioningError(_CODES[call], f"no answer to {call} after {timeout:.0f} s")

    def _take(self, index: int, user: str, fault: dict[str, Any]) -> bool:
        """Whether this fault still strikes: "times" counts for each user, over all processes."""
        if "times" not in fault:
            return True
        with self._lock("faults"):
            counter = self._folder / f"fault-{index}-{user}.count"
            struck = int(counter.read_text()) if counter.exists() else 0
            counter.write_text(str(struck + 1))
            return bool(struck < fault["times"])

    def _strike(self, call: str, fault: dict[str, Any], cancel: Cancellation, timeout: float) -> None:
        match fault["fault"]:
            case "error":
                code = _CODES.get(call, ErrorCode.HYPERVISOR_ERROR)
                raise ProvisioningError(code, f"injected fault in {call}", retriable=fault.get("retriable", True))
            case "timeout":
                cancel.wait(min(timeout, 0.2))
                raise self._too_late(call, timeout)
            case "hang":
                cancel.wait(600)
            case "crash":
                raise RuntimeError(f"a bug in {call}")
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)
            case "kill-engine":
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(1)  # and go on, as a real provider does until it notices

    # ---- files

    def _settings(self) -> dict[str, Any]:
        """Read once, as machines are."""
        try:
            found = os.stat(self._settings_file)  # noqa: PTH116 - as often as anything is asked
            version = (found.st_ino, found.st_mtime_ns, found.st_size)
            before, settings = self._settings_before
            if before != version:
                settings = json.loads(Path(self._settings_file).read_text())
                self._settings_before = version, settings
        except FileNotFoundError:
            return {}
        return settings

    @contextmanager
    def _lock(self, name: str = "host") -> Iterator[None]:
        with (self._folder / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _path(self, machine_id: UUID) -> Path:
        return self._machines / f"{machine_id}.json"

    def _all(self) -> list[Machine]:
        return [machine for _, machine in self._now() if machine is not None]

    def _values(self) -> list[dict[str, Any]]:
        """As of now: as on a real host, others remove machines between the list and the look at each."""
        return [value for value, _ in self._now()]

    def _now(self) -> list[tuple[dict[str, Any], Machine | None]]:
        with os.scandir(self._machines) as entries:
            files = sorted(entry.path for entry in entries if entry.name.endswith(".json"))
        return [known for path in files if (known := self._known(path)) is not None]

    def _known(self, path: str) -> tuple[dict[str, Any], Machine | None] | None:
        """Read once: who changes a machine puts another file in its place."""
        try:
            found = os.stat(path)  # noqa: PTH116 - thousands of times, for thousands of machines
            version = (found.st_ino, found.st_mtime_ns)
            known = self._read_before.get(path)
            if known is None or known[0] != version:
                value: dict[str, Any] = json.loads(Path(path).read_text())
                known = self._read_before[path] = (version, (value, _load(value) if value["tag"] else None))
        except FileNotFoundError:
            return None
        return known[1]

    def _need(self, machine_id: UUID) -> Machine:
        machine = self._reached(machine_id)
        if machine is None:
            raise ProvisioningError(ErrorCode.GUEST_DIED, f"{self.name} has no machine {machine_id}")
        return machine

    def _user(self, machine_id: UUID) -> str:
        return self._need(machine_id).tag.user_id

    def _change(self, machine_id: UUID, change: Callable[[Machine], Machine]) -> None:
        with self._lock("machines"):  # one that is removed in this moment must not come back
            self._write(change(self._need(machine_id)))

    def _forget(self, machine_id: UUID) -> None:
        with self._lock("machines"):
            self._path(machine_id).unlink(missing_ok=True)

    def _write(self, machine: Machine) -> None:
        path = self._path(machine.id)
        temporary = path.with_suffix(f".{uuid.uuid4().hex}")
        temporary.write_text(json.dumps({**asdict(machine), "id": str(machine.id)}))
        temporary.replace(path)


class FakeGuest:
    """Implements cloudpc.model.guests.Guest: runs nothing, and says what it is told to."""

    def __init__(self, host: FakeHost, machine_id: UUID) -> None:
        self._host = host
        self._id = machine_id

    def run(self, scripts: Sequence[Script], watch: Watch) -> list[Completed]:
        return [self._run(script, watch) for script in scripts]

    def _run(self, script: Script, watch: Watch) -> Completed:
        if script.title:
            watch.note(script.title)
        watch.check()
        return self._host.run_script(self._id, script, watch)

    def set_password(self, user: str, password: str, watch: Watch) -> None:
        self._host.set_password(self._id, user, password)


def _may_be_of(name: str, installation: str) -> bool:
    at = named_after(name)
    return at is not None and at.may_be_of(installation)


def _kept_until(name: str) -> datetime | None:
    _, found, until = name.removesuffix(".log").rpartition("-failed-")
    return datetime.fromtimestamp(float(until), UTC) if found else None


def _load(value: dict[str, Any]) -> Machine:
    known = {name: said for name, said in value["tag"].items() if name in _FIELDS}
    tag = Tag(**{**known, "phase": Phase(known["phase"])})
    size, why = Amount(**value["size"]), value.get("paused_because", "")
    power, facts = PowerState(value["power"]), value.get("facts", {})
    return Machine(UUID(value["id"]), value["name"], tag, power, size, paused_because=why, facts=facts)


def _lacking(capacity: Capacity, size: Amount) -> list[str]:
    """What is missing for a machine of this size, in words; nothing if it fits."""
    free = capacity.free
    wanted = [
        ("cores", size.vcpus, free.vcpus),
        ("MiB of memory", size.memory_mib, free.memory_mib),
        ("GB of disk", size.disk_gib, free.disk_gib),
    ]
    return [f"{needed} {what} ({max(0, free)} free)" for what, needed, free in wanted if needed > free]
