"""Access tokens: JSON Web Tokens that nobody signed."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.azure.errors import ArmFault
from tests.support.web_tokens import claims_of, unsigned

AUDIENCE = "https://management.azure.com"


def issue(tenant: str, now: float, lifetime: float, audience: str = AUDIENCE) -> str:
    """A token of a tenant.

    Args:
        tenant: its id.
        now: seconds since the epoch.
        lifetime: seconds.
        audience: the service it is for.
    """
    return unsigned({
        "aud": audience, "iss": f"https://sts.windows.net/{tenant}/", "tid": tenant, "iat": int(now),
        "exp": int(now + lifetime), "oid": str(uuid4()), "appid": str(uuid4()),
    })  # fmt: skip


def check(authorization: str | None, tenant: str, now: float, valid_from: float = 0) -> None:
    """The token of an Authorization header, or ArmFault 401.

    Args:
        authorization: the header.
        tenant: of the subscription.
        now: seconds since the epoch.
        valid_from: tokens that were issued before this have ended.
    """
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not text:
        raise _refused("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.", tenant)
    claims = _claims(text.strip(), tenant)
    if str(claims.get("aud", "")).rstrip("/") not in (AUDIENCE, "https://management.core.windows.net"):
        raise _refused("InvalidAuthenticationTokenAudience", "The access token has been obtained for wrong audience or "
                       f"resource '{claims.get('aud')}'.", tenant)  # fmt: skip
    if claims.get("tid") != tenant:
        raise _refused("InvalidAuthenticationTokenTenant", f"The access token is from the wrong issuer. It must match "
                       f"the tenant '{tenant}' associated with this subscription.", tenant)  # fmt: skip
    if float(claims.get("exp", 0)) <= now or float(claims.get("iat", now)) < int(valid_from):
        raise _refused("ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than current UTC "
                       "time.", tenant)  # fmt: skip


def _claims(text: str, tenant: str) -> dict[str, Any]:
    try:
        return claims_of(text)
    except ValueError:
        raise _refused("InvalidAuthenticationToken", "The access token is invalid.", tenant) from None


def _refused(code: str, message: str, tenant: str) -> ArmFault:
    challenge = f'Bearer authorization_uri="https://login.windows.net/{tenant}", error="invalid_token"'
    return ArmFault(code, message, 401, WWW_Authenticate=challenge)
