"""The tenant's access tokens, as Graph's SDK wants them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cloudpc.graph.configuration import GraphConfig
from cloudpc.graph.errors import GraphError
from cloudpc.microsoft import clouds, tokens
from cloudpc.microsoft.sign_in import SignIn, SignInError

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

TOKEN_VARIABLE = "CLOUDPC_GRAPH_TOKEN"  # noqa: S105 - a variable's name


class Tokens:
    """Got in a thread of their own. An azure-core AsyncTokenCredential."""

    def __init__(self, config: GraphConfig) -> None:
        self._tokens = tokens.Tokens(sign_in(config))
        self._lock = asyncio.Lock()

    async def get_token(self, *scopes: str, claims: str | None = None, **kwargs: Any) -> AccessToken:
        """The token; a new one if this one's end is near, or if Graph demands `claims`.

        Raises:
            GraphError: nobody is signed in, or the sign-in was refused.
        """
        async with self._lock:
            if not claims and (kept := self._tokens.kept) is not None:
                return kept
            try:
                return await asyncio.to_thread(self._tokens.get_token, *scopes, claims=claims, **kwargs)
            except SignInError as error:
                raise GraphError(error.message, error.code) from None

    def forget(self) -> None:
        """Graph has refused the token: the next request gets another one."""
        self._tokens.forget()

    def granted(self) -> frozenset[str] | None:
        """Permissions in the token got last; None where it doesn't say."""
        claims = self._tokens.claims
        if "roles" not in claims and "scp" not in claims:
            return None
        return frozenset([*claims.get("roles", ()), *str(claims.get("scp", "")).split()])

    def tenant_id(self) -> str:
        """The tenant of the token got last; empty where it doesn't say."""
        return self._tokens.tenant_id

    async def close(self) -> None:
        """Let go of connections."""
        await asyncio.to_thread(self._tokens.close)

    async def __aenter__(self) -> Tokens:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def sign_in(config: GraphConfig) -> SignIn:
    """How one signs in to this tenant."""
    return SignIn(
        auth=config.auth,
        tenant_id=config.tenant_id,
        host=clouds.of_graph(config.endpoint).sign_in,
        token_variable=TOKEN_VARIABLE,
        fields="cloudpc:graph.{}",
        service="this Graph",
        service_field="cloudpc:graph.endpoint",
    )
