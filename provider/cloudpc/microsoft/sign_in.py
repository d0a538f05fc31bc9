"""Signing in to Microsoft Entra: which credential, and what a refusal means in words."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cloudpc.microsoft import clouds
from cloudpc.microsoft.auth import Auth
from cloudpc.model.errors import CloudPCError
from cloudpc.model.text import told

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

UNREACHABLE = "unreachable"
SIGN_IN = "signIn"


@dataclass(frozen=True)
class SignIn:
    """How somebody signs in, and what that is called where it is configured.

    Args:
        auth: which credential.
        tenant_id: id or domain; None: the credential's own.
        host: of the sign-in, unless the environment names another.
        token_variable: the variable of `auth: token`.
        fields: what a field of the configuration is called, with {} for its name.
        service: what a token is for.
        service_field: which field says where that is.
    """

    auth: Auth
    tenant_id: str | None
    host: str
    token_variable: str
    fields: str
    service: str
    service_field: str

    def field(self, name: str) -> str:
        """What a field is called, for messages."""
        return self.fields.format(name)


class SignInError(CloudPCError):
    """There is no token.

    Args:
        message: one sentence for the admin, complete without a traceback and without secrets.
        code: Entra's `AADSTS…`, or one of this module's.
    """

    def __init__(self, message: str, code: str) -> None:
        self.message = told(message)
        super().__init__(self.message)
        self.code = code


def credential(sign_in: SignIn) -> TokenCredential:
    """What tokens come from. Raises SignInError."""
    if sign_in.auth == "token":
        return _GivenToken(sign_in)
    from azure.identity import AzureCliCredential, DefaultAzureCredential

    if not (identity_log := logging.getLogger("azure.identity")).level:
        identity_log.setLevel(logging.ERROR)  # it warns of what we say in a sentence, over ten lines
    options: dict[str, Any] = {}
    if sign_in.tenant_id:
        # the configuration decides which tenant, not what the environment happens to say
        options["additionally_allowed_tenants"] = [sign_in.tenant_id]
    if sign_in.auth == "cli":
        return AzureCliCredential(**options)
    options["authority"] = where = authority(sign_in)
    if clouds.is_loopback(where):
        options["disable_instance_discovery"] = True  # it would be asked of the public cloud
    if sign_in.auth == "environment" or not os.environ.get("AZURE_TOKEN_CREDENTIALS", "").strip():
        options |= _narrowed(with_cli=sign_in.auth == "default")
    return DefaultAzureCredential(**options)


def authority(sign_in: SignIn) -> str:
    """Where to sign in: as the environment says, else as the cloud does. Secrets go there. Raises SignInError."""
    said = os.environ.get("AZURE_AUTHORITY_HOST")
    if not said:
        return f"https://{sign_in.host}"
    try:
        return clouds.authority(said)
    except ValueError as error:  # the value is not shown: it may hold a password
        raise SignInError(f"the environment variable AZURE_AUTHORITY_HOST {error}", SIGN_IN) from None


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
    """The token of a variable, looked up each time: whoever renews it needn't restart a long run."""

    sign_in: SignIn

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        from azure.core.credentials import AccessToken

        variable = self.sign_in.token_variable
        value = os.environ.get(variable, "").strip()
        if not value:
            message = f"{self.sign_in.field('auth')} is token, but the environment variable {variable} is not set"
            raise SignInError(message, SIGN_IN)
        if not value.isascii() or not value.isprintable() or " " in value:
            raise SignInError(f"the environment variable {variable} holds no access token", SIGN_IN)
        ends = claims_of(value).get("exp")
        now = time.time()
        if isinstance(ends, int | float) and ends <= now:
            message = f"the token in {variable} expired {_ago(now - ends)} ago by this machine's clock"
            raise SignInError(f"{message}; put a new one there, or check the clock", SIGN_IN)
        return AccessToken(value, int(ends) if isinstance(ends, int | float) else int(now) + 3600)

    def close(self) -> None:
        """Nothing to let go of."""


