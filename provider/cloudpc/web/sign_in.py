"""Signing in by Microsoft Entra: msal's authorization code flow.

The browser is sent to the tenant with a state, a nonce and a PKCE challenge, and comes back with a code that is good
once. The token for it comes from Entra to this server directly, over TLS, so its signature needs no check (OpenID
Connect Core 3.1.3.7); what it says is checked here, since msal does not. It is used for nothing else, and not kept.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from cloudpc.cli.output import CommandError
from cloudpc.microsoft.sign_in import proxy_note
from cloudpc.model.masking import masked
from cloudpc.web.person import Person
from cloudpc.web.registration import CERTIFICATE, SECRET, Registration

log = logging.getLogger(__name__)

FLOW_SECONDS = 600.0
"""From leaving for the tenant to coming back; a code of Entra's lasts as long."""
_MOST_FLOWS = 5000
_SKEW = 300.0
_TIMEOUT = 20.0

_OF_THIS_SERVER = "This server's own sign-in to Microsoft Entra is refused; its terminal says why."
_SAID = {
    "notBegun": "This sign-in has not begun in this browser, was used already, or took more than ten minutes.",
    "state": "This answer is not to the sign-in that this browser has begun last.",
    "nonce": "The tenant's answer is not to the sign-in that this browser has begun.",
    "answer": "The tenant's answer can't be read.",
    "token": "The tenant's answer is not meant for this server, or has expired; its clock may be wrong.",
    "tenant": "Your account is not one of the tenant that this server serves.",
    "noId": "The tenant's answer doesn't say who you are: it has no `oid`. The application needs "
    "the permission profile.",
    "unreachable": "Microsoft Entra can't be reached from this server; its terminal says why.",
    "access_denied": "The sign-in was cancelled, or is not allowed.",
    "consent_required": "The application has no consent in the tenant: an administrator has to grant it.",
    "AADSTS65001": "The application has no consent in the tenant: an administrator has to grant it.",
    "AADSTS65004": "You have not agreed to the application's permissions, without which it can't know who you are.",
    "AADSTS90094": "The application has no consent in the tenant: an administrator has to grant it.",
    "AADSTS50105": "You are not assigned to the application: an administrator of the tenant can do that.",
    "AADSTS50020": "Your account is not one of the tenant that this server serves.",
    "AADSTS50057": "Your account is disabled.",
    "AADSTS53003": "The tenant's Conditional Access blocks this sign-in.",
    "AADSTS54005": "The tenant's answer was used already.",
    "AADSTS70008": "The tenant's answer has expired.",
}
"""What a refusal means to whoever signs in, by our code, Entra's number, or OAuth's name."""
_TOLD = {
    "AADSTS700016": "the application of --client-id is not known in the tenant of --tenant",
    "AADSTS7000215": f"the secret in {SECRET} is wrong: the secret's value is wanted, not its id",
    "AADSTS7000222": f"the secret in {SECRET} has expired; make a new one in the application's registration",
    "AADSTS7000218": f"the application wants a secret or a certificate; set {SECRET} or {CERTIFICATE}, or allow public "
    "client flows in its registration",
    "AADSTS700025": f"the application is a public client, which has no secret; unset {SECRET} and {CERTIFICATE}",
    "AADSTS700027": f"the certificate in {CERTIFICATE} is not one of the application's",
    "AADSTS50011": "the address of /signed-in is not one of the application's redirect URIs",
    "AADSTS9002327": "the redirect URI is registered as a single-page application's; register it for the platform Web",
}
"""What only whoever runs the server can put right."""
_TOO_MANY_GROUPS = (
    "You are in more groups than the tenant's answer can name, so that nobody knows whether you are an admin. An "
    "administrator can have it name only the groups that are assigned to the application, or give admins a role of it."
)


