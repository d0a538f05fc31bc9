"""Whom a name on the command line means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from cloudpc.cli.output import CommandError, Exit
from cloudpc.model.directory import User
from cloudpc.model.problems import closest
from cloudpc.operations.records import CloudPCRecord, EndedRecord

_Owned = TypeVar("_Owned", CloudPCRecord, CloudPCRecord | EndedRecord)


def check_name(name: str, cloud_pc: CloudPCRecord, user: User | None) -> None:
    """State has names of the last run, and by now one may be somebody else's, whose Cloud PC is meant.

    Raises:
        CommandError: it may be.
    """
    if user is not None and not is_called(name, user.user_principal_name, user.id):
        message = (
            f"{name} was {cloud_pc.user_principal_name} at the last run, who is called {user.user_principal_name} now; "
            f"{name} may be somebody else. Nothing was done; run `cloudpc up {cloud_pc.policy}` first, or write the "
            f"user's id, {user.id}"
        )
        raise CommandError(message, Exit.INVALID)


def is_called(name: str, user_principal_name: str, user_id: str) -> bool:
    """Whether a name on the command line is that of this user: userPrincipalName, its part before the @, or id."""
    principal = user_principal_name.lower()
    return name.lower() in (principal, principal.partition("@")[0], user_id.lower())


def of_user(user: str, everyone: Iterable[_Owned]) -> list[_Owned]:
    """A user's, by userPrincipalName, its part before the @, or the directory's id.

    Raises:
        CommandError: no Cloud PC, or several users of that name.
    """
    wanted, among = user.lower(), list(everyone)
    found = [c for c in among if wanted in (c.user_principal_name.lower(), c.user_id.lower())]
    found = found or [c for c in among if c.user_principal_name.lower().partition("@")[0] == wanted]
    users = {c.user_id: c.user_principal_name for c in found}
    if not found:
        names = [name for c in among for name in (c.user_principal_name, c.user_principal_name.partition("@")[0])]
        message = f"no Cloud PC of {user!r}{closest(user, names)}; `cloudpc list --all` shows who has none, and why"
        raise CommandError(message, Exit.INVALID)
    if len(users) > 1:
        choices = " or ".join(f"{name} (id {id_})" for id_, name in sorted(users.items(), key=lambda u: u[1]))
        raise CommandError(f"{user} may be {choices}; write the whole name, or the id", Exit.INVALID)
    return found
