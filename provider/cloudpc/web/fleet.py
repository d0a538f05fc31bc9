"""The fleet as pages show it: state and what policies say today, read when one of them has changed.

Reading state starts the engine, which takes longer than a page may: a thread reads, and pages have what it read last.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from cloudpc.cli import differences
from cloudpc.cli.cloud_pc_table import reasons
from cloudpc.cli.context import Project
from cloudpc.configuration.reading import StackInputs
from cloudpc.directory.catalogue import short_name
from cloudpc.iac import fleet
from cloudpc.iac.stages_now import Place
from cloudpc.model.access import Ssh
from cloudpc.model.cloud_pc import PolicySettings, Status
from cloudpc.model.errors import CloudPCError
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.operations.records import CloudPCRecord, StackRecord
from cloudpc.rules import entitlement
from cloudpc.rules.actions.rename import display_name

_LOOKS_EVERY = 1.0
"""Seconds between two looks at whether anything has changed."""
_ELSEWHERE_EVERY = 15.0
"""Seconds between two reads of state that is not in files here: nothing cheaper tells whether it has changed."""
_TODAY_EVERY = 300.0
"""Seconds for which a tenant's directory is believed; files are looked at each time."""


@dataclass(frozen=True)
class Today:
    """What one policy says now."""

    settings: PolicySettings | None = None
    policy: ProvisioningPolicy | None = None
    entitled: frozenset[str] = frozenset()
    """Keys of the Cloud PCs that it owes, as far as it alone says."""
    problem: str = ""
    """Why that is not known, in words."""

    @classmethod
    def of(cls, project: Project, policy: str) -> Today:
        """As its file and its directory say."""
        try:
            inputs: StackInputs = project.inputs(policy)
        except CloudPCError as error:
            return cls(problem=str(error))
        owed = entitlement.entitled(inputs.policy, inputs.snapshot)
        return cls(inputs.settings, inputs.policy, frozenset(each.key for each in owed))


@dataclass(frozen=True)
class Row:
    """One Cloud PC, as a table or a card has it."""

    record: CloudPCRecord
    outdated: Sequence[str] = ()
    """Which of its settings differ from its policy's, in words."""

    @cached_property
    def json(self) -> dict[str, Any]:
        """As `cloudpc list --json` has it."""
        return {**self.record.as_json(), "outdated": None}

    @cached_property
    def place(self) -> Place:
        """Its policy, and its key there."""
        return self.record.policy, self.record.key

    @cached_property
    def id(self) -> str:
        """In addresses of pages: its machine's id, which says nothing about its user."""
        return str(self.record.recorded.machine_id)

    @property
    def seen(self) -> str:
        """What a form says its page has shown: the id stays the same when all data is replaced, this does not."""
        return f"{self.record.recorded.generation} {self.status}"

    @property
    def user(self) -> str:
        """Its user's name."""
        return self.record.user_principal_name

    @cached_property
    def name(self) -> str:
        """What people call it."""
        return display_name(self.record.recorded)

    @cached_property
    def plan(self) -> str:
        """Its size, in words."""
        plan = self.record.recorded.service_plan
        return f"{plan.v_cpu_count} vCPU / {plan.ram_in_gb:g} GB / {plan.storage_in_gb} GB"

    @property
    def sizes(self) -> str:
        """The same where it has to be short."""
        plan = self.record.recorded.service_plan
        return f"{plan.v_cpu_count} / {plan.ram_in_gb:g} / {plan.storage_in_gb}"

    @property
    def plan_name(self) -> str:
        """Its service plan's name."""
        return short_name(self.record.service_plan)

    @property
    def image(self) -> str:
        """Which image it was made of."""
        return self.record.settings.image_id

    @cached_property
    def status(self) -> str:
        """Graph's."""
        return self.record.status.value

    @property
    def code(self) -> str:
        """Of its status's detail."""
        detail = self.record.recorded.status_detail
        return detail.code if detail else ""

    @cached_property
    def why(self) -> list[str]:
        """Why it is as it is, what becomes of it, what to do."""
        return list(reasons(self.json))

    @property
    def power(self) -> str:
        """Graph's power state; empty without a machine."""
        return self.json["powerState"] or ""

    @property
    def is_shown(self) -> bool:
        """Whether it has a screen to look at: what is powered off has none until it is powered on."""
        return not self.record.recorded.is_kept_off

    @property
    def desktop(self) -> str:
        """SHA-256 of its desktop's certificate, in hex; empty: it has none that a page can show."""
        way = self.record.recorded.access
        return way.certificate_thumbprint if isinstance(way, Ssh) else ""

    @property
    def grace_ends(self) -> str:
        """When its grace period is over, if it has one."""
        return self.json["gracePeriodEndDateTime"] or ""

    @property
    def changed(self) -> str:
        """When its status came to be."""
        return self.json["lastModifiedDateTime"] or ""

    @cached_property
    def searched(self) -> str:
        """What a search looks into."""
        pc = self.record
        words = (pc.user_principal_name, pc.user_id, pc.device_name, self.name, pc.policy, pc.recorded.host, self.code)
        return "\n".join(words).lower()


