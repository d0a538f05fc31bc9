"""What stands in the way of a run: a policy that is wrong, a directory that can't be read, another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cloudpc.cli import locks
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit
from cloudpc.iac.engine import EngineError
from cloudpc.model.directory import DirectoryError
from cloudpc.model.problems import InvalidConfigurationError, Problem


def check(project: Project, names: Sequence[str], *, clear_lock: bool) -> None:
    """See that nothing stands in the way of a run of all of these.

    Raises:
        InvalidConfigurationError: with all problems of all policies.
        DirectoryError: a directory can't be read.
        CommandError: a run is, or was, at work on one.
    """
    found = _of_each(project, names)
    _stop_for_problems(found)
    for why in found.values():
        raise why
    for name in names:
        locks.clear(project, name, clear_lock=clear_lock)


def without_hindered(
    project: Project, names: Sequence[str], *, clear_lock: bool, ask: bool = True
) -> tuple[list[str], list[str]]:
    """Policies that can be run, and why others can't, in words: what is wrong with one policy holds up no other.

    Raises:
        InvalidConfigurationError, CommandError: none can be run.
    """
    found: dict[str, Exception] = dict(_of_each(project, names))
    for name in names:
        if name not in found:
            try:
                locks.clear(project, name, clear_lock=clear_lock, ask=ask)
            except CommandError as error:
                if error.code is Exit.NOT_CONFIRMED:
                    raise
                found[name] = error
            except EngineError as error:
                found[name] = error
    if names and len(found) == len(names):
        if all(isinstance(why, InvalidConfigurationError) for why in found.values()):
            _stop_for_problems(found)
        raise CommandError("\n".join(_left_out(found)))
    return [name for name in names if name not in found], _left_out(found)


def _of_each(project: Project, names: Sequence[str]) -> dict[str, InvalidConfigurationError | DirectoryError]:
    """Policies that are wrong, or whose directory can't be read: who should have what is unknown for them."""
    found: dict[str, InvalidConfigurationError | DirectoryError] = {}
    for name in names:
        try:
            if problems := [*project.problems(name), *project.sealing_problems(name)]:
                found[name] = InvalidConfigurationError(problems)
        except DirectoryError as error:
            found[name] = error
    return found


def _stop_for_problems(found: Mapping[str, Exception]) -> None:
    wrong = [each for each in found.values() if isinstance(each, InvalidConfigurationError)]
    problems: list[Problem] = []
    for each in wrong:
        problems += [problem for problem in each.problems if problem not in problems]  # policies may share files
    if problems:
        raise InvalidConfigurationError(problems)


def _left_out(found: Mapping[str, Exception]) -> list[str]:
    """A line for each reason, which several policies may share."""
    names: dict[str, list[str]] = {}
    for name, why in found.items():
        wrong = why.problems if isinstance(why, InvalidConfigurationError) else ()
        words = "\n  ".join(["its configuration is wrong:", *map(str, wrong)]) if wrong else str(why)
        names.setdefault(words, []).append(name)
    return [f"left out: {', '.join(names[why])}: {why}" for why in names]
