"""`cloudpc up`: policies brought up to date, side by side."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloudpc.cli import deletion, large_runs, locks, preflight
from cloudpc.cli.cloud_pc_table import print_rows
from cloudpc.cli.context import Project
from cloudpc.cli.down import ForgetHost
from cloudpc.cli.output import CommandError, Exit, behind, colour_of_the_engine, confirm, err, out, styled
from cloudpc.directory.opening import SHARED
from cloudpc.iac import checkpoints, encryption_salt, fleet, parallel, sibling_facts
from cloudpc.iac.engine import EngineError
from cloudpc.iac.plugin_process import CANCELLED
from cloudpc.model.cloud_pc import Status
from cloudpc.model.masking import masked
from cloudpc.operations.consent import Consent
from cloudpc.operations.records import CloudPCRecord, StackRecord

AT_ONCE = 4
_CLEAR_PENDING = "--clear-pending-creates"
_COLOURS = ("cyan", "yellow", "green", "magenta", "blue")

AtOnce = Annotated[int, typer.Option("--at-once", min=1, help="How many policies run at the same time.")]
Policies = Annotated[list[str] | None, typer.Argument(help="Names of policies; default: all.")]


@dataclass(frozen=True)
class How:
    """How policies are run.

    Args:
        clear_lock: take away what dead runs left.
        at_once: how many policies at the same time.
        own_display: one policy alone has Pulumi's own display.
        consent: what somebody has said yes to.
    """

    clear_lock: bool = False
    at_once: int = AT_ONCE
    own_display: bool = True
    consent: Consent = field(default_factory=Consent)


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    records: Sequence[StackRecord]
    """Of the policies that are still there."""
    broken: Sequence[str]
    """Policies whose `pulumi up` did not end well."""
    newly_failed: Sequence[CloudPCRecord]
    """Those that failed in this run; others may have failed before."""
    removed: Sequence[str]
    """Policies that were marked as deleted, and are gone with their last Cloud PC."""
    left_out: Sequence[str] = ()
    """Policies that were not run, with why, in words."""
    troubles: Sequence[str] = ()
    """What went wrong before or after the runs of others."""

    def tell_problems(self) -> None:
        """End the command with what did not go well, if anything.

        Raises:
            CommandError, typer.Exit: with the exit code.
        """
        names = ", ".join(self.broken)
        what = f"`pulumi up` failed for {names}, for the reason above. Fix that, then run again"
        wrong = [what] if names else []
        if wrong := [*wrong, *self.troubles, *self.left_out]:
            raise CommandError("\n".join(wrong))
        if self.newly_failed:
            raise typer.Exit(Exit.FAILED_CLOUD_PC)


def up(
    policies: Policies = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show Pulumi's preview and ask before the run.")] = False,
    clear_lock: locks.ClearLock = False,
    at_once: AtOnce = AT_ONCE,
    accept_loss: Annotated[
        int | None,
        typer.Option(
            "--accept-loss", min=1, metavar="N", help="Accept that N Cloud PCs enter grace because of the directory."
        ),
    ] = None,
    forget_host: ForgetHost = None,
) -> None:
    """Bring policies up to date: `pulumi up`, side by side, a table and an exit code at the end.

    Exits with 3 if a Cloud PC has failed in this run; the others are not affected.
    Those that failed before stay so; `cloudpc list --check` is for them.
    """
    project = Project()
    names = _named(project, policies)
    if preview and not sys.stdin.isatty():
        raise CommandError("--preview asks before the run, and there is no terminal to ask on", Exit.NOT_CONFIRMED)
    if accept_loss is not None and len(names) > 1:
        message = "--accept-loss says yes to the number of one policy; name that one, cloudpc up POLICY --accept-loss N"
        raise CommandError(message, Exit.INVALID)
    runnable, left_out = preflight.without_hindered(project, names, clear_lock=clear_lock)
    for why in left_out:
        err.print(why)
    _check_forgotten(project, names, forget_host or [])
    consent = Consent(accept_loss=accept_loss, forget_hosts=tuple(forget_host or ()))
    if preview:
        _show_previews(project, runnable, consent)
        confirm(f"Go on with {', '.join(runnable)}?", yes=False)
    how = How(clear_lock, at_once, consent=consent)
    bring_up_and_tell(project, runnable, how, left_out)


def preview(policies: Policies = None, forget_host: ForgetHost = None) -> None:
    """Say what `up` would do, to whom and why: `pulumi preview`, one policy after another.

    No Cloud PC is touched. A policy that has never run gets an empty stack.
    """
    project = Project()
    names = _named(project, policies)
    runnable, left_out = preflight.without_hindered(project, names, clear_lock=False)
    _check_forgotten(project, names, forget_host or [])
    _show_previews(project, runnable, Consent(forget_hosts=tuple(forget_host or ())))
    if left_out:
        raise CommandError("\n".join(left_out))


def _named(project: Project, policies: Sequence[str] | None) -> list[str]:
    """These, or all. Raises CommandError: there are none."""
    if names := list(dict.fromkeys(policies)) if policies else project.policy_ids():
        return names
    raise CommandError(f"no policies in {project.stacks_folder}", Exit.INVALID)


def _show_previews(project: Project, names: Sequence[str], consent: Consent) -> None:
    """Raises CommandError if one shows that something is wrong."""
    troubles = _Troubles()
    _make_stacks(project, names, troubles)
    for name in names:
        if name in troubles.of or project.engine.run(["preview", "--stack", name], env=consent.environment()) != 0:
            raise CommandError(troubles.of.get(name) or f"the preview of {name} failed; nothing was done")


def _check_forgotten(project: Project, names: Sequence[str], hosts: Sequence[str]) -> None:
    """Otherwise a mistyped host's name would go unnoticed."""
    if not hosts:
        return
    known = {c.recorded.host for record in project.records() if record.policy in names for c in record.cloud_pcs}
    if unknown := [host for host in hosts if host not in known]:
        has = ", ".join(sorted(filter(None, known))) or "none"
        raise CommandError(f"no Cloud PC is on {', '.join(unknown)}; hosts of Cloud PCs: {has}", Exit.INVALID)