@dataclass(frozen=True)
class Snapshot:
    """All of it, as it was when it was read."""

    records: Sequence[StackRecord] = ()
    today: Mapping[str, Today] = field(default_factory=dict)
    """By policy."""
    read: datetime | None = None
    problem: str = ""
    """Why it could not be read again, in words; what is here is older."""

    @cached_property
    def rows(self) -> list[Row]:
        """By user's name."""
        cloud_pcs = [c for record in self.records for c in record.cloud_pcs if not c.is_gone]
        rows = [Row(c, self._outdated(c)) for c in cloud_pcs]
        return sorted(rows, key=lambda row: (row.user.lower(), row.plan_name))

    @cached_property
    def by_id(self) -> dict[str, Row]:
        """By the id in addresses: of two policies' records of one, that of the policy in which it has its machine."""
        return {row.id: row for row in sorted(self.rows, key=lambda row: row.record.recorded.has_machine)}

    @property
    def counts(self) -> Counter[str]:
        """How many have each status."""
        return Counter(row.status for row in self.rows)

    @property
    def policies(self) -> list[str]:
        """Those that have a file, or Cloud PCs."""
        return sorted({*self.today, *(record.policy for record in self.records)})

    def _outdated(self, cloud_pc: CloudPCRecord) -> list[str]:
        today = self.today.get(cloud_pc.policy)
        return differences.of(cloud_pc, today.settings) if today and today.settings else []


STATUSES = [status.value for status in Status]


class Fleet:
    """Reads it again whenever something has changed, in a thread of its own."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.number = 0
        """Goes up with each snapshot."""
        self._ends, self._asked = threading.Event(), threading.Condition()
        self._wanted, self._done = 1, 0
        self._seen: object = None
        self._read_at = self._today_at = float("-inf")
        self._files: object = None
        self._thread = threading.Thread(target=self._watch, name="fleet", daemon=True)

    def start(self) -> None:
        """Begin; the first snapshot is there after a second or two."""
        self._thread.start()

    def stop(self) -> None:
        """End, after what is being read."""
        self._ends.set()
        with self._asked:
            self._asked.notify_all()

    def fresh(self, seconds: float = 30.0) -> Snapshot:
        """One that is read from now on; the last one, if that takes too long."""
        with self._asked:
            self._wanted += 1
            wanted = self._wanted
            self._asked.notify_all()
            self._asked.wait_for(lambda: self._done >= wanted or self._ends.is_set(), seconds)
        return self.snapshot

    def first(self, seconds: float = 30.0) -> Snapshot:
        """The first one, if there is none yet."""
        with self._asked:
            self._asked.wait_for(lambda: self._done or self._ends.is_set(), seconds)
        return self.snapshot

    def _watch(self) -> None:
        while not self._ends.is_set():
            wanted = self._wanted
            began = time.monotonic()
            with contextlib.suppress(Exception):  # reported in the snapshot; the next look may succeed
                self._look(forced=wanted > self._done)
            took = time.monotonic() - began
            with self._asked:
                self._done = max(self._done, wanted)
                self._asked.notify_all()
                self._asked.wait_for(lambda: self._wanted > self._done or self._ends.is_set(), _LOOKS_EVERY + 2 * took)

    def _look(self, *, forced: bool) -> None:
        try:
            project = Project()
            now, seen, files = time.monotonic(), _versions(project), _files(project)
            is_elsewhere = None in dict(seen).values() and now - self._read_at > _ELSEWHERE_EVERY
            is_today_old = files != self._files or now - self._today_at > _TODAY_EVERY
            if not (forced or seen != self._seen or is_today_old or is_elsewhere or self.snapshot.problem):
                return
            records = fleet.read_all(project.engine)
            today = self.snapshot.today
            if is_today_old:
                today = {name: Today.of(project, name) for name in project.policy_ids()}
                self._files, self._today_at = files, now
            self._show(Snapshot(records, today, datetime.now(UTC)))
            self._seen, self._read_at = seen, now
        except Exception as error:
            if str(error) != self.snapshot.problem:
                self._show(Snapshot(self.snapshot.records, self.snapshot.today, self.snapshot.read, str(error)))
            raise

    def _show(self, new: Snapshot) -> None:
        """Have pages show it; counted last, as whoever sees the number go up asks for it at once."""
        _ = new.by_id  # before pages see it: none waits, and no two of them make rows of their own
        self.snapshot = new
        self.number += 1


def _versions(project: Project) -> list[tuple[str, object]]:
    return [(stack, project.engine.version_of(stack)) for stack in project.engine.stacks()]


def _files(project: Project) -> list[tuple[str, int]]:
    """Of the policies and what they name."""
    folder = project.stacks_folder
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file())
