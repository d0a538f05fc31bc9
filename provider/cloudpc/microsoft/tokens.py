"""Tokens of one sign-in: kept until shortly before their end, since Azure CLI starts a process for each."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Any

from cloudpc.microsoft import sign_in as signing_in
from cloudpc.microsoft.sign_in import SIGN_IN, SignIn, SignInError, claims_of

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

_REFRESH_BEFORE = 300.0
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Tokens:
    """An azure-core TokenCredential, for one scope. Safe to be used by several threads: one of them gets a new token.

    Args:
        sign_in: how tokens are got.
    """

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in
        self._credential: TokenCredential | None = None
        self._token: AccessToken | None = None
        self._refresh_at = 0.0
        self._lock = threading.Lock()

    @property
    def kept(self) -> AccessToken | None:
        """The one that there is, unless its end is near."""
        token = self._token
        return token if token is not None and time.time() < self._refresh_at else None

    def get_token(self, *scopes: str, claims: str | None = None, **options: Any) -> AccessToken:
        """The token; a new one if this one's end is near, or if the service demands `claims`.

        Raises:
            SignInError: nobody is signed in, or the sign-in was refused.
        """
        with self._lock:
            kept = None if claims else self.kept
            if kept is not None:
                return kept
            token = self._fetch(scopes, claims, options)
            remaining = token.expires_on - time.time()
            self._refresh_at = time.time() + remaining - min(_REFRESH_BEFORE, remaining / 5)
            self._token = token
            return token

    def forget(self) -> None:
        """The service has refused the token: the next request gets another one."""
        self._refresh_at = 0.0

    @property
    def claims(self) -> dict[str, Any]:
        """What the token got last says of itself; empty where it doesn't."""
        return claims_of(self._token.token) if self._token else {}

    @property
    def tenant_id(self) -> str:
        """The tenant of the token got last; empty where it doesn't say."""
        return str(self.claims.get("tid", ""))

    def close(self) -> None:
        """Let go of connections."""
        close = getattr(self._credential, "close", None)
        if close is not None:
            close()

    def _fetch(self, scopes: tuple[str, ...], claims: str | None, options: dict[str, Any]) -> AccessToken:
        tenant = self._sign_in.tenant_id
        try:
            if self._credential is None:
                self._credential = signing_in.credential(self._sign_in)
            token = self._credential.get_token(*scopes, claims=claims, **{**options, "tenant_id": tenant})
        except SignInError:
            raise
        except Exception as error:  # noqa: BLE001 - azure-identity raises ValueError, OSError and its own
            raise signing_in.refusal(error, self._sign_in) from None
        found = str(claims_of(token.token).get("tid", ""))
        if tenant and _GUID.fullmatch(tenant) and found and found.lower() != tenant.lower():
            message = f"the sign-in is for the tenant {found}, but {self._sign_in.field('tenantId')} is {tenant}"
            raise SignInError(f"{message}; nothing was touched. Sign in there, or correct tenantId", SIGN_IN)
        return token
