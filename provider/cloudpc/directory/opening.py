"""The directories that configurations name: each is read once, however many policies use it, also over processes.

`cloudpc up` reads them, and hands what it has read to the runs of its policies in a file; a run asks only for what is
not in it.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from cloudpc.directory.configuration import DirectoryConfig, LocalDirectoryConfig
from cloudpc.directory.local import LocalDirectory
from cloudpc.graph.configuration import GraphConfig
from cloudpc.model.directory import Directory, DirectoryError, Snapshot

SHARED = "CLOUDPC_DIRECTORY_SNAPSHOT"
"""Names the file that `cloudpc up` hands to the runs of its policies."""
LASTS = 300.0
"""Seconds after which what was read is too old for a run: others may have gone first, or somebody took long to say yes.
Who came back meanwhile would lose a Cloud PC whose grace period ends."""


@dataclass(frozen=True)
class Known:
    """Ids that state knows, and that a run must hear of whatever the policy's file says now."""

    groups: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    names: Mapping[str, str] = field(default_factory=dict)
    """Ids of the policy's own groups by the names that it has them under; see Snapshot.meant."""


def names_of(assigned: Mapping[str, str]) -> dict[str, str]:
    """Ids by names, of groups' names by their ids: a name that two have, or that is an id, says nothing."""
    count = Counter(assigned.values())
    return {name: id_ for id_, name in assigned.items() if count[name] == 1 and name not in assigned}


@dataclass(frozen=True)
class _Answer:
    """What was asked of a directory, and what it said."""

    snapshot: Snapshot
    groups: frozenset[str]
    users: frozenset[str]
    began: float
    """When it was asked, by the clock on the wall, which all processes have; of several times the first."""

    @property
    def is_fresh(self) -> bool:
        return 0 <= time.time() - self.began <= LASTS  # a clock that was set back says nothing


_Value = TypeVar("_Value")
_Answers = TypeAdapter(dict[str, _Answer], config={"hide_input_in_errors": True})


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
    _failed: dict[str, DirectoryError] = field(default_factory=dict)

    @classmethod
    def shared(cls, folder: Path) -> Directories:
        """With what `cloudpc up` has just read, if it runs us; what it read long ago is read again.

        Raises:
            DirectoryError: its file can't be read.
        """
        made, file = cls(folder), os.environ.get(SHARED)
        if file:
            try:
                answers = _Answers.validate_json(Path(file).read_bytes())
            except (OSError, ValidationError) as error:
                raise DirectoryError(f"what was read from the directory is no longer in {file}: {error}") from None
            made._answers = {name: answer for name, answer in answers.items() if answer.is_fresh}
        return made

    def write(self, file: Path) -> None:
        """For the runs of the policies; only its owner may read it."""
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(_Answers.dump_json(self._answers))

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
            DirectoryError: it can't be read, or could not before: whoever else uses it need not wait for that again.
        """
        snapshot = self._snapshot(config, graph, groups, known)
        if known.names:  # what one policy's state knows; the others use the same answer
            snapshot = replace(snapshot, meant=known.names)
        for reference in (*groups, *known.groups):
            snapshot.find_groups(reference)  # raises where its members are hidden
        return snapshot

    def _snapshot(self, config: DirectoryConfig, graph: GraphConfig, groups: Collection[str], known: Known) -> Snapshot:
        name = identity(config, graph)
        if name in self._failed:
            raise self._failed[name]
        had = self._answers.get(name)
        wanted, users = {*groups, *known.groups}, set(known.users)
        if had is None:
            asked = _Answer(Snapshot(), frozenset(wanted | self.expected), frozenset(users), time.time())
        else:
            # state knows groups by their id, policies perhaps by their name
            groups_left = wanted - had.groups - had.snapshot.groups.keys()
            users_left = users - had.users - had.snapshot.users.keys()
            asked = _Answer(Snapshot(), frozenset(groups_left), frozenset(users_left), time.time())
        if had is not None and (isinstance(config, LocalDirectoryConfig) or not (asked.groups or asked.users)):
            return had.snapshot
        try:
            read = self._open(config, graph).snapshot(asked.groups, asked.users)
        except DirectoryError as error:
            self._failed[name] = error
            raise
        answer = replace(asked, snapshot=read) if had is None else _together(had, replace(asked, snapshot=read))
        self._answers[name] = answer
        return answer.snapshot

    def _open(self, config: DirectoryConfig, graph: GraphConfig) -> Directory:
        if isinstance(config, LocalDirectoryConfig):
            return self.local(config)
        from cloudpc.directory.graph import GraphDirectory

        return GraphDirectory(config, graph)


def identity(config: DirectoryConfig, graph: GraphConfig) -> str:
    """Which directory this is: policies are of the same directory exactly if this is equal."""
    tenant = {} if isinstance(config, LocalDirectoryConfig) else graph.model_dump(mode="json")
    return json.dumps([config.model_dump(mode="json"), tenant], sort_keys=True)


def _together(first: _Answer, second: _Answer) -> _Answer:
    one, other = first.snapshot, second.snapshot
    both = replace(
        other,
        users=_merged(one.users, other.users),
        groups=_merged(one.groups, other.groups),
        service_plans=_merged(one.service_plans, other.service_plans),
        hidden_groups=_merged(one.hidden_groups, other.hidden_groups),
        warnings=tuple(dict.fromkeys((*one.warnings, *other.warnings))),
    )
    return _Answer(both, first.groups | second.groups, first.users | second.users, min(first.began, second.began))


def _merged(one: Mapping[str, _Value], other: Mapping[str, _Value]) -> dict[str, _Value]:
    return {**one, **other}
