"""The directories that configurations name: each is read once, however many policies use it, also over processes.

`cloudpc up` reads them, and hands what it has read to the runs of its policies in a file; a run asks only for what is
not in it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from cloudpc.directory.configuration import DirectoryConfig, LocalDirectoryConfig
from cloudpc.directory.interface import Directory, DirectoryError, Snapshot
from cloudpc.directory.local import LocalDirectory
from cloudpc.graph.configuration import GraphConfig

SHARED = "CLOUDPC_DIRECTORY_SNAPSHOT"
"""Names the file that `cloudpc up` hands to the runs of its policies."""


@dataclass(frozen=True)
class Known:
    """Ids that state knows, and that a run must hear of whatever the policy's file says now."""

    groups: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Answer:
    """What was asked of a directory, and what it said."""

    snapshot: Snapshot
    groups: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()


_Value = TypeVar("_Value")
_Answers = TypeAdapter(dict[str, _Answer])


@dataclass
class Directories:
    """The directories of a project.

    Args:
        folder: the folder of the stacks' files, which paths are relative to.
        expected: references to groups that others will ask for: asked for with the first.
    """

    folder: Path
    expected: frozenset[str] = frozenset()
    _answers: dict[str, _Answer] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    @classmethod
    def shared(cls, folder: Path) -> Directories:
        """With what `cloudpc up` has read, if it runs us.

        Raises:
            DirectoryError: its file can't be read.
        """
        made, file = cls(folder), os.environ.get(SHARED)
        if file:
            try:
                made._answers = _Answers.validate_json(Path(file).read_bytes())
            except (OSError, ValidationError) as error:
                raise DirectoryError(f"what was read of the directory is not in {file} any more: {error}") from None
        return made

    def write(self, file: Path) -> None:
        """For the runs of the policies; only its owner may read it."""
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(_Answers.dump_json(self._answers))

    @property
    def age(self) -> float:
        """Seconds since the first may have been read."""
        return time.monotonic() - self._began

    def local(self, config: LocalDirectoryConfig) -> LocalDirectory:
        """An embedded directory, for what a snapshot does not say."""
        return LocalDirectory(self.folder / config.path, f"{self.folder.name}/{config.path}")

    def snapshot(self, config: DirectoryConfig, graph: GraphConfig, groups: Collection[str], known: Known) -> Snapshot:
        """The directory, as far as these groups and what state knows need it.

        Args:
            config: which.
            graph: how the tenant is reached, if it is one.
            groups: ids or displayNames.
            known: what state knows.

        Raises:
            InvalidConfigurationError: its file is wrong.
            DirectoryError: it can't be read.
        """
        name = identity(config, graph)
        had = self._answers.get(name)
        wanted, users = {*groups, *known.groups}, set(known.users)
        if had is None:
            asked = _Answer(Snapshot(), frozenset(wanted | self.expected), frozenset(users))
        else:
            # state knows groups by their id, policies perhaps by their name
            groups_left = wanted - had.groups - had.snapshot.groups.keys()
            asked = _Answer(
                Snapshot(), frozenset(groups_left), frozenset(users - had.users - had.snapshot.users.keys())
            )
        if had is not None and (isinstance(config, LocalDirectoryConfig) or not (asked.groups or asked.users)):
            return had.snapshot
        read = self._open(config, graph).snapshot(asked.groups, asked.users)
        answer = replace(asked, snapshot=read) if had is None else _together(had, replace(asked, snapshot=read))
        self._answers[name] = answer
        return answer.snapshot

    def _open(self, config: DirectoryConfig, graph: GraphConfig) -> Directory:
        if isinstance(config, LocalDirectoryConfig):
            return self.local(config)
        from cloudpc.directory.graph import GraphDirectory

        return GraphDirectory(config, graph)


def identity(config: DirectoryConfig, graph: GraphConfig) -> str:
    """Which directory this is: policies with the same one are told from each other by nothing else."""
    tenant = {} if isinstance(config, LocalDirectoryConfig) else graph.model_dump(mode="json")
    return json.dumps([config.model_dump(mode="json"), tenant], sort_keys=True)


def _together(first: _Answer, second: _Answer) -> _Answer:
    one, other = first.snapshot, second.snapshot
    both = replace(
        other,
        users=_merged(one.users, other.users),
        groups=_merged(one.groups, other.groups),
        service_plans=_merged(one.service_plans, other.service_plans),
        warnings=tuple(dict.fromkeys((*one.warnings, *other.warnings))),
    )
    return _Answer(both, first.groups | second.groups, first.users | second.users)


def _merged(one: Mapping[str, _Value], other: Mapping[str, _Value]) -> dict[str, _Value]:
    return {**one, **other}
