"""What a directory knows that matters here: users, groups and service plans, in Graph's words."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from cloudpc.model.errors import CloudPCError
from cloudpc.model.text import harmless

GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True)
class ServicePlan:
    """A size of Cloud PC that a licence gives (Graph: cloudPcServicePlan)."""

    id: str
    display_name: str
    vcpu_count: int
    ram_in_gb: float
    storage_in_gb: int

    def __post_init__(self) -> None:
        _make_harmless(self, "display_name")


@dataclass(frozen=True)
class User:
    """A user, known by an id that never changes; names may."""

    id: str
    user_principal_name: str
    display_name: str
    account_enabled: bool = True
    service_plans: tuple[str, ...] = ()
    """Ids of the service plans the user is licensed for."""
    ssh_public_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _make_harmless(self, "user_principal_name", "display_name")

    @property
    def username(self) -> str:
        """The userPrincipalName's part before the @."""
        return self.user_principal_name.partition("@")[0]


@dataclass(frozen=True)
class Group:
    """A group and its direct members; groups in groups don't count, as in Windows 365."""

    id: str
    display_name: str
    members: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        _make_harmless(self, "display_name")


@dataclass(frozen=True)
class Snapshot:
    """The directory at one moment: all that one run decides on."""

    users: Mapping[str, User] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    service_plans: Mapping[str, ServicePlan] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    """What an admin should know of the directory, though it stops nobody: sentences."""
    hidden_groups: Mapping[str, str] = field(default_factory=dict)
    """displayNames of groups, by id, that exist, but of whose members nobody can be sure to have read all."""
    meant: Mapping[str, str] = field(default_factory=dict)
    """Ids by the names under which the policy at hand has groups: a name that is another's later is not followed."""

    def find_groups(self, reference: str) -> list[Group]:
        """Groups of this id, else of this displayName: exactly one is a match, anything else an error.

        A name that the policy has had a group under before means that one, also where it is called otherwise now, or
        where another has taken the same name; none is found where the name is another's alone.

        Raises:
            DirectoryError: its membership is hidden.
        """
        same, first = self._named(reference), self.meant.get(reference)
        if first is not None:
            is_there = first in self.groups or first in self.hidden_groups
            same = [first] if is_there and (first in same or not same) else []
        for hidden in same:
            if hidden in self.hidden_groups:
                raise DirectoryError(
                    f"the members of the group {self.hidden_groups[hidden]!r} ({hidden}) are hidden (visibility "
                    "HiddenMembership): nobody can tell whether all are seen. Assign the policy to another group"
                )
        return [self.groups[id_] for id_ in same]

    def of_another_now(self, reference: str) -> list[str]:
        """Ids of the groups that a name is of now, where none of them is the one that the policy has had under it."""
        now, first = self._named(reference), self.meant.get(reference)
        return sorted(now) if first is not None and first not in now else []

    def _named(self, reference: str) -> list[str]:
        names = {id_: group.display_name for id_, group in self.groups.items()} | dict(self.hidden_groups)
        same = [reference] if reference in names else []
        if not same and GUID.fullmatch(reference):  # the same in capitals, as no other id is
            same = [id_ for id_ in names if id_.lower() == reference.lower()]
        return same or [id_ for id_, name in names.items() if harmless(name) == harmless(reference)]


def _make_harmless(entry: object, *names: str) -> None:
    """Others write names, for people to read; ids are compared, and stay as they are."""
    for name in names:
        object.__setattr__(entry, name, harmless(getattr(entry, name)))


class Directory(Protocol):
    """Where users, groups and licences come from."""

    def snapshot(self, group_references: Collection[str], user_ids: Collection[str] = ()) -> Snapshot:
        """Read once, what matters to this run.

        Args:
            group_references: ids or displayNames of groups: they and their members are in the answer. Others may be.
            user_ids: users who have a Cloud PC and may no longer be in any of the groups. Who is not in the answer
                is not in the directory.

        Raises:
            InvalidConfigurationError: the directory's own file is wrong.
            DirectoryError: it can't be read. That means *unknown*, never *empty*: the run stops.
        """


class DirectoryError(CloudPCError):
    """The directory can't be read; who is entitled is unknown, so nothing may be touched."""
