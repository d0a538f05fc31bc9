"""What goes wrong with Microsoft Graph, in sentences an admin can act on."""

from __future__ import annotations

from cloudpc.graph.permissions import Permission
from cloudpc.microsoft.sign_in import UNREACHABLE
from cloudpc.model.errors import CloudPCError
from cloudpc.model.text import told

TIMEOUT = "timeout"


class GraphError(CloudPCError):
    """A call to Microsoft Graph, or the sign-in before it, failed.

    Args:
        message: one or two sentences for the admin, complete without a traceback and without secrets.
        code: Graph's `error.code`, Entra's `AADSTS…`, one of this module's or of the sign-in's.
        status: of HTTP; 0: there was no answer.
        retry_after: seconds the service asks to wait; 0: it doesn't say.
        permission: the one that is missing, if that is the reason.
    """

    def __init__(
        self,
        message: str,
        code: str = "",
        status: int = 0,
        *,
        retry_after: float = 0,
        permission: Permission | None = None,
    ) -> None:
        self.message = told(message)
        super().__init__(self.message)
        self.code = code
        self.status = status
        self.retry_after = retry_after
        self.permission = permission

    @property
    def is_missing(self) -> bool:
        """The object is not there, as Graph itself says: a 404 of a proxy has no code, and says nothing of it."""
        return self.status == 404 and bool(self.code)

    @property
    def is_transient(self) -> bool:
        """The same request may succeed a moment later."""
        return self.code in (UNREACHABLE, TIMEOUT) or self.status == 429 or self.status >= 500
