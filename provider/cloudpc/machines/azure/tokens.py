"""The sign-in's tokens for Azure: kept until shortly before their end, since Azure CLI starts a process for each."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

    from cloudpc.machines.azure.configuration import AzureHostConfig

TOKEN_VARIABLE: Final = "CLOUDPC_AZURE_TOKEN"  # noqa: S105 - a variable's name
_REFRESH_BEFORE = 300.0


class Tokens:
    """An azure-core TokenCredential."""

    def __init__(self, config: AzureHostConfig) -> None:
        self._config = config
        self._credential: TokenCredential | None = None
        self._token: AccessToken | None = None
        self._lock = threading.Lock()

    def get_token(self, *scopes: str, claims: str | None = None, **options: Any) -> AccessToken:
        """The token; a new one if this one's end is near, or if Azure demands `claims`."""
        with self._lock:
            if self._token is None or claims or time.time() >= self._token.expires_on - _REFRESH_BEFORE:
                if self._credential is None:
                    self._credential = _credential(self._config)
                self._token = self._credential.get_token(*scopes, claims=claims, **options)
            return self._token

    def forget(self) -> None:
        """Azure has refused the token: the next request gets another one."""
        self._token = None

    @property
    def tenant(self) -> str:
        """Of the token got last; nothing where it doesn't say."""
        return str(_claims(self._token.token).get("tid", "")) if self._token else ""


def _credential(config: AzureHostConfig) -> TokenCredential:
    from azure.identity import AzureCliCredential, DefaultAzureCredential

    if config.auth == "token":
        return _GivenToken()
    return AzureCliCredential() if config.auth == "cli" else DefaultAzureCredential()


class _GivenToken:
    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        from azure.core.credentials import AccessToken

        value = os.environ.get(TOKEN_VARIABLE, "").strip()
        ends = _claims(value).get("exp")
        return AccessToken(value, int(ends) if isinstance(ends, int | float) else int(time.time()) + 3600)


def _claims(token: str) -> dict[str, Any]:
    parts = token.split(".")
    try:
        content = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, IndexError):
        return {}
    return content if isinstance(content, dict) else {}