class RefusedError(Exception):
    """Somebody is not signed in.

    Args:
        code: a key of `_SAID` or `_TOLD`, or whatever else Entra has answered.
        who: their name, where that is known.
    """

    def __init__(self, code: str, who: str = "") -> None:
        super().__init__(code)
        self.code, self.who = code, who

    @property
    def text(self) -> str:
        """For whoever signs in."""
        if self.code in _TOLD:
            return _OF_THIS_SERVER
        return _SAID.get(self.code, f"Microsoft Entra has refused the sign-in ({self.code}).")

    @property
    def status(self) -> int:
        """Of the page."""
        is_ours = self.code in _TOLD or self.code == "unreachable"
        return HTTPStatus.BAD_GATEWAY if is_ours else HTTPStatus.FORBIDDEN


@dataclass(frozen=True)
class SignedIn:
    """Somebody is."""

    person: Person
    next: str
    """The page that they wanted."""
    note: str = ""
    """What they should read first."""


@dataclass(frozen=True)
class _Begun:
    flow: dict[str, Any] = field(repr=False)
    next: str
    ends: float


class SignIn:
    """The sign-in of one server.

    Args:
        registration: by which application.
        clock: seconds, which only go up.

    Raises:
        CommandError: Entra can't be reached, or has no such tenant.
    """

    def __init__(self, registration: Registration, clock: Callable[[], float] = time.monotonic) -> None:
        self.registration, self._clock = registration, clock
        self._begun: dict[str, _Begun] = {}
        self._lock = threading.Lock()
        self._application = _application(registration)

    @property
    def sign_out_address(self) -> str:
        """Where one signs out of the tenant, too."""
        return f"{self.registration.authority}/{self.registration.tenant_id}/oauth2/v2.0/logout"

    def begin(self, address: str, then: str) -> tuple[str, str]:
        """A key for the browser to come back with, and where it is to go.

        Args:
            address: this server's, as browsers have it.
            then: the page that is wanted, if it is one of ours.
        """
        flow = self._application.initiate_auth_code_flow(
            [],
            redirect_uri=f"{address}/signed-in",
            # as a form it would be another site's POST, with which browsers send no cookies, and the Guard lets none in
            response_mode="query",
        )
        key, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._begun = {k: begun for k, begun in self._begun.items() if begun.ends > now}
            while len(self._begun) >= _MOST_FLOWS:
                del self._begun[next(iter(self._begun))]
            self._begun[key] = _Begun(flow, _local(then), now + FLOW_SECONDS)
        return key, str(flow["auth_uri"])

    def finish(self, key: str, answer: Mapping[str, str]) -> SignedIn:
        """Who came back. Raises RefusedError."""
        begun = self._taken(key, answer.get("state", ""))
        result = self._redeemed(begun.flow, answer)
        if "error" in result:
            raise _refusal(result)
        claims = result.get("id_token_claims")
        return self._who(claims if isinstance(claims, dict) else {}, begun.next)

    def _taken(self, key: str, state: str) -> _Begun:
        """What has begun with that key, once; an answer with another state leaves it as it is."""
        with self._lock:
            begun = self._begun.get(key)
            if begun is None or begun.ends <= self._clock():
                raise RefusedError("notBegun")
            if not secrets.compare_digest(str(begun.flow["state"]).encode(), state.encode()):
                raise RefusedError("state")
            return self._begun.pop(key)

    def _redeemed(self, flow: dict[str, Any], answer: Mapping[str, str]) -> Mapping[str, Any]:
        from msal.exceptions import MsalError
        from requests import RequestException

        known = {name: answer[name] for name in ("state", "code", "error", "error_description") if name in answer}
        try:
            result: Mapping[str, Any] = self._application.acquire_token_by_auth_code_flow(flow, known)
        except (RequestException, MsalError, OSError) as error:
            log.error("sign-in: Microsoft Entra can't be reached: %s", masked(str(error)))  # noqa: TRY400
            raise RefusedError("unreachable") from None
        except RuntimeError:  # msal's for a nonce that is not the flow's
            raise RefusedError("nonce") from None
        except (ValueError, LookupError, TypeError, AttributeError):
            raise RefusedError("answer") from None
        return result

    def _who(self, claims: Mapping[str, Any], then: str) -> SignedIn:
        ours, id_ = self.registration, claims.get("oid")
        name = str(claims.get("preferred_username") or claims.get("name") or id_ or "")[:256]
        if str(claims.get("tid", "")).lower() != ours.tenant_id:
            raise RefusedError("tenant", name)
        ends = claims.get("exp")
        is_in_time = isinstance(ends, int | float) and ends > time.time() - _SKEW
        is_issued = str(claims.get("iss", "")).lower().endswith(f"/{ours.tenant_id}/v2.0")
        if claims.get("aud") != ours.client_id or not is_in_time or not is_issued:
            raise RefusedError("token", name)
        if not isinstance(id_, str) or not id_:
            raise RefusedError("noId", name)
        groups = {group.lower() for group in _texts(claims, "groups")}
        is_admin = ours.admin_role in _texts(claims, "roles") or ours.admin_group in groups
        unnamed = claims.get("_claim_names")
        is_cut = bool(claims.get("hasgroups")) or (isinstance(unnamed, dict) and "groups" in unnamed)
        note = _TOO_MANY_GROUPS if ours.admin_group and is_cut and not is_admin else ""
        return SignedIn(Person(name, is_admin, id_), then, note)


