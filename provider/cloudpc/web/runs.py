"""Commands that pages have begun: `cloudpc …` in a process of its own each, so that a page does what a terminal does.

One at a time acts on a policy, as state has one lock for each: the next one waits, and says for what. What each said is
kept in files, so that a server which starts again can tell of those before it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cloudpc.cli.context import Project
from cloudpc.cli.journal import WRITTEN
from cloudpc.cli.output import Exit
from cloudpc.files import process_table
from cloudpc.model.errors import CloudPCError
from cloudpc.model.masking import masked
from cloudpc.model.text import command_line, in_utc, plain, told
from cloudpc.web import turns
from cloudpc.web.person import Person

log = logging.getLogger(__name__)

KEPT = 200
"""Runs that are remembered."""
_WAITS_EVERY = 1.0
_SAID = {
    Exit.OK: "done",
    Exit.INVALID: "refused: nothing was touched",
    Exit.FAILED_CLOUD_PC: "done, but a Cloud PC has failed",
    Exit.NOT_CONFIRMED: "refused: it was not confirmed",
    130: "stopped",
}


_KILLED = 137
"""By SIGKILL or another signal, as shells tell it."""
_FOR_THE_REASON = "the reason is below"


class TwiceError(CloudPCError):
    """The same is being done to the same Cloud PC already; `run` says by whom."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"{run.by} has asked for the same at {run.began[11:16]} UTC, and it has not ended yet")
        self.run = run


@dataclass
class Run:
    """One command, from when it was asked for."""

    words: Sequence[str]
    """What follows `cloudpc`."""
    by: str
    """The name of whoever has asked for it."""
    policies: Sequence[str]
    """Those it acts on."""
    cloud_pc: str = ""
    """The id of the one that it acts on, in addresses of pages; empty: on all."""
    user_id: str = ""
    """Whose that is: it is theirs to look at, too."""
    user: str = ""
    """That user's name."""
    by_id: str = ""
    """The directory's id of whoever has asked for it, if they are a user: names may become somebody else's."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    began: str = field(default_factory=lambda: _now())
    ended: str = ""
    code: int | None = None
    waits_for: str = ""
    """What it waits for before it begins, in words."""
    server: str = ""
    """The process that has begun it, as `process_table` names it."""

    @property
    def shown(self) -> str:
        """As one would type it."""
        return command_line("cloudpc", *self.words)

    @property
    def said(self) -> str:
        """How it is, in words."""
        if self.ended and self.code == _KILLED:
            return "killed; the next run finishes what it began"
        if self.ended and self.code is not None:
            return _SAID.get(self.code, f"did not work; {_FOR_THE_REASON}")
        if self.ended:
            return "not known: the server ended before it did; the Cloud PC's page shows what is so now"
        return f"waits: {self.waits_for}" if self.waits_for else "running"

    def said_to(self, person: Person) -> str:
        """The same, to a user without what may be another's: whom it waits for, and why it did not work."""
        if person.is_admin:
            return self.said
        if self.waits_for and not self.ended:
            return "waits: another run is at work"
        return self.said.replace(_FOR_THE_REASON, "an admin sees here why")

    def shown_to(self, person: Person, lines: Sequence[str]) -> list[str]:
        """Of what it has said, what somebody may read: a run tells of all Cloud PCs of a policy, a user sees theirs."""
        if person.is_admin:
            return list(lines)
        theirs = re.compile(
            rf"(?<!\S)\(?(?:{re.escape(self.user_id)}/\S+|{re.escape(self.user)})(?=[\s:)]|$)", re.IGNORECASE
        )
        return [line for line in lines if theirs.search(line)]

    def may_be_stopped_by(self, person: Person) -> bool:
        """Whether somebody may end it: an admin, or the user who has asked for it."""
        return person.is_admin or (bool(self.by_id) and self.by_id.lower() == (person.user_id or "").lower())

    def may_be_stopped_now_by(self, person: Person) -> bool:
        """The same, and now: a user's run that is at work acts on what others have, too."""
        return self.may_be_stopped_by(person) and not self.is_over and bool(person.is_admin or self.waits_for)

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return bool(self.ended)


@dataclass(frozen=True)
class Held:
    """A policy's lock."""

    policy: str
    by: str
    """Who took it, and on which machine."""
    since: str
    dead: bool
    """Whether who took it is surely gone."""