def bring_up_and_tell(project: Project, names: Sequence[str], how: How, left_out: Sequence[str] = ()) -> Result:
    """Run policies that `check` found nothing against, and end with a table.

    Args:
        project: where.
        names: the policies.
        how: see How.
        left_out: others that were to be run, with why they are not.

    Raises:
        CommandError, typer.Exit: something did not go well.
    """
    result = replace(bring_up(project, names, how), left_out=left_out)
    rows = [c.as_json() for record in result.records for c in record.cloud_pcs]
    if rows:
        out.print()
        print_rows(sorted(rows, key=lambda r: (r["policy"], r["userPrincipalName"], r["servicePlan"])))
    result.tell_problems()
    return result


def bring_up(project: Project, names: Sequence[str], how: How) -> Result:
    """Run policies that `check` found nothing against.

    Raises:
        EngineError: Pulumi does not work at all.
    """
    begin = datetime.now(UTC)
    troubles = _Troubles()
    _make_stacks(project, names, troubles)
    runnable = [name for name in names if name not in troubles.of]
    broken = _run(project, runnable, how, at_end := large_runs.written_at_end(project, runnable))
    records = _records(project, runnable, troubles)
    for record in records:
        if record.policy in at_end:
            large_runs.hand_over(project, record, begin)
    removed = []
    for record in records:
        with troubles.of_policy(record.policy):
            if record.policy not in broken:
                _clear_pending(project, record)
                if deletion.remove_if_over(project, record):
                    removed.append(record.policy)
    left = [record for record in records if record.policy not in removed]
    failed = [c for record in left for c in record.cloud_pcs if c.status == Status.FAILED]
    newly = [c for c in failed if (c.recorded.last_modified_date_time or begin) >= begin]
    return Result(left, broken, newly, removed, troubles=[f"{name}: {why}" for name, why in troubles.of.items()])


@dataclass(frozen=True)
class _Troubles:
    """What went wrong with one policy holds up no other."""

    of: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def of_policy(self, name: str) -> Iterator[None]:
        try:
            yield
        except EngineError as error:
            self.of[name] = str(error)


def _make_stacks(project: Project, names: Sequence[str], troubles: _Troubles) -> None:
    existing = project.engine.stacks()
    for name in names:
        if name not in existing:
            with troubles.of_policy(name):
                siblings = [file for other in existing if (file := project.file(other)).is_file()]
                encryption_salt.share(project.file(name), siblings)
                project.engine.read(["stack", "init", name])
                existing.append(name)


def _records(project: Project, names: Sequence[str], troubles: _Troubles) -> list[StackRecord]:
    def read(name: str) -> list[StackRecord]:
        found: list[StackRecord] = []
        with troubles.of_policy(name):
            found += fleet.read(project.engine, [name])
        return found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [record for found in pool.map(read, names) for record in found]


def _clear_pending(project: Project, record: StackRecord) -> None:
    """This run has adopted or removed what a dead run had begun; Pulumi would go on warning of it."""
    if record.interrupted:
        project.engine.read(["refresh", "--stack", record.policy, "--yes", "--skip-preview", _CLEAR_PENDING])


def _run(project: Project, names: Sequence[str], how: How, at_end: Container[str]) -> list[str]:
    """Returns those that did not end well; state of those `at_end` is written once, at their end."""
    with tempfile.TemporaryDirectory(prefix="cloudpc-") as folder:
        directory, cancelled = Path(folder) / "directory.json", Path(folder) / "cancelled"
        project.directories.write(directory)
        facts = Path(folder) / "siblings"
        facts.mkdir()
        told = {SHARED: str(directory), CANCELLED: str(cancelled), sibling_facts.FOLDER: str(facts)}
        env = how.consent.environment() | told

        def of(name: str) -> Mapping[str, str]:
            return env | ({checkpoints.VARIABLE: "true"} if name in at_end else {})

        broken = _run_all(project, names, how, of)
        if cancelled.exists():
            raise KeyboardInterrupt
        return broken


def _run_all(project: Project, names: Sequence[str], how: How, env: Callable[[str], Mapping[str, str]]) -> list[str]:
    runs = {name: ["up", "--stack", name, "--yes", "--skip-preview"] for name in names}
    if len(names) == 1 and how.own_display:
        return [name for name in names if project.engine.run(runs[name], env=env(name)) != 0]
    runs = {name: [*arguments, "--color", colour_of_the_engine()] for name, arguments in runs.items()}
    codes = parallel.run(project.engine, runs, how.at_once, _prefixing(names), env=env)
    return [name for name in names if codes[name] != 0]


def _prefixing(names: Sequence[str]) -> Callable[[str, str], None]:
    """Shows each line after the name of its policy."""
    width = max(map(len, names), default=0)
    styles = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}

    def tell(name: str, line: str) -> None:
        out.print(behind(styled(f"{name:<{width}} | ", styles[name]), masked(line)))

    return tell
