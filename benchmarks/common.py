"""What the benchmarks share: a workspace that goes away, timed runs of Pulumi, and the report."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cloudpc.images.store import cache_root
from tests.support.project import REPO, Project

UP = ("up", "--yes", "--skip-preview", "--stack", "demo")
STOPS_WITHIN = 60.0
"""Seconds an interrupted `pulumi` has for its own clean-up, before it is killed."""

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)

progress = Console(stderr=True, highlight=False)


class BenchmarkError(Exception):
    """A run did not do what it was to be measured at."""


def run(main: Callable[[], None]) -> None:
    """Run a benchmark as a command: what ends it early is one line."""
    try:
        main()
    except KeyboardInterrupt:
        progress.print("interrupted")
        sys.exit(130)
    except BenchmarkError as error:
        progress.print(str(error), markup=False)
        sys.exit(1)


# ---- the workspace


@dataclass(frozen=True)
class Workspace:
    """A folder with everything Pulumi writes, and throw-away projects in it."""

    root: Path

    @property
    def image(self) -> Path:
        """An empty disk, which is all that the fake hypervisor wants."""
        path = self.root / "tiny.qcow2"
        if not path.exists():
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True)
        return path

    def project(self, name: str) -> Project:
        """A project of its own, driven as our commands drive Pulumi: 32 operations at once.

        Python's bytecode is kept in the workspace, so that from the second run on it is there, as on any machine where
        Python may write it beside the modules, whatever this one is set to. The provider is this checkout's, whichever
        one the environment has installed.
        """
        project = Project(self.root / name, self.image)
        home = self.root / "pulumi-home"
        home.mkdir(exist_ok=True)
        (home / "logs").touch()  # no log of all values, as .cloudpc/env has it
        project.env |= {
            "PATH": f"{_engine()}:{os.environ['PATH']}",
            "PULUMI_HOME": str(home),
            "CLOUDPC_CACHE": str(cache_root()),  # with the images that this machine has built
            "PULUMI_PARALLEL": "32",
            "PYTHONPYCACHEPREFIX": str(self.root / "bytecode"),
            "PYTHONPATH": f"{project.env['PYTHONPATH']}:{REPO}:{REPO / 'provider'}",
        }
        project.env.pop("PYTHONDONTWRITEBYTECODE", None)
        return project


@contextmanager
def workspace() -> Iterator[Workspace]:
    """A workspace that is removed at the end, also after Ctrl-C or SIGTERM."""
    for number in _INTERRUPTS:
        signal.signal(number, _interrupt)
    root = Path(tempfile.mkdtemp(prefix="cloudpc-benchmark-"))
    root.chmod(0o711)  # the hypervisor's user must reach what is named in it
    try:
        yield Workspace(root)
    finally:
        with undisturbed():
            shutil.rmtree(root, ignore_errors=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def undisturbed() -> Iterator[None]:
    """For removing what was made: another Ctrl-C, by somebody impatient, must not leave half of it."""
    before = [signal.signal(number, _ask_patience) for number in _INTERRUPTS]
    try:
        yield
    finally:
        for number, handler in zip(_INTERRUPTS, before, strict=True):
            signal.signal(number, handler)


def _ask_patience(*_: object) -> None:
    say("removing what was made; this takes a moment")


def _engine() -> str:
    found = subprocess.run([REPO / "tools/engine/find"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise BenchmarkError("there is no `pulumi`: run `make setup`")
    return found.stdout.strip()


# ---- runs of Pulumi


@dataclass(frozen=True)
class Timed:
    """A run that went well."""

    seconds: float
    cpu_seconds: float
    """Of `pulumi` and all it waited for: what other load on the machine changes less than the seconds."""
    output: str


@contextmanager
def running(project: Project, arguments: Sequence[str], **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """`pulumi` in a session of its own, its output in a pipe; stopped in its orderly way if the block is left early."""
    process = subprocess.Popen(
        ["pulumi", *arguments, "--non-interactive"], cwd=project.root, env=project.env | env,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            _stop(process)
        if process.stdout:
            process.stdout.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=STOPS_WITHIN)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def pulumi(project: Project, *arguments: str, **env: str) -> Timed:
    """Run `pulumi`, from its start to its exit.

    Raises:
        BenchmarkError: it failed.
    """
    begin = time.perf_counter()
    with running(project, arguments, **env) as process:
        assert process.stdout
        output = process.stdout.read().decode()
        seconds, cpu_seconds = _reap(process, begin)
    if process.returncode != 0:
        raise BenchmarkError(f"`pulumi {' '.join(arguments)}` failed:\n{output[-3000:]}")
    return Timed(seconds, cpu_seconds, output)


def _reap(process: subprocess.Popen[bytes], begin: float) -> tuple[float, float]:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - begin, usage.ru_utime + usage.ru_stime


def unchanged(ran: Timed, resources: int) -> Timed:
    """The run, if it changed none of so many resources. Raises BenchmarkError otherwise."""
    if f"{resources} unchanged" not in ran.output or "created" in ran.output or "updated" in ran.output:
        raise BenchmarkError(f"that was no run without changes of {resources} resources:\n{ran.output[-3000:]}")
    return ran


def fleet(project: Project, count: int) -> int:
    """Make a stack of so many Cloud PCs on the fake hypervisor, with one write of state at the end.

    Returns:
        The number of resources Pulumi counts in it.
    """
    project.directory(count)
    project.policy()
    pulumi(project, "stack", "init", "demo")
    pulumi(project, *UP, PULUMI_SKIP_CHECKPOINTS="true")
    made = project.statuses()
    if len(made) != count or set(made.values()) != {"provisioned"}:
        raise BenchmarkError(f"not all of {count} Cloud PCs were provisioned: {sorted(set(made.values()))}")
    return count + 2  # the stack and the policy


# ---- the report


@dataclass
class Report:
    """Rows of one benchmark, with where and when they come from."""

    title: str
    columns: Sequence[str]
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=lambda: about())

    def show(self, *, as_json: bool) -> None:
        """Print it: a table for people, or everything as JSON."""
        self.about["load at the end"] = load()
        if as_json:
            content = {"title": self.title, "about": self.about, "rows": self.rows, "notes": self.notes}
            json.dump(content, sys.stdout, indent=1)
            print()
            return
        console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
        table = Table(title=self.title, title_justify="left")
        for index, column in enumerate(self.columns):
            table.add_column(column, justify="right" if index else "left")
        for row in self.rows:
            table.add_row(*(_cell(row.get(column)) for column in self.columns))
        console.print(table)
        for note in [*self.notes, "; ".join(f"{name} {value}" for name, value in self.about.items())]:
            console.print(note, markup=False)


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:,.2f}"
        case int():
            return f"{value:,}"
    return str(value)


def about() -> dict[str, Any]:
    """When, where and with what."""
    version = subprocess.run([f"{_engine()}/pulumi", "version"], capture_output=True, text=True, check=True)
    commit = subprocess.run(
        ["git", "-C", REPO, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes").replace("+00:00", "Z"),
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{os.cpu_count()} cores, {_memory_gib():.0f} GiB, {platform.machine()}",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "Pulumi": version.stdout.strip(),
        "load at the start": load(),
    }


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3


def load() -> str:
    """The machine's load averages of 1 and 5 minutes: beside each figure, because it decides what it is worth."""
    one, five, _ = os.getloadavg()
    return f"{one:.1f}/{five:.1f}"


def median(values: Sequence[float]) -> float:
    """The median, rounded to milliseconds."""
    return round(statistics.median(values), 3)


def spread(values: Sequence[float]) -> str:
    """Least and most."""
    return f"{min(values):.2f}-{max(values):.2f}"


def say(text: str) -> None:
    """What is being done now, on stderr."""
    progress.print(f"{datetime.now(UTC):%H:%M:%S}  load {load()}  {text}", markup=False)


def arguments(description: str | None, *, rounds: int, counts: Sequence[int] = ()) -> argparse.ArgumentParser:
    """The options all benchmarks have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how often each is measured ({rounds})")
    if counts:
        parser.add_argument("--counts", type=int, nargs="+", default=list(counts), help="how many Cloud PCs")
    return parser


def alternated(number: int, names: Sequence[str]) -> list[str]:
    """The order of a round: forwards, then backwards, so that nobody always follows the same one."""
    return [*names] if number % 2 == 0 else [*reversed(names)]