class Runs:
    """All of this project, by this account.

    Args:
        project: where.
        folder: where they are kept, which is there.
        on_end: gets each that has ended, before pages do.
    """

    def __init__(self, project: Project, folder: Path, on_end: Callable[[Run], None] = lambda _: None) -> None:
        self._project, self._on_end = project, on_end
        self._folder, self._among_servers = folder / "runs", folder / "turns"
        for each in (self._folder, self._among_servers):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._runs: dict[str, Run] = {}
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._stopped: set[str] = set()
        self._threads: dict[str, threading.Thread] = {}
        self._is_kept = True
        self._lock, self._turns = threading.Lock(), threading.Condition()
        self._at_work: dict[str, Run] = {}
        self.number = 0
        """Goes up with each that begins or ends."""
        self._load()

    def at_work(self) -> dict[str, Run]:
        """Those on one Cloud PC each, by its id in addresses."""
        return {run.cloud_pc: run for run in self._each() if run.cloud_pc and not run.is_over}

    def at_work_on(self, policy: str) -> Run | None:
        """The one whose turn it is."""
        return self._at_work.get(policy)

    def all(self) -> list[Run]:
        """The last one first."""
        return sorted(self._each(), key=lambda run: run.began, reverse=True)

    def _each(self) -> list[Run]:
        with self._lock:  # pages of other threads begin and end some meanwhile
            return list(self._runs.values())

    def get(self, id_: str) -> Run | None:
        """One by its id."""
        return self._runs.get(id_)

    def start(self, run: Run, why_not: Callable[[], str] = str) -> Run:
        """Begin it, or have it wait for its turn.

        Args:
            run: the command.
            why_not: asked when its turn has come: why it is not done after all, in words; empty: it is.

        Raises:
            TwiceError: the same is at work, or waits.
        """
        with self._lock:
            for other in self._runs.values():
                if not other.is_over and (other.cloud_pc, other.words) == (run.cloud_pc, run.words):
                    raise TwiceError(other)
            run.waits_for, run.server = "its turn", process_table.name_of(os.getpid())
            self._runs[run.id] = run
            self.number += 1
        self._save(run)
        thread = threading.Thread(target=self._whole, args=(run, why_not), name=f"run {run.id}")
        with self._lock:  # one that is there has begun, and can be waited for
            self._threads[run.id] = thread
            thread.start()
        return run

    def stop_for(self, person: Person, run: Run) -> bool:
        """Have it end in order, if this person may have that now; whether they may."""
        with self._turns:  # it does not begin in between
            if not run.may_be_stopped_now_by(person):
                return False
            self._stopped.add(run.id)
        self.stop(run)
        return True

    def stop(self, run: Run) -> None:
        """Have it end in order, as Ctrl-C does on a terminal."""
        self._stopped.add(run.id)
        if process := self._processes.get(run.id):
            process.send_signal(signal.SIGTERM)  # it hands it on to the engine itself
        with self._turns:
            self._turns.notify_all()

    def stop_all(self) -> None:
        """The same for all, and wait for their ends."""
        for run in self._each():
            if not run.is_over:
                self.stop(run)
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join()

    def lines(self, run: Run, begin: int = 0) -> list[str]:
        """What it has said, from this line on."""
        with contextlib.suppress(OSError):
            return self._log(run).read_text("utf-8", errors="replace").splitlines()[begin:]
        return []

    # ---- one run

    def _whole(self, run: Run, why_not: Callable[[], str]) -> None:
        code = 130
        try:
            with self._turn(run) as may_begin:
                if may_begin and (why := why_not()):
                    self._say(run, f"{run.user}: {why}")
                    code = Exit.INVALID
                elif may_begin:
                    code = self._process(run)
        except Exception as error:  # noqa: BLE001 - whatever it is, its page says it
            self._say(run, f"cloudpc: {masked(str(error))}")
            code = 1
        finally:
            self._end(run, code)

    def _end(self, run: Run, code: int) -> None:
        run.code, run.waits_for = code, ""
        try:
            self._on_end(run)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is over
            log.warning("`%s` has ended, and: %s", run.shown, told(str(error)))
        finally:
            run.ended = _now()
            self.number += 1
        self._save(run)
        self._forget(run)

    def _forget(self, run: Run) -> None:
        """What nobody needs of one that has ended; and the oldest ones, with all that they have said."""
        self._stopped.discard(run.id)
        over = [each for each in self.all() if each.is_over]
        with self._lock:
            self._threads.pop(run.id, None)
            for old in over[KEPT:]:
                self._runs.pop(old.id, None)
        self._remove(over[KEPT:])

    @contextlib.contextmanager
    def _turn(self, run: Run) -> Iterator[bool]:
        """Its turn on its policies; false if it was stopped before."""
        turn: contextlib.ExitStack | None = None
        with self._turns:
            while run.id not in self._stopped and (turn := self._its_turn(run)) is None:
                self._turns.wait(_WAITS_EVERY)
            may_begin = turn is not None
            if may_begin:  # else another's may be at work
                self._at_work.update(dict.fromkeys(run.policies, run))
        try:
            yield may_begin
        finally:
            if turn:
                turn.close()
            with self._turns:
                self._at_work = {policy: other for policy, other in self._at_work.items() if other is not run}
                self._turns.notify_all()

    def held(self, policies: Sequence[str]) -> list[Held]:
        """Who is at work on these, or was when they died, as the backend shows it."""
        with contextlib.suppress(CloudPCError):
            locks = [(policy, lock) for policy in policies for lock in self._project.locks(policy)]
            return [
                Held(policy, f"{lock.username}@{lock.hostname}", lock.timestamp, lock.dead) for policy, lock in locks
            ]
        return []

    def _its_turn(self, run: Run) -> contextlib.ExitStack | None:
        """None, where it has to wait."""
        run.waits_for = self._before(run)
        turn = None if run.waits_for else turns.taken(self._among_servers, run.policies)
        if turn is None and not run.waits_for:
            run.waits_for = "a run that another server's page has begun is at work on the same policy"
        return turn

    def _before(self, run: Run) -> str:
        """What it has to wait for: nothing, once nobody is at work on its policies."""
        for policy in run.policies:
            if other := self._at_work.get(policy):
                return f"{other.by}'s `{other.shown}` is at work on {policy}"
            with contextlib.suppress(CloudPCError):
                if held := [lock for lock in self._project.locks(policy) if not lock.dead]:
                    return f"another run is at work on {policy}, of {held[0].username}@{held[0].hostname}"
        return ""

    def _process(self, run: Run) -> int:
        own = {"CLOUDPC_PROJECT": str(self._project.root), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", WRITTEN: run.by}
        process = subprocess.Popen(
            [sys.executable, "-m", "cloudpc.cli.main", *run.words],
            cwd=self._project.root, env=os.environ | own, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        self._processes[run.id] = process
        if run.id in self._stopped:
            process.send_signal(signal.SIGTERM)
        assert process.stdout is not None  # noqa: S101 - a pipe
        try:
            with process.stdout as said:
                for line in said:
                    self._say(run, line.rstrip("\n"))
        finally:  # the next one's turn is after it, whatever happens here
            code = process.wait()
            del self._processes[run.id]
        if code < 0:
            self._say(run, f"cloudpc: killed by {signal.Signals(-code).name}; the next run finishes what it began")
        return code if code >= 0 else _KILLED

    # ---- its files

    def _say(self, run: Run, line: str) -> None:
        with self._kept(run), self._log(run).open("a", encoding="utf-8", errors="backslashreplace") as said:
            said.write(masked(plain(line)).replace("\n", " ") + "\n")

    @contextlib.contextmanager
    def _kept(self, run: Run) -> Iterator[None]:
        """Write a file of a run. A full disk stops no run: it is reported on the terminal, once."""
        try:
            yield
        except OSError as error:
            if self._is_kept:
                log.warning("What `%s` says can't be kept in %s: %s", run.shown, self._folder, error.strerror or error)
            self._is_kept = False
        else:
            self._is_kept = True

    def _log(self, run: Run) -> Path:
        return self._folder / f"{run.id}.log"

    def _save(self, run: Run) -> None:
        file = self._folder / f"{run.id}.json"
        new = file.with_suffix(".new")
        with self._kept(run):
            new.write_text(json.dumps(asdict(run)), "utf-8")
            new.replace(file)

    def _remove(self, runs: Sequence[Run]) -> None:
        for run in runs:
            for ending in ("json", "log"):
                with contextlib.suppress(OSError):
                    (self._folder / f"{run.id}.{ending}").unlink(missing_ok=True)

    def _load(self) -> None:
        found: list[Run] = []
        for file in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, TypeError):
                values: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
                run = Run(**values)
                if run.is_over or not process_table.is_there(
                    run.server
                ):  # else another server's, which is at work on it
                    found.append(run)
        found.sort(key=lambda run: run.began, reverse=True)
        self._remove(found[KEPT:])
        for run in found[:KEPT]:
            if not run.is_over:  # its server has ended without a word
                run.ended = _now()
                self._save(run)
            self._runs[run.id] = run


def _now() -> str:
    return in_utc(datetime.now(UTC))
