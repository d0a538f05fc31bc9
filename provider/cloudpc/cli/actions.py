"""A command for each remote action (`cloudpc.rules.actions`): `cloudpc reprovision`, `cloudpc retry` and so on."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from cloudpc.cli import differences, generations, locks
from cloudpc.cli.choice import Choice
from cloudpc.cli.context import Project
from cloudpc.cli.journal import WRITTEN, Journal, own_name
from cloudpc.cli.output import CommandError, Exit, Yes, coloured, confirm, counted, err, table
from cloudpc.cli.up import How, bring_up_and_tell
from cloudpc.directory.catalogue import short_name
from cloudpc.iac.engine import OWN_FOLDER
from cloudpc.model.cloud_pc import PolicySettings, RecordedCloudPC
from cloudpc.model.problems import from_validation
from cloudpc.operations.records import CloudPCRecord
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.action import Action, Filter, Question
from cloudpc.rules.asked import Asked

_NAMED = typer.Argument(help="userPrincipalNames, their parts before the @, or users' ids.")
Users = Annotated[list[str] | None, _NAMED]
User = Annotated[list[str], _NAMED]
Policy = Annotated[str | None, typer.Option("--policy", help="Only those of this policy.")]
Plan = Annotated[str | None, typer.Option("--service-plan", help="Only those of this service plan, by id or name.")]
WriteOnly = Annotated[
    bool, typer.Option("--write-only", help="Only write it into the policy's file; the next run does it.")
]


def mount(app: typer.Typer) -> None:
    """Give the command line a command for each action that there is."""
    for action in ACTIONS:
        app.command(action.command, help=action.help)(_command(action))


def _command(action: Action[Any]) -> Callable[..., None]:
    def command(
        users: list[str] | None,
        policy: str | None,
        service_plan: str | None,
        write_only: bool,
        clear_lock: bool,
        yes: bool = False,
        **options: Any,
    ) -> None:
        asked = _asked(action, options)
        project = Project()
        given = [each for each in action.filters if options[each.name]]
        if not (users or policy or given):
            raise CommandError(f"which ones? Name users, or give {_any_of(action)}", Exit.INVALID)
        choice, today = Choice.of(project, users, policy, service_plan), _Today(project)
        for each in given:
            _keep(choice, each, today, asked)
        choice.check(project, clear_lock=clear_lock)
        chosen = choice.without(lambda cloud_pc: action.refusal(_Candidate(cloud_pc, today, asked)))
        if not chosen:
            return
        if action.question:
            _ask(action.question, asked, project, chosen, yes=yes)
        _write_and_run(project, action, asked, chosen, write_only=write_only)

    command.__signature__ = inspect.Signature(list(_parameters(action)))  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


def _parameters(action: Action[Any]) -> Iterator[inspect.Parameter]:
    """The parameters, as typer reads them from a function."""

    def parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    if action.must_name_users:
        yield parameter("users", User, inspect.Parameter.empty)
    else:
        yield parameter("users", Users, None)
    for name, taken in action.asked.options().items():
        default = inspect.Parameter.empty if taken.is_required() else taken.default
        yield parameter(name, Annotated[taken.annotation, typer.Option(_option(name), help=taken.description)], default)
    yield parameter("policy", Policy, None)
    for each in action.filters:
        yield parameter(each.name, Annotated[bool, typer.Option(f"--{each.name}", help=each.help)], False)
    yield parameter("service_plan", Plan, None)
    if action.question:
        yield parameter("yes", Yes, False)
    yield parameter("write_only", WriteOnly, False)
    yield parameter("clear_lock", locks.ClearLock, False)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _asked(action: Action[Any], options: Mapping[str, Any]) -> Asked:
    """The arguments that were given. Raises CommandError if the action does not take one."""
    fields = action.asked.options()
    given = {taken.alias or name: options[name] for name, taken in fields.items() if options[name] is not None}
    for name in fields:
        if isinstance(text := options[name], str) and generations.is_written_otherwise(text):
            message = (
                f"{_option(name)}: the engine would write {text} as {int(text)}; write it into the file, in quotes"
            )
            raise CommandError(message, Exit.INVALID)
    try:
        return action.asked.model_validate({"generation": 1, **given}, strict=False)
    except ValidationError as error:
        names = {taken.alias or name: _option(name) for name, taken in fields.items()}
        problems = from_validation("", "", action.asked, error)
        told = "; ".join(f"{names.get(each.field, action.command)}: {each.message}" for each in problems)
        raise CommandError(told, Exit.INVALID) from None


def _any_of(action: Action[Any]) -> str:
    *others, last = ["--policy", *(f"--{each.name}" for each in action.filters)]
    return f"{', '.join(others)} or {last}" if others else last


@dataclass
class _Today:
    """What policies say now, each read once, and only if an action asks for it."""

    project: Project
    _settings: dict[str, PolicySettings | None] = field(default_factory=dict)
    _entitled: dict[str, set[str]] = field(default_factory=dict)

    def settings(self, policy: str) -> PolicySettings | None:
        if policy not in self._settings:
            self._settings[policy] = differences.settings_of_today(self.project, policy)
        return self._settings[policy]

    def entitled(self, policy: str) -> set[str]:
        """Keys of all that is owed, as far as the policy alone says it."""
        if policy not in self._entitled:
            self._entitled[policy] = self.project.entitled(policy)
        return self._entitled[policy]


@dataclass(frozen=True)
class _Candidate:
    cloud_pc: CloudPCRecord
    today: _Today
    asked: Asked

    @property
    def recorded(self) -> RecordedCloudPC:
        return self.cloud_pc.recorded

    @property
    def settings_of_today(self) -> PolicySettings | None:
        return self.today.settings(self.cloud_pc.policy)

    @property
    def is_entitled(self) -> bool:
        return self.cloud_pc.key in self.today.entitled(self.cloud_pc.policy)

    @property
    def is_outdated(self) -> bool:
        if (settings := self.settings_of_today) is None:
            raise CommandError("which ones are outdated is not known; nothing was done", Exit.INVALID)
        return bool(differences.of(self.cloud_pc, settings))


def _keep(choice: Choice, wanted: Filter, today: _Today, asked: Asked) -> None:
    choice.keep(lambda cloud_pc: wanted.keeps(_Candidate(cloud_pc, today, asked)))


def _ask(question: Question, asked: Asked, project: Project, chosen: Sequence[CloudPCRecord], *, yes: bool) -> None:
    words = {**asked.words, "cloud_pcs": counted(len(chosen)), "them": "it" if len(chosen) == 1 else "them"}
    _show(question.title.format(**words), project, chosen)
    confirm(question.question.format(**words), yes=yes)


def _show(title: str, project: Project, cloud_pcs: Sequence[CloudPCRecord]) -> None:
    differing = differences.of_all(project, cloud_pcs).found
    err.print(title)
    shown = table("USER", "SERVICE PLAN", "POLICY", "DEVICE", "STATUS", "CURRENT SETTINGS / WHY")
    for c in cloud_pcs:
        cells = (c.user_principal_name, short_name(c.service_plan), c.policy, c.device_name)
        detail = c.recorded.status_detail
        told = [*differing.get((c.policy, c.key), []), *([detail.message] if detail and c.recorded.is_lost else [])]
        changes = "; ".join(told) or "-"
        shown.add_row(*cells, coloured(c.status), changes)
    err.print(shown)


def _write_and_run(
    project: Project, action: Action[Any], asked: Asked, chosen: Sequence[CloudPCRecord], *, write_only: bool
) -> None:
    policies = sorted({c.policy for c in chosen})
    wanted = {(c.policy, c.key): generations.following(project, action, c, asked) for c in chosen}
    for policy in policies:
        theirs = {key: value for (of, key), value in wanted.items() if of == policy}
        generations.write(project, policy, action, theirs)
    if WRITTEN not in os.environ and (project.root / OWN_FOLDER).is_dir():
        Journal(project).write(own_name(), action.command, *chosen)
    files = ", ".join(project.shown(policy) for policy in policies)
    err.print(f"Written to {files}: cloudpc:actions.{action.name} of {counted(len(chosen))}.")
    if write_only:
        err.print(f"The next run does it: cloudpc up {' '.join(policies)}")
    else:
        result = bring_up_and_tell(project, policies, How())
        everyone = [c for record in result.records for c in record.cloud_pcs if (c.policy, c.key) in wanted]
        if left := [c for c in everyone if not action.is_done(c.recorded, wanted[c.policy, c.key])]:
            names = ", ".join(f"{c.user_principal_name} ({c.service_plan})" for c in left)
            raise CommandError(f"not done for {names}, for the reason above; the next run tries again")
