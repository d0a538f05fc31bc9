"""Access tokens: JSON Web Tokens that nobody signed."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import uuid4

from tests.azure.errors import ArmFault

AUDIENCE = "https://management.azure.com"


def issue(tenant: str, expires: float, audience: str = AUDIENCE) -> str:
    """A token of a tenant.

    Args:
        tenant: its id.
        expires: seconds since the epoch.
        audience: the service it is for.
    """
    claims = {
        "aud": audience, "iss": f"https://sts.windows.net/{tenant}/", "tid": tenant, "exp": int(expires),
        "oid": str(uuid4()), "appid": str(uuid4()),
    }  # fmt: skip
    return ".".join((_encoded({"alg": "none", "typ": "JWT"}), _encoded(claims), "unsigned"))


def check(authorization: str | None, tenant: str, now: float) -> None:
    """The token of an Authorization header, or ArmFault 401."""
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
    if float(claims.get("exp", 0)) <= now:
        raise _refused("ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than current UTC "
                       "time.", tenant)  # fmt: skip


def _claims(text: str, tenant: str) -> dict[str, Any]:
    try:
        part = text.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        claims = None
    if not isinstance(claims, dict):
        raise _refused("InvalidAuthenticationToken", "The access token is invalid.", tenant)
    return claims


def _refused(code: str, message: str, tenant: str) -> ArmFault:
    challenge = f'Bearer authorization_uri="https://login.windows.net/{tenant}", error="invalid_token"'
    return ArmFault(code, message, 401, WWW_Authenticate=challenge)


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
