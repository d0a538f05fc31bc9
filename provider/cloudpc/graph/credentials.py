"""Signing in to a tenant: which credential, one token for all requests, and what a refusal means in words."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cloudpc.graph import clouds
from cloudpc.graph.configuration import GraphConfig
from cloudpc.graph.errors import SIGN_IN, UNREACHABLE, GraphError

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

TOKEN_VARIABLE = "CLOUDPC_GRAPH_TOKEN"  # noqa: S105 - a variable's name

_PUBLIC: Final = clouds.SIGN_IN["graph.microsoft.com"]
_REFRESH_BEFORE = 300.0
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Tokens:
    """The tenant's access tokens: got in a thread of their own, kept until shortly before their end.

    Azure CLI's credential starts a process for each token, so without this each request would.
    An azure-core AsyncTokenCredential, as Graph's SDK wants it.
    """

    def __init__(self, config: GraphConfig) -> None:
        self._config = config
        self._credential: TokenCredential | None = None
        self._token: AccessToken | None = None
        self._refresh_at = 0.0
        self._lock = asyncio.Lock()

    async def get_token(self, *scopes: str, claims: str | None = None, **kwargs: Any) -> AccessToken:
        """The token; a new one if this one's end is near, or if Graph demands `claims`.

        Raises:
            GraphError: nobody is signed in, or the sign-in was refused.
        """
        async with self._lock:
            if self._token is None or claims or time.time() >= self._refresh_at:
                self._token = await asyncio.to_thread(self._fetch, scopes, claims, kwargs)
                remaining = self._token.expires_on - time.time()
                self._refresh_at = time.time() + remaining - min(_REFRESH_BEFORE, remaining / 5)
            return self._token

    def forget(self) -> None:
        """Graph has refused the token: the next request gets another one."""
        self._token = None

    def granted(self) -> frozenset[str] | None:
        """Permissions in the token got last; None where it doesn't say."""
        claims = _claims(self._token.token) if self._token else {}
        if "roles" not in claims and "scp" not in claims:
            return None
        return frozenset([*claims.get("roles", ()), *str(claims.get("scp", "")).split()])

    def tenant_id(self) -> str:
        """The tenant of the token got last; empty where it doesn't say."""
        return str(_claims(self._token.token).get("tid", "")) if self._token else ""

    async def close(self) -> None:
        """Let go of connections."""
        close = getattr(self._credential, "close", None)
        if close is not None:
            await asyncio.to_thread(close)

    async def __aenter__(self) -> Tokens:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _fetch(self, scopes: tuple[str, ...], claims: str | None, options: dict[str, Any]) -> AccessToken:
        tenant = self._config.tenant_id
        try:
            if self._credential is None:
                self._credential = _credential(self._config)
            token = self._credential.get_token(*scopes, claims=claims, tenant_id=tenant, **options)
        except GraphError:
            raise
        except Exception as error:  # noqa: BLE001 - azure-identity raises ValueError, OSError and its own
            raise refusal(error, self._config) from None
        found = str(_claims(token.token).get("tid", ""))
        if tenant and _GUID.fullmatch(tenant) and found and found.lower() != tenant.lower():
            message = f"the sign-in is for the tenant {found}, but cloudpc:graph.tenantId is {tenant}"
            raise GraphError(f"{message}: sign in to that tenant, or correct tenantId; nothing was touched", SIGN_IN)
        return token


def _credential(config: GraphConfig) -> TokenCredential:
    if config.auth == "token":
        return _GivenToken()
    from azure.identity import AzureCliCredential, DefaultAzureCredential

    if not (identity_log := logging.getLogger("azure.identity")).level:
        identity_log.setLevel(logging.ERROR)  # it warns of what we say in a sentence, over ten lines
    options: dict[str, Any] = {}
    if config.tenant_id:
        # the configuration decides which tenant, not what the environment happens to say
        options["additionally_allowed_tenants"] = [config.tenant_id]
    if config.auth == "cli":
        return AzureCliCredential(**options)
    options["authority"] = authority = _authority(config)
    if clouds.is_loopback(authority):
        options["disable_instance_discovery"] = True  # it would be asked of the public cloud
    if config.auth == "environment" or not os.environ.get("AZURE_TOKEN_CREDENTIALS", "").strip():
        options |= _narrowed(with_cli=config.auth == "default")
    return DefaultAzureCredential(**options)


