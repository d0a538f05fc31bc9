"""Signing in with a browser: Entra's authorization endpoint, its codes, and the tokens that say who somebody is."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.support.http_server import Answer
from tests.support.web_tokens import unsigned
from tests.tenant.tenant import Tenant


@dataclass
class Pages:
    """What a registration says of an application that people sign in to.

    Args:
        redirects: its redirect URIs; of localhost's the port is not compared.
        is_public: whether it has no secret.
        roles: its roles, by user.
        names_groups: whether its tokens have `groups`.
    """

    redirects: frozenset[str] = frozenset({"http://localhost/signed-in", "https://cloudpcs.example/signed-in"})
    is_public: bool = False
    roles: dict[str, list[str]] = field(default_factory=dict)
    names_groups: bool = True


@dataclass(frozen=True)
class _Code:
    client_id: str
    redirect: str
    challenge: str
    nonce: str
    user_id: str


class CodeFlow:
    """Of one tenant.

    Args:
        tenant: whose users sign in.
    """

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self.pages: dict[str, Pages] = {}
        """By application."""
        self.user = ""
        """Who sits at the browser: id, or that of the directory's file."""
        self.refuses: tuple[str, str] | None = None
        """`error` and `error_description` with which the browser comes back."""
        self.changes: Callable[[dict[str, Any]], None] = lambda _: None
        """Given the claims of each token before it is issued."""
        self.asked: list[dict[str, str]] = []
        """Parameters of each request to sign in."""
        self._codes: dict[str, _Code] = {}

    def authorize(self, query: str) -> Answer:
        """GET /oauth2/v2.0/authorize: back to the application, with a code or an error."""
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        self.asked.append(asked)
        application, redirect = self.pages.get(asked.get("client_id", "")), asked.get("redirect_uri", "")
        if application is None:
            return Answer(400, {"error": "AADSTS700016"})
        if _without_port(redirect) not in application.redirects:
            return Answer(400, {"error": "AADSTS50011"})  # Entra says this on a page of its own
        if self.refuses:
            back = {"error": self.refuses[0], "error_description": self.refuses[1]}
        elif asked.get("response_type") != "code" or asked.get("code_challenge_method") != "S256":
            back = {"error": "invalid_request", "error_description": "AADSTS900144: The request lacks a parameter."}
        else:
            code = secrets.token_urlsafe(16)
            user = self._tenant.find_user(self.user)
            assert user, self.user
            self._codes[code] = _Code(
                asked["client_id"], redirect, asked["code_challenge"], asked.get("nonce", ""), user["id"]
            )
            back = {"code": code, "session_state": secrets.token_hex(8)}
        return Answer(302, None, {"Location": f"{redirect}?{urlencode({**back, 'state': asked.get('state', '')})}"})

    def refusal(self, form: dict[str, str]) -> tuple[int, str] | None:
        """Why there is no token for a code: Entra's number and text. A code is good once."""
        code = self._codes.get(form.get("code", ""))
        if code is None:
            return 54005, "OAuth2 Authorization code was already redeemed."
        if (code.client_id, code.redirect) != (form.get("client_id"), form.get("redirect_uri")):
            return 50011, "The reply URL specified in the request does not match."
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if urlsafe_b64encode(digest).rstrip(b"=").decode() != code.challenge:
            return 501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request."
        return None

    def token(self, form: dict[str, str], issuer: str) -> dict[str, str]:
        """Who it was, for a code that is not refused."""
        code = self._codes.pop(form["code"])
        user, pages = self._tenant.users[code.user_id], self.pages[code.client_id]
        now = int(self._tenant.clock().timestamp())
        claims: dict[str, Any] = {
            "iss": issuer, "aud": code.client_id, "iat": now, "nbf": now, "exp": now + 3600, "ver": "2.0",
            "tid": self._tenant.tenant_id, "oid": user["id"], "sub": secrets.token_urlsafe(16), "nonce": code.nonce,
            "name": user["displayName"], "preferred_username": user["userPrincipalName"],
        }  # fmt: skip
        if roles := pages.roles.get(self.user):
            claims["roles"] = roles
        groups = [group for group, members in self._tenant.members.items() if user["id"] in members]
        if pages.names_groups and groups:
            claims["groups"] = groups
        self.changes(claims)
        return {"id_token": unsigned(claims), "scope": "openid profile"}


def _without_port(address: str) -> str:
    parts = urlsplit(address)
    return re.sub(r":\d+", "", address, count=1) if parts.hostname == "localhost" and parts.port else address
