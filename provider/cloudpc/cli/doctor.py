"""`cloudpc doctor`: is everything there, does it work, and is anything left over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any

import typer

from cloudpc.cli import doctor_hosts, doctor_images, doctor_organisation, doctor_stacks
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit, Json, before_hints, confirm, counted, out, print_json, styled, table
from cloudpc.configuration import parsing
from cloudpc.configuration.installation import recorded_id
from cloudpc.iac.engine import OWN_FOLDER, EngineError
from cloudpc.model.check import Check
from cloudpc.model.directory import DirectoryError
from cloudpc.model.problems import InvalidConfigurationError
from cloudpc.operations.inventory import Inventory
from cloudpc.operations.records import StackRecord

_RESULTS = {"passed": ("ok", "green"), "warning": ("warning", "yellow"), "failed": ("failed", "red")}
"""What a check came to in doctor's words, and their colour."""


def doctor(
    remove: Annotated[
        bool, typer.Option("--remove-leftovers", help="Remove unfinished machines, and what removed ones left behind.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before removing.")] = False,
    as_json: Json = False,
) -> None:
    """Check engine, state, policies, hosts and what is left over. Exits with 1 if something doesn't work."""
    if remove:
        confirm("Remove what is unfinished? Make sure that no run is working on it anywhere.", yes=yes)
    findings = list(_findings(Project(), remove=remove))
    if as_json:
        print_json([_as_json(f) for f in findings])
    else:
        shown = table("CHECK", "RESULT", "DETAIL")
        for f in findings:
            hint = f"{before_hints()}{f.hint}" if f.hint else ""
            shown.add_row(f.what, styled(*_RESULTS[f.status]), f.detail + hint)
        out.print(shown)
    if any(f.status == "failed" for f in findings):
        raise typer.Exit(Exit.ERROR)


def _as_json(check: Check) -> dict[str, Any]:
    return {"what": check.what, "state": _RESULTS[check.status][0], "detail": check.detail, "hint": check.hint}


def _findings(project: Project, *, remove: bool) -> Iterator[Check]:
    """In the order in which one thing is needed to look at the next."""
    seen = doctor_organisation.SeenOnHosts()
    checked, is_known = _backend(project)
    yield from checked
    if not is_known:
        return
    yield _engine(project)
    read, records = _state(project)
    yield read
    if records is None:
        seen.doubts.append("state can't be read")
    recorded = records or []
    yield from doctor_stacks.findings(project, recorded, seen)
    surroundings: dict[str, tuple[parsing.Surroundings, bool]] = {}
    for name in project.policy_ids():
        yield from _policy(project, name, surroundings)
        if name not in surroundings:
            seen.doubts.append(f"the hosts of the policy {name} are not known")
    ours = doctor_hosts.Ours(
        installations=_installations(project, surroundings, records) if records is not None else [],
        inventory=Inventory.of(recorded),
        busy={record.policy for record in recorded if project.locks(record.policy)},
        remove=remove,
    )
    yield from doctor_hosts.findings({policy: each for policy, (each, _) in surroundings.items()}, ours, seen)
    yield from doctor_images.findings(project, surroundings)
    owners = doctor_organisation.owners(recorded) | seen.owners
    everything = doctor_organisation.KnownOwners(ours.installations, owners, seen, remove=remove)
    yield from doctor_organisation.findings(project, surroundings, recorded, everything)


def _backend(project: Project) -> tuple[list[Check], bool]:
    """Whether one is set, and whether it is known at all."""
    try:
        backend = project.engine.backend
    except InvalidConfigurationError as error:
        return [Check("backend", "failed", str(problem)) for problem in error.problems], False
    except EngineError as error:
        return [Check("backend", "failed", str(error))], False
    if backend.problem:
        return [Check("backend", "failed", backend.problem)], True
    if backend.url:
        return [Check("backend", "passed", str(backend))], True
    hint = "set PULUMI_BACKEND_URL; or `cloudpc setup`, for one of this project's own"
    return [Check("backend", "failed", str(backend), hint)], True


def _engine(project: Project) -> Check:
    try:
        return Check("engine", "passed", f"pulumi {project.engine.read(['version']).strip()}")
    except EngineError as error:
        return Check("engine", "failed", str(error), "run `cloudpc setup`, then `. .cloudpc/env`")


def _state(project: Project) -> tuple[Check, list[StackRecord] | None]:
    """What state has; None if it can't be read."""
    try:
        records = project.records()
    except (EngineError, CommandError) as error:
        hint = "until it can be read, leftovers can't be told"
        return Check("state", "failed", str(error), hint), None
    stacks = f"{len(records)} stack{'' if len(records) == 1 else 's'}"
    count = sum(len(record.cloud_pcs) for record in records)
    return Check("state", "passed", f"{stacks}, {counted(count)}"), list(records)


def _installations(project: Project, policies: Iterable[str], records: Sequence[StackRecord]) -> list[str]:
    """Whose things are ours: by the policies' files, by state, by the project's own file."""
    ids = {project.installation(name, None) for name in policies} | {record.installation for record in records}
    return sorted(filter(None, ids | {recorded_id(project.root / OWN_FOLDER)}))


def _policy(project: Project, name: str, surroundings: dict[str, tuple[parsing.Surroundings, bool]]) -> Iterator[Check]:
    """Whether its file can be run; adds what it is surrounded by, and whether its directory is a tenant."""
    try:
        values = project.values(name)
        surroundings[name] = (parsing.parse_surroundings(values), parsing.uses_tenant(values))
        project.inputs(name)
        wrong = project.sealing_problems(name)
        yield from (Check(f"policy {name}", "failed", str(problem)) for problem in wrong)
        marked = "; marked as deleted, removed with its last Cloud PC" if project.is_marked_as_deleted(name) else ""
        if not wrong:
            yield Check(f"policy {name}", "passed", f"valid{marked}")
    except InvalidConfigurationError as error:
        for problem in error.problems:
            yield Check(f"policy {name}", "failed", str(problem))
    except DirectoryError as error:
        yield Check(f"policy {name}", "failed", str(error))