def _authority(config: GraphConfig) -> str:
    """Where to sign in: as the environment says, else as the cloud does. Secrets go there."""
    said = os.environ.get("AZURE_AUTHORITY_HOST")
    if not said:
        return f"https://{clouds.SIGN_IN.get(urlsplit(config.endpoint).hostname or '', _PUBLIC)}"
    try:
        return clouds.authority(said)
    except ValueError as error:  # the value is not shown: it may hold a password
        raise GraphError(f"the environment variable AZURE_AUTHORITY_HOST {error}", SIGN_IN) from None


def _narrowed(*, with_cli: bool) -> dict[str, bool]:
    """Secret, certificate or workload identity from the environment, then Azure CLI; no guessing beyond.

    The probe for a managed identity alone can take long behind a firewall; AZURE_TOKEN_CREDENTIALS chooses others.
    """
    return {
        "exclude_environment_credential": False,
        "exclude_workload_identity_credential": False,
        "exclude_cli_credential": not with_cli,
        "exclude_managed_identity_credential": True,
        "exclude_shared_token_cache_credential": True,
        "exclude_visual_studio_code_credential": True,
        "exclude_developer_cli_credential": True,
        "exclude_powershell_credential": True,
        "exclude_broker_credential": True,
        "exclude_interactive_browser_credential": True,
    }


@dataclass(frozen=True)
class _GivenToken:
    """The token of CLOUDPC_GRAPH_TOKEN, looked up each time: whoever renews it needn't restart a long run."""

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        from azure.core.credentials import AccessToken

        value = os.environ.get(TOKEN_VARIABLE, "").strip()
        if not value:
            message = f"cloudpc:graph.auth is token, but the environment variable {TOKEN_VARIABLE} is not set"
            raise GraphError(message, SIGN_IN)
        if not value.isascii() or not value.isprintable() or " " in value:
            raise GraphError(f"the environment variable {TOKEN_VARIABLE} holds no access token", SIGN_IN)
        ends = _claims(value).get("exp")
        now = time.time()
        if isinstance(ends, int | float) and ends <= now:
            message = f"the token in {TOKEN_VARIABLE} expired {_ago(now - ends)} ago by this machine's clock"
            raise GraphError(f"{message}: put a new one there, or check the clock", SIGN_IN)
        return AccessToken(value, int(ends) if isinstance(ends, int | float) else int(now) + 3600)

    def close(self) -> None:
        """Nothing to let go of."""


def _claims(token: str) -> dict[str, Any]:
    """What a token says of itself; empty if it says nothing readable. Not verified: Graph does that."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        content = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _ago(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )


_REFUSALS: Final = {
    "90002": "there is no tenant {tenant}: check cloudpc:graph.tenantId or AZURE_TENANT_ID",
    "900021": "there is no tenant {tenant}: check cloudpc:graph.tenantId or AZURE_TENANT_ID",
    "900023": "{tenant} is no tenant's id or domain: check cloudpc:graph.tenantId or AZURE_TENANT_ID",
    "700016": "the application of AZURE_CLIENT_ID is not known in the tenant {tenant}: wrong tenant, "
    "or no consent there",
    "7000215": "the secret in AZURE_CLIENT_SECRET is wrong: the secret's value is wanted, not its id",
    "7000222": "the secret in AZURE_CLIENT_SECRET has expired: make a new one in the application's registration",
    "700027": "the certificate in AZURE_CLIENT_CERTIFICATE_PATH is not one of the application's",
    "700024": "the sign-in's assertion is not valid at this time: this machine's clock may be wrong, or the "
    "federated token has expired",
    "70021": "no federated credential of the application matches this workload: check issuer and subject",
    "700211": "no federated credential of the application has this workload's issuer",
    "700213": "no federated credential of the application has this workload's subject",
    "700082": "the sign-in is too old: run `az login` again",
    "70043": "the sign-in is too old for the tenant's rules: run `az login` again",
    "50173": "the sign-in was revoked: run `az login` again",
    "50076": "the tenant demands a second factor: run `az login` again",
    "50079": "the tenant demands a second factor: run `az login` again",
    "53003": "the tenant's Conditional Access blocks this sign-in",
    "50057": "the account that signs in is disabled",
    "65001": "the application has no consent in the tenant {tenant}: an administrator must grant it",
    "500011": "the tenant {tenant} doesn't know this Graph: check cloudpc:graph.endpoint",
}
"""Entra's AADSTS codes that somebody can do something about."""


