"""A small public cloud in a folder, as its client library shows it: what the driver beside it is in front of.

All processes that open the same folder see the same cloud. It has the ways of real ones: making and deleting are
accepted and go on by themselves, a machine's network card and disk are things of their own that may be left over, a
quota counts what is going as well, names are short, tags are small, and commands in a guest are counted.

`cloud.json` in the folder sets, all of it optional:

- "seconds": how long each of allocate, boot, start, delete, command takes, for how long a card is `reserved` after its
  machine has gone, and how long until it is worth to ask again (`poll`)
- "quota": {"vcpus": 8}; "subnets": {"default": how many addresses}; "commands": {"bucket": 12, "refill": seconds}
- "guest": {"shell": true} runs scripts for real; else they end with "exit_code" and "output", and those whose text has
  "in" with another "output": "says": [{"in", "output"}]
- "keeps_parts": cards and disks outlive their machine; "away": nobody is answered
- "faults": [{"call": "put_machine", "code": "AllocationFailed", "times": 1, "after": once the call is done}]; the code
  "kill" kills the process that calls; the call `allocate` is what happens after `put_machine` was accepted

`calls.log` has a line for each call.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import runner

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_LONGEST_NAME, _LONGEST_PART_NAME = 15, 80
_MOST_TAGS, _LONGEST_TAG = 50, 256
_TAIL = 4096
_SECONDS = {"allocate": 0.02, "boot": 0.02, "start": 0.02, "delete": 0.02, "command": 0.01, "reserved": 0.02,
            "poll": 0.01}  # fmt: skip
Item = dict[str, Any]


class CloudError(Exception):
    """The service says no.

    Args:
        code: why, for programs.
        message: for people.
        retry_after: in how many seconds it is worth to ask again; None: it does not say.
    """

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retry_after = retry_after


@dataclass(frozen=True)
class Step:
    """One shell script of a command; its environment is told to nobody but the guest."""

    script: str
    environment: Mapping[str, str]
    seconds: float


class CloudService:
    """The client of one account."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for kind in ("machines", "cards", "disks", "commands"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        self._started: list[subprocess.Popen[bytes]] = []

    # ---- machines

    def put_machine(
        self, name: str, *, vcpus: int, memory_mib: int, disk_gib: int, card: str, disk: str,
        tags: Mapping[str, str], title: str, image: str, first_boot: str, description: str,
    ) -> None:  # fmt: skip
        """Accept a new machine with a disk of its own; only if there is none of its name. It may still fail then."""
        with self._call("put_machine", name):
            _check_name(name, _LONGEST_NAME)
            _check_name(disk, _LONGEST_PART_NAME)
            _check_tags(tags)
            if (there := self._read("machines", name)) is not None:
                raise CloudError("Deleting" if "gone_at" in there else "AlreadyExists", f"there is a machine {name}")
            self._check_quota(vcpus)
            its_card = self._get("cards", card)
            if its_card["machine"]:
                raise CloudError("InUse", f"{card} belongs to {its_card['machine']}")
            if self._read("disks", disk) is not None:
                raise CloudError("AlreadyExists", f"there is a disk {disk}")
            now = time.time()
            allocated = now + self._seconds("allocate")
            machine = {
                "name": name, "vcpus": vcpus, "memory_mib": memory_mib, "disk_gib": disk_gib, "card": card,
                "disk": disk, "tags": dict(tags), "title": title, "image": image, "first_boot": first_boot,
                "description": description, "made_at": now, "allocated_at": allocated,
                "ready_at": allocated + self._seconds("boot"), "is_on": True, "failure": self._failure(name),
                "tokens": float(self._bucket), "counted_at": now,
            }  # fmt: skip
            self._write("cards", card, {**its_card, "machine": name})
            self._write("disks", disk, {"name": disk, "machine": name, "tags": dict(tags), "made_at": now})
            self._write("machines", name, machine)

    def get_machine(self, name: str) -> Item | None:
        """The machine with its `state` (allocating, failed, running, stopped, deleting) and whether it is `ready`."""
        with self._call("get_machine", name):
            machine = self._read("machines", name)
            return None if machine is None else self._seen(machine)

    def list_machines(self) -> list[Item]:
        """All of this account, whoever made them."""
        with self._call("list_machines"):
            return [self._seen(machine) for machine in self._all("machines")]

    def merge_tags(self, name: str, tags: Mapping[str, str | None]) -> None:
        """Change these tags of a machine and leave the others; None removes one."""
        with self._call("merge_tags", name):
            machine = self._get("machines", name)
            merged = {**machine["tags"], **tags}
            kept = {key: value for key, value in merged.items() if value is not None}
            _check_tags(kept)
            self._write("machines", name, {**machine, "tags": kept})

    def start_machine(self, name: str) -> None:
        """Accepted; it is ready some time later."""
        with self._call("start_machine", name):
            machine = self._get("machines", name)
            if not machine["is_on"]:
                ready = time.time() + self._seconds("start")
                self._write("machines", name, {**machine, "is_on": True, "ready_at": ready})

    def stop_machine(self, name: str) -> None:
        """As somebody does in the portal."""
        with self._call("stop_machine", name):
            self._write("machines", name, {**self._get("machines", name), "is_on": False})

    def delete_machine(self, name: str) -> None:
        """Accepted; it counts, and keeps its name, until it is gone. Its card and disk mostly go with it."""
        with self._call("delete_machine", name):
            machine = self._get("machines", name)
            if "gone_at" not in machine:
                gone = time.time() + self._seconds("delete")
                self._write("machines", name, {**machine, "gone_at": gone, "keeps_parts": self._set("keeps_parts")})

    def finish_deletions(self) -> None:
        """What goes is gone by now."""
        with self._call("finish_deletions"):
            for machine in self._all("machines"):
                if "gone_at" in machine:
                    self._write("machines", machine["name"], {**machine, "gone_at": time.time()})

    def end_reservations(self) -> None:
        """Nothing is reserved any longer for a machine that has gone."""
        with self._call("end_reservations"):
            for kind in ("cards", "disks"):
                for part in self._all(kind):
                    self._write(kind, part["name"], {**part, "reserved_until": 0.0})

    # ---- cards and disks

    def put_card(self, name: str, *, subnet: str, tags: Mapping[str, str]) -> Item:
        """Make a network card, which has its address at once."""
        with self._call("put_card", name):
            _check_name(name, _LONGEST_PART_NAME)
            _check_tags(tags)
            taken = [card["address"] for card in self._all("cards") if card["subnet"] == subnet]
            if (there := self._read("cards", name)) is not None:
                return there
            subnets = self._subnets()
            if subnet not in subnets:
                raise CloudError("NotFound", f"there is no subnet {subnet}")
            if len(taken) >= subnets[subnet]:
                raise CloudError("SubnetIsFull", f"all {subnets[subnet]} addresses of {subnet} are taken")
            number = [*subnets].index(subnet)
            address = next(
                a for a in (f"10.{number}.{n // 250}.{n % 250 + 4}" for n in range(62_500)) if a not in taken
            )
            card = {"name": name, "subnet": subnet, "address": address, "tags": dict(tags), "machine": "",
                    "made_at": time.time()}  # fmt: skip
            self._write("cards", name, card)
            return card

    def get_card(self, name: str) -> Item | None:
        """The card, or None."""
        with self._call("get_card", name):
            return self._read("cards", name)

    def list_parts(self) -> dict[str, list[Item]]:
        """All `cards` and `disks` of this account."""
        with self._call("list_parts"):
            return {kind: self._all(kind) for kind in ("cards", "disks")}

    def delete_part(self, kind: str, name: str) -> None:
        """Delete one of the `cards` or `disks`; fine if there is none. A machine's own is refused, also just after."""
        with self._call("delete_part", name):
            part = self._read(kind, name)
            if part is None:
                return
            if part["machine"]:
                raise CloudError("InUse", f"{name} belongs to {part['machine']}")
            if (left := part.get("reserved_until", 0.0) - time.time()) > 0:
                raise CloudError("Reserved", f"{name} is reserved for a machine that has just gone", left)
            (self.folder / kind / f"{name}.json").unlink(missing_ok=True)

    # ---- commands in a guest

    def put_command(self, machine: str, name: str, steps: Sequence[Step]) -> None:
        """Start these scripts, one after the other, as one command, which is counted as one."""
        with self._call("put_command", machine):
            it = self._need_ready(machine)
            self._count(it)
            folder = self.folder / "commands" / f"{machine}.{name}"
            folder.mkdir()
            run = self._run_for_real if self._set("guest", {}).get("shell") else self._pretend
            run(folder, steps)

    def get_command(self, machine: str, name: str) -> Item:
        """Its "state", running or done; of its "steps", "exit_code" (None: too late) and the end of "output"."""
        with self._call("get_command", machine):
            folder = self.folder / "commands" / f"{machine}.{name}"
            if not folder.exists():
                raise CloudError("NotFound", f"{machine} has no command {name}")
            for process in self._started:
                process.poll()
            steps = [_ended(folder / str(n)) for n in range(int((folder / "steps").read_text()))]
            ended = [step for step in steps if step is not None]
            is_over = len(ended) == len(steps) and time.time() >= float((folder / "until").read_text())
            return {"state": "done" if is_over else "running", "steps": ended if is_over else []}

    def delete_command(self, machine: str, name: str) -> None:
        """End it if it runs, and forget it; not counted here."""
        with self._call("delete_command", machine):
            folder = self.folder / "commands" / f"{machine}.{name}"
            with contextlib.suppress(FileNotFoundError):
                runner.end_with_all(int((folder / "pid").read_text()))
            if folder.exists():
                folder.rename(gone := folder.with_name(f".{folder.name}"))
                subprocess.run(["rm", "-rf", "--", str(gone)], check=True)

    # ---- what there is of everything

    def usages(self) -> dict[str, tuple[int, int]]:
        """What is used and what may be, of each thing that has a limit."""
        with self._call("usages"):
            limit = self._set("quota", {}).get("vcpus")
            return {} if limit is None else {"vcpus": (self._used(), limit)}

    def subnet(self, name: str) -> tuple[int, int]:
        """How many of its addresses are taken, and how many it has."""
        with self._call("subnet", name):
            subnets = self._subnets()
            if name not in subnets:
                raise CloudError("NotFound", f"there is no subnet {name}")
            return sum(card["subnet"] == name for card in self._all("cards")), subnets[name]

    def account(self) -> str:
        """What tells this account from others."""
        with self._call("account"):
            return str(self.folder.resolve())

    # ---- inside the cloud

    @contextlib.contextmanager
    def _call(self, call: str, name: str = "") -> Iterator[None]:
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with (self.folder / "calls.log").open("a") as log:
                log.write(f"{time.time():.3f} {os.getpid()} {call} {name}\n")
            if self._set("away"):
                raise CloudError("Unreachable", "no answer")
            self._go_on()
            self._strike(call, name, after=False)
            yield
            self._strike(call, name, after=True)

    def _strike(self, call: str, name: str, *, after: bool) -> None:
        for index, fault in enumerate(self._set("faults", [])):
            if fault["call"] == call and bool(fault.get("after")) is after and self._take(index, fault):
                if fault["code"] == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise CloudError(fault["code"], f"{call} {name} failed as it was told to", fault.get("retry_after"))

    def _failure(self, name: str) -> str:
        """Why this machine will not come up, if so."""
        for index, fault in enumerate(self._set("faults", [])):
            if fault["call"] == "allocate" and self._take(index, fault):
                return f"{fault['code']}: {name} could not be allocated"
        return ""

    def _take(self, index: int, fault: Item) -> bool:
        if "times" not in fault:
            return True
        count = self.folder / f"fault-{index}.count"
        struck = int(count.read_text()) if count.exists() else 0
        count.write_text(str(struck + 1))
        return bool(struck < fault["times"])

    def _go_on(self) -> None:
        """What has happened by itself since somebody looked: machines that are gone by now."""
        now = time.time()
        for machine in self._all("machines"):
            if machine.get("gone_at", now + 1) > now:
                continue
            for kind, part in (("cards", machine["card"]), ("disks", machine["disk"])):
                if (its := self._read(kind, part)) is None:
                    continue
                if machine.get("keeps_parts"):
                    reserved = now + self._seconds("reserved")
                    self._write(kind, part, {**its, "machine": "", "reserved_until": reserved})
                else:
                    (self.folder / kind / f"{part}.json").unlink()
            (self.folder / "machines" / f"{machine['name']}.json").unlink()

    def _count(self, machine: Item) -> None:
        refill, now = self._set("commands", {}).get("refill", 15.0), time.time()
        tokens = min(float(self._bucket), machine["tokens"] + (now - machine["counted_at"]) / refill)
        if tokens < 1:
            wait = (1 - tokens) * refill
            raise CloudError("TooManyRequests", f"{machine['name']} has had too many commands", wait)
        self._write("machines", machine["name"], {**machine, "tokens": tokens - 1, "counted_at": now})

    @property
    def _bucket(self) -> int:
        return int(self._set("commands", {}).get("bucket", 12))

    def _need_ready(self, name: str) -> Item:
        machine = self._get("machines", name)
        if not self._seen(machine)["ready"]:
            raise CloudError("NotRunning", f"{name} does not run")
        return machine

    def _seen(self, machine: Item) -> Item:
        now = time.time()
        if "gone_at" in machine:
            state = "deleting"
        elif now < machine["allocated_at"]:
            state = "allocating"
        elif machine["failure"]:
            state = "failed"
        else:
            state = "running" if machine["is_on"] else "stopped"
        is_ready = state == "running" and now >= machine["ready_at"]
        return {**machine, "state": state, "ready": is_ready, "ask_again": self._seconds("poll")}

    def _check_quota(self, vcpus: int) -> None:
        limit, used = self._set("quota", {}).get("vcpus"), self._used()
        if limit is not None and used + vcpus > limit:
            raise CloudError("QuotaExceeded", f"{vcpus} vCPUs wanted, {max(0, limit - used)} of {limit} left")

    def _used(self) -> int:
        return sum(machine["vcpus"] for machine in self._all("machines"))

    def _subnets(self) -> dict[str, int]:
        subnets: dict[str, int] = self._set("subnets", {"default": 250})
        return subnets

    def _run_for_real(self, folder: Path, steps: Sequence[Step]) -> None:
        """On this machine: for scripts of tests alone."""
        self._put(folder, len(steps), 0.0)
        process = subprocess.Popen(
            [sys.executable, runner.__file__],
            cwd=folder,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": f"{self.folder}/bin:{os.environ['PATH']}"},
        )
        assert process.stdin is not None
        with process.stdin as given:
            given.write(json.dumps([asdict(step) for step in steps]).encode())
        (folder / "pid").write_text(str(process.pid))
        self._started.append(process)

    def _pretend(self, folder: Path, steps: Sequence[Step]) -> None:
        """Nothing runs: each script says what the guest is set to say."""
        guest = self._set("guest", {})
        for number, step in enumerate(steps):
            said = next((s["output"] for s in guest.get("says", []) if s["in"] in step.script), None)
            (folder / f"{number}.output").write_text(guest.get("output", "") if said is None else said)
            (folder / f"{number}.code").write_text(str(guest.get("exit_code", 0) if said is None else 0))
        self._put(folder, len(steps), self._seconds("command"))

    @staticmethod
    def _put(folder: Path, steps: int, seconds: float) -> None:
        (folder / "until").write_text(str(time.time() + seconds))
        (folder / "steps").write_text(str(steps))

    def _seconds(self, what: str) -> float:
        return float(self._set("seconds", {}).get(what, _SECONDS[what]))

    def _set(self, name: str, otherwise: Any = None) -> Any:
        try:
            return json.loads((self.folder / "cloud.json").read_text()).get(name, otherwise)
        except FileNotFoundError:
            return otherwise

    def _get(self, kind: str, name: str) -> Item:
        item = self._read(kind, name)
        if item is None:
            raise CloudError("NotFound", f"there is no {name}")
        if "gone_at" in item:
            raise CloudError("Deleting", f"{name} is being deleted")
        return item

    def _read(self, kind: str, name: str) -> Item | None:
        try:
            item: Item = json.loads((self.folder / kind / f"{name}.json").read_text())
        except FileNotFoundError:
            return None
        return item

    def _all(self, kind: str) -> list[Item]:
        return [json.loads(path.read_text()) for path in sorted((self.folder / kind).glob("*.json"))]

    def _write(self, kind: str, name: str, item: Item) -> None:
        path = self.folder / kind / f"{name}.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(item))
        new.replace(path)


def _ended(step: Path) -> Item | None:
    code = step.with_suffix(".code")
    if not code.exists():
        return None
    output = step.with_suffix(".output").read_bytes()[-_TAIL:].decode("utf-8", "replace")
    said = code.read_text()
    return {"exit_code": int(said) if said else None, "output": output}


def _check_name(name: str, longest: int) -> None:
    if not _NAME.fullmatch(name) or len(name) > longest:
        raise CloudError("InvalidName", f"{name!r} has other than {longest} of a-z, 0-9 and -")


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > _MOST_TAGS or any(len(text) > _LONGEST_TAG for pair in tags.items() for text in pair):
        raise CloudError("InvalidTags", f"more than {_MOST_TAGS} tags, or one of more than {_LONGEST_TAG} characters")
    if any(set(name) & set("<>%&\\?/") for name in tags):
        raise CloudError("InvalidTags", "a name has one of <>%&\\?/")
