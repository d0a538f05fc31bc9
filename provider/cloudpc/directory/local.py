"""The embedded directory: users, groups and licences in a YAML file, no tenant needed."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from cloudpc.directory import catalogue
from cloudpc.directory.configuration import Id, ServicePlanConfig
from cloudpc.files import yaml_file
from cloudpc.model.directory import Group, ServicePlan, Snapshot, User
from cloudpc.model.policy import Part
from cloudpc.model.problems import InvalidConfigurationError, Problem, closest, from_validation
from cloudpc.model.ssh_keys import public_key
from cloudpc.model.written import USER_AT_DOMAIN


class _User(Part):
    id: Id
    user_principal_name: Annotated[str, Field(max_length=113), USER_AT_DOMAIN]
    display_name: str = ""
    account_enabled: bool = True
    service_plans: list[str] = []
    ssh_public_keys: list[Annotated[str, AfterValidator(public_key)]] = []


class _Group(Part):
    id: Id
    display_name: str = Field(min_length=1)
    members: list[str] = []


class DirectoryFile(Part):
    """The contents of an embedded directory's file."""

    users: list[_User] = []
    groups: list[_Group] = []
    service_plans: list[ServicePlanConfig] = []


class LocalDirectory:
    """A directory in a file.

    Args:
        path: the file.
        shown_as: its name in messages.
    """

    def __init__(self, path: Path, shown_as: str) -> None:
        self._path = path
        self._shown_as = shown_as

    def snapshot(
        self,
        group_references: Collection[str] = (),  # noqa: ARG002 - the whole file is one read
        user_ids: Collection[str] = (),  # noqa: ARG002
    ) -> Snapshot:
        """See Directory.snapshot."""
        content = self._content
        problems = list(self._contradictions(content))
        try:
            file = DirectoryFile.model_validate(content)
        except ValidationError as error:
            problems = from_validation(self._shown_as, "", DirectoryFile, error) + problems
        if problems:
            raise InvalidConfigurationError(problems)
        plans = catalogue.service_plans() | {p.id: p.as_plan() for p in file.service_plans}
        return Snapshot(
            users={u.id: _user(u, plans) for u in file.users},
            groups={g.id: Group(g.id, g.display_name, frozenset(g.members)) for g in file.groups},
            service_plans=plans,
        )

    def groups(self) -> Snapshot:
        """The groups alone, as far as they can be read, whatever else is wrong with the file.

        Raises:
            InvalidConfigurationError: it can't be read at all.
        """
        written = (_texts_of(entry, "id", "displayName") for entry in _entries(self._content, "groups"))
        return Snapshot(groups={id_: Group(id_, name or id_) for id_, name in written if id_})

    @cached_property
    def _content(self) -> Any:
        content = yaml_file.read(self._path, self._shown_as)
        return {} if content is None else content

    def _contradictions(self, content: Any) -> Iterator[Problem]:
        """Entries that don't agree. Looks at what was written, so that they are reported beside malformed entries."""
        users, groups, own_plans = (_entries(content, kind) for kind in ("users", "groups", "servicePlans"))
        user_ids, plan_ids = _column(users, "id"), _column(own_plans, "id")
        yield from self._twice("users", "id", user_ids)
        yield from self._twice("users", "userPrincipalName", map(_as_read, _column(users, "userPrincipalName")))
        yield from self._twice("groups", "id", _column(groups, "id"))
        yield from self._twice("servicePlans", "id", plan_ids)
        plans = {*plan_ids, *catalogue.service_plans(), *catalogue.plan_names()}
        for i, user in enumerate(users):
            for j, plan in _texts(user, "servicePlans"):
                if plan not in plans:
                    message = "is neither a service plan of this file nor one of Windows 365 Enterprise"
                    yield Problem(
                        self._shown_as, f"users[{i}].servicePlans[{j}]", f"{message}{closest(plan, plans)}", plan
                    )
        for i, group in enumerate(groups):
            for j, member in _texts(group, "members"):
                if member not in user_ids:
                    message = f"is not the id of a user{closest(member, user_ids)}"
                    yield Problem(self._shown_as, f"groups[{i}].members[{j}]", message, member)

    def _twice(self, kind: str, field: str, values: Iterable[str]) -> Iterator[Problem]:
        for value, count in Counter(values).items():
            if count > 1:
                yield Problem(self._shown_as, kind, f"{count} entries have the same {field}; it must be unique", value)


def _entries(content: Any, kind: str) -> list[dict[str, Any]]:
    found = content.get(kind) if isinstance(content, dict) else None
    return [entry if isinstance(entry, dict) else {} for entry in found] if isinstance(found, list) else []


def _column(entries: list[dict[str, Any]], field: str) -> list[str]:
    return [entry[field] for entry in entries if isinstance(entry.get(field), str)]


def _as_read(name: str) -> str:
    """Names that look the same are: in small letters, accents in one character with their letter."""
    return unicodedata.normalize("NFC", name.lower())


def _texts_of(entry: dict[str, Any], *fields: str) -> tuple[str, ...]:
    return tuple(value if isinstance(value := entry.get(field), str) else "" for field in fields)


def _texts(entry: dict[str, Any], field: str) -> list[tuple[int, str]]:
    values = entry.get(field)
    return [(i, text) for i, text in enumerate(values) if isinstance(text, str)] if isinstance(values, list) else []


def _plan_id(name: str, plans: dict[str, ServicePlan]) -> str | None:
    return name if name in plans else catalogue.plan_names().get(name)


def _user(user: _User, plans: dict[str, ServicePlan]) -> User:
    licensed = dict.fromkeys(p for p in (_plan_id(name, plans) for name in user.service_plans) if p)
    return User(
        id=user.id,
        user_principal_name=user.user_principal_name,
        display_name=user.display_name or user.user_principal_name,
        account_enabled=user.account_enabled,
        service_plans=tuple(licensed),
        ssh_public_keys=tuple(user.ssh_public_keys),
    )
