"""Who looks at pages."""

from __future__ import annotations

from dataclasses import dataclass

from cloudpc.model.text import harmless
from cloudpc.operations.records import CloudPCRecord


@dataclass(frozen=True)
class Person:
    """An admin, who sees all Cloud PCs; or a user, who sees their own.

    Args:
        name: what audit and history call them.
        is_admin: whether they may see and do everything.
        user_id: the directory's id of a user; names may have become somebody else's, ids do not.
    """

    name: str
    is_admin: bool = False
    user_id: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", harmless(self.name))

    def may_see(self, cloud_pc: CloudPCRecord) -> bool:
        """Whether it is theirs to look at, and to act on."""
        return self.is_admin or (self.user_id is not None and cloud_pc.user_id.lower() == self.user_id.lower())