def refusal(error: Exception, config: GraphConfig) -> GraphError:
    """Why there is no token, in words."""
    text = str(error)
    code = re.search(r"AADSTS(\d+)", text)
    tenant = config.tenant_id or os.environ.get("AZURE_TENANT_ID") or "of the sign-in"
    authority = os.environ.get("AZURE_AUTHORITY_HOST") or "https://login.microsoftonline.com"
    if code:
        known = _REFUSALS.get(code[1])
        message = known.format(tenant=tenant) if known else f"Microsoft Entra refused the sign-in: {_first_line(text)}"
        return GraphError(message, f"AADSTS{code[1]}")
    if "authority configuration" in text:  # msal's words for Entra's 90002
        return GraphError(_REFUSALS["90002"].format(tenant=tenant), "AADSTS90002")
    if "AZURE_TOKEN_CREDENTIALS" in text:
        return GraphError(_first_line(text), SIGN_IN)
    # in a chain of credentials the one that failed stands among those that nobody has set up
    failed = re.search(r"Authentication failed: (.+)", text)
    if failed or _is_network(error):
        # Entra's own answers have a code, so this is none
        reason = _first_line(failed[1] if failed else text)
        return GraphError(
            f"the sign-in to Microsoft Entra can't be reached: {reason}{proxy_note(authority)}", UNREACHABLE
        )
    if type(error).__name__ == "CredentialUnavailableError" or "failed to retrieve a token" in text:
        return GraphError(_nobody(config), SIGN_IN)
    return GraphError(f"the sign-in to Microsoft Entra failed: {_first_line(text)}", SIGN_IN)


def _nobody(config: GraphConfig) -> str:
    tenant = f" --tenant {config.tenant_id}" if config.tenant_id else ""
    by_environment = "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or AZURE_FEDERATED_TOKEN_FILE)"
    match config.auth:
        case "cli":
            return f"nobody is signed in with Azure CLI: run `az login{tenant}`"
        case "environment":
            return f"the environment has no sign-in to Microsoft Entra: {by_environment}"
        case _:
            chosen = os.environ.get("AZURE_TOKEN_CREDENTIALS", "").strip()
            narrowed = f" (AZURE_TOKEN_CREDENTIALS is {chosen})" if chosen else ""
            return f"nobody is signed in to Microsoft Entra{narrowed}: run `az login{tenant}`, or {by_environment}"


def _is_network(error: BaseException | None) -> bool:
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError

    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, (ServiceRequestError, ServiceResponseError, ConnectionError, TimeoutError)):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


def proxy_note(url: str) -> str:
    """Where a proxy may be the reason: which variable names it, never its value, which may hold a password."""
    if clouds.is_loopback(url):
        return ""
    names = [name for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy") if os.environ.get(name)]
    return f"; connections go through the proxy of {names[0]}" if names else ""


def _first_line(text: str) -> str:
    """The first line that says something."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
    return line if len(line) <= 300 else line[:297] + "..."