def _application(ours: Registration) -> Any:
    """Msal's."""
    import msal
    from requests import RequestException

    class Nothing(msal.TokenCache):  # type: ignore[misc]
        """Keeps no token: none is used again."""

        def add(self, event: Any, now: Any = None) -> None:
            """See msal."""

    # it recommends form_post, of which `begin` says why not
    warnings.filterwarnings("ignore", message="response_mode=", module=r"msal\.")
    kind = msal.ConfidentialClientApplication if ours.credential else msal.PublicClientApplication
    try:
        return kind(
            ours.client_id,
            **({"client_credential": ours.credential} if ours.credential else {}),
            authority=f"{ours.authority}/{ours.tenant_id}",
            instance_discovery=False,  # it would ask the public cloud which hosts are Microsoft's: clouds.py says that
            exclude_scopes=["offline_access"],
            token_cache=Nothing(),
            timeout=_TIMEOUT,
        )
    except (RequestException, OSError) as error:
        why = masked(" ".join(str(error).split()))[:300]
        message = f"The sign-in at {ours.authority} can't be reached: {why}{proxy_note(ours.authority)}"
        raise CommandError(message) from None
    except ValueError as error:
        if "authority configuration" not in str(error):
            raise CommandError(f"The sign-in at {ours.authority} can't be used: {_first_line(error)}") from None
        message = f"There is no tenant {ours.tenant_id} at {ours.authority}. Check --tenant"
        raise CommandError(message) from None
    except Exception as error:  # noqa: BLE001 - msal passes on whatever its libraries raise
        raise CommandError(f"The sign-in at {ours.authority} can't be used: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return masked(next(iter(str(error).splitlines()), ""))[:300] or type(error).__name__


def _texts(claims: Mapping[str, Any], name: str) -> set[str]:
    values = claims.get(name)
    return {each for each in values if isinstance(each, str)} if isinstance(values, list) else set()


def _refusal(result: Mapping[str, Any]) -> RefusedError:
    """By Entra's own number. Its text is not shown: in an address anybody may have written it."""
    number = re.search(r"AADSTS(\d{1,10})", str(result.get("error_description", "")))
    named = re.fullmatch(r"[a-z_]{1,40}", str(result.get("error", "")))
    code = f"AADSTS{number[1]}" if number else named[0] if named else "answer"
    if code not in _SAID and code not in _TOLD and named and named[0] in _SAID:
        code = named[0]
    if code in _TOLD:
        log.error("sign-in: %s: %s", code, _TOLD[code])
    return RefusedError(code)


def _local(address: str) -> str:
    """A page of ours; any other address becomes the start."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/"
    is_ours = address.startswith("/") and not address.startswith("//") and not parts.scheme and not parts.netloc
    is_plain = address.isascii() and address.isprintable() and not set(address) & set(" \\\"'<>")
    return address if is_ours and is_plain else "/"