def claims_of(token: str) -> dict[str, Any]:
    """What a token says of itself; empty if it says nothing readable. Not verified: who gets it does that."""
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
    "90002": "there is no tenant {tenant}; check {tenant_field} or AZURE_TENANT_ID",
    "900021": "there is no tenant {tenant}; check {tenant_field} or AZURE_TENANT_ID",
    "900023": "{tenant} is not a tenant's id or domain; check {tenant_field} or AZURE_TENANT_ID",
    "700016": "the application of AZURE_CLIENT_ID is not known in the tenant {tenant}: wrong tenant, "
    "or no consent there",
    "7000215": "the secret in AZURE_CLIENT_SECRET is wrong: the secret's value is wanted, not its id",
    "7000222": "the secret in AZURE_CLIENT_SECRET has expired; make a new one in the application's registration",
    "700027": "the certificate in AZURE_CLIENT_CERTIFICATE_PATH is not one of the application's",
    "700024": "the sign-in's assertion is not valid at this time: this machine's clock may be wrong, or the "
    "federated token has expired",
    "70021": "no federated credential of the application matches this workload; check issuer and subject",
    "700211": "no federated credential of the application has this workload's issuer",
    "700213": "no federated credential of the application has this workload's subject",
    "700082": "the sign-in is too old; run `az login` again",
    "70043": "the sign-in is too old for the tenant's rules; run `az login` again",
    "50173": "the sign-in was revoked; run `az login` again",
    "50076": "the tenant demands a second factor; run `az login` again",
    "50079": "the tenant demands a second factor; run `az login` again",
    "53003": "the tenant's Conditional Access blocks this sign-in",
    "50057": "the account that signs in is disabled",
    "65001": "the application has no consent in the tenant {tenant}: an administrator must grant it",
    "500011": "the tenant {tenant} doesn't know {service}; check {service_field}",
}
"""Entra's AADSTS codes that somebody can do something about."""


def refusal(error: Exception, sign_in: SignIn) -> SignInError:
    """Why there is no token, in words."""
    text = str(error)
    code = re.search(r"AADSTS(\d+)", text)
    if code:
        message = _refused(code[1], sign_in) or f"Microsoft Entra refused the sign-in: {_first_line(text)}"
        return SignInError(message, f"AADSTS{code[1]}")
    if "authority configuration" in text:  # msal's words for Entra's 90002
        return SignInError(_refused("90002", sign_in), "AADSTS90002")
    if "AZURE_TOKEN_CREDENTIALS" in text:
        return SignInError(_first_line(text), SIGN_IN)
    # in a chain of credentials the one that failed stands among those that nobody has set up
    failed = re.search(r"Authentication failed: (.+)", text)
    if failed or _is_network(error):
        # Entra's own answers have a code, so this is not one
        reason = _first_line(failed[1] if failed else text)
        where = os.environ.get("AZURE_AUTHORITY_HOST") or f"https://{sign_in.host}"
        message = f"the sign-in to Microsoft Entra can't be reached: {reason}{proxy_note(where)}"
        return SignInError(message, UNREACHABLE)
    if type(error).__name__ == "CredentialUnavailableError" or "failed to retrieve a token" in text:
        return SignInError(_nobody(sign_in), SIGN_IN)
    return SignInError(f"the sign-in to Microsoft Entra failed: {_first_line(text)}", SIGN_IN)


def _refused(code: str, sign_in: SignIn) -> str:
    """What one of Entra's codes means; empty for those that we have no words for."""
    return _REFUSALS.get(code, "").format(
        tenant=sign_in.tenant_id or os.environ.get("AZURE_TENANT_ID") or "of the sign-in",
        tenant_field=sign_in.field("tenantId"),
        service=sign_in.service,
        service_field=sign_in.service_field,
    )


def _nobody(sign_in: SignIn) -> str:
    tenant = f" --tenant {sign_in.tenant_id}" if sign_in.tenant_id else ""
    by_environment = "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or AZURE_FEDERATED_TOKEN_FILE)"
    match sign_in.auth:
        case "cli":
            return f"nobody is signed in with Azure CLI; run `az login{tenant}`"
        case "environment":
            return f"the environment has no sign-in to Microsoft Entra: {by_environment}"
        case _:
            chosen = os.environ.get("AZURE_TOKEN_CREDENTIALS", "").strip()
            narrowed = f" (AZURE_TOKEN_CREDENTIALS is {chosen})" if chosen else ""
            return f"nobody is signed in to Microsoft Entra{narrowed}; run `az login{tenant}`, or {by_environment}"


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
