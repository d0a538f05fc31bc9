"""Active Directory over LDAPS: the computer account of a Cloud PC, from its making in the OU to its disabling.

Ours is an account whose description has our mark and that we have made, as the domain itself says (owner, or
mS-DS-CreatorSID); anything else is never changed. Nothing here deletes an account: Windows 365 leaves disabled ones to
the admin as well.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from cloudpc.devices import account_mark
from cloudpc.devices.domain_accounts import DomainAccounts, words
from cloudpc.devices.domain_errors import (
    NO_SECOND_TRY,
    PASSES,
    REFUSED_SIGN_IN,
    DomainError,
    NameTakenInDomainError,
)
from cloudpc.files import secret_file
from cloudpc.model.check import Check
from cloudpc.model.connection import DomainController, OnPremisesConnection
from cloudpc.model.credentials import generate_password
from cloudpc.model.devices import ComputerAccount, Controller, Join, NameTakenError, OwnedDevice
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.text import in_utc

if TYPE_CHECKING:
    from ldap3 import Connection

_T = TypeVar("_T")

_PORT = 636
_NO_PEM = (
    "holds no certificate in PEM (Base-64); `openssl x509 -inform der -in FILE -out ca.pem` makes that of a DER file"
)
_CONNECT_SECONDS, _ANSWER_SECONDS = 10, 30


class ActiveDirectory:
    """One domain, as a connection names it. Holds no connection and no secret between calls; used from many threads.

    Args:
        connection_id: name of the file in connections/, which recorded accounts bear.
        connection: with adDomainName, adDomainUsername and adDomainPassword.
        folder: where that file lies: caCertificate is relative to it.
    """

    def __init__(self, connection_id: str, connection: OnPremisesConnection, folder: Path) -> None:
        if connection.ad_domain_name is None:
            raise ValueError(f"{connection_id} names no domain")
        self._id = connection_id
        self._connection = connection
        self._folder = folder
        self._domain = connection.ad_domain_name.lower()
        self._sign_in = threading.Lock()
        self._refused: tuple[bytes, str, str] | None = None
        """The password that was refused, hashed; the error's kind and its message."""
        self._made_at: dict[str, DomainController] = {}
        """Which controller has made or reset an account, by its name: others come to know it minutes later."""

    def prepare_join(self, computer: str, owner: str) -> Join:
        """Make the computer account in the OU (or reset our own of that name), with a one-time password.

        The account can do nothing before the guest has joined: nobody but the guest gets the password.

        Raises:
            ProvisioningError: DOMAIN_JOIN_FAILED.
        """
        password = generate_password()
        account = self._asked(
            f"The computer account {computer} can't be made in {self._domain}",
            lambda domain: domain.make(computer, owner, password),
            computer,
        )
        return Join(
            account=ComputerAccount(
                connection=self._id, name=computer, object_guid=str(account.guid), distinguished_name=account.dn
            ),
            domain=self._domain,
            password=password,
            made_at=_of_guests(self._made_at[computer]),
            controllers=tuple(map(_of_guests, self._connection.domain_controllers)),
        )

    def disable(self, computer: str, recorded: ComputerAccount | None, owner: str) -> None:
        """Disable our computer account of this name, never delete it. None there: done.

        Raises:
            ProvisioningError: DOMAIN_JOIN_FAILED: not for now, to be tried again; or one of that name is not ours.
        """
        # a Cloud PC that was taken over with its machine is recorded without a GUID
        guid = UUID(recorded.object_guid) if recorded is not None and recorded.object_guid else None
        dn = recorded.distinguished_name if recorded is not None else ""
        self._asked(
            f"The computer account {computer} can't be disabled in {self._domain}",
            lambda domain: domain.disable(computer, guid, dn, owner),
            computer,
        )

    def owned(self, installation: str, besides: Collection[str] = ()) -> Sequence[OwnedDevice]:
        """See Domain.owned."""
        found = self._asked(
            f"The computer accounts in {self._domain} can't be listed", lambda domain: domain.owned(installation)
        )
        known = {description for owner in besides for description in account_mark.of(owner)}
        return [
            OwnedDevice(
                "computer account" if ours else f"computer account of another maker ({account.maker or 'not known'})",
                account.name,
                str(account.guid),
                account.description,
                account.enabled,
            )
            for account, ours in found
            if not ours or account.description not in known
        ]

    def check(self) -> list[Check]:
        """What a join needs, one thing after the other up to the first that fails. Changes nothing, never raises."""
        done: list[Check] = []
        what = ""

        def found(detail: str) -> None:
            done.append(Check(what, "passed", detail))

        try:
            what = "Domain controller"
            with self._reached() as (connection, controller):
                found(f"{controller.name} answers over LDAPS")
                what = "Domain account"
                domain = self._signed_in(connection)
                found(f"{self._connection.ad_domain_username} can sign in")
                what = "Organizational unit"
                unit = domain.place()
                found(unit)
                what = "Right to create computer accounts"
                domain.check_rights(unit)
                found(f"granted in {unit}")
        except DomainError as error:
            done.append(Check(what, "failed", error.message, error.hint, error.error_type))
        return done

    def _asked(self, failure: str, question: Callable[[DomainAccounts], _T], computer: str = "") -> _T:
        """Sign in and ask; what goes wrong is said as the failure of what was wanted.

        Args:
            failure: what could not be done then.
            question: what is asked.
            computer: the account it is about: the controller that was last asked about it comes first.
        """
        try:
            with self._reached(self._made_at.get(computer)) as (connection, controller):
                domain = self._signed_in(connection)
                if computer:
                    self._made_at[computer] = self._itself(controller, domain)
                return question(domain)
        except DomainError as error:
            kind = NameTakenError if isinstance(error, NameTakenInDomainError) else ProvisioningError
            raise kind(
                ErrorCode.DOMAIN_JOIN_FAILED,
                f"{failure}: {error.message}",
                retriable=error.retriable,
                hint=error.hint,
            ) from None

    def _itself(self, controller: DomainController, domain: DomainAccounts) -> DomainController:
        """The one controller that answers, where the domain's own name stands for all of them."""
        if controller.name.lower() != self._domain or controller.guest_address:
            return controller
        return DomainController(name=domain.controller(), address=None)

    @contextmanager
    def _reached(self, first: DomainController | None = None) -> Iterator[tuple[Connection, DomainController]]:
        """An encrypted connection to the first controller that answers, nobody signed in yet."""
        from ldap3.core.exceptions import LDAPException, LDAPOperationResult

        connection, controller = self._connect(first)
        try:
            yield connection, controller
        except LDAPOperationResult as error:  # of a search that goes on over several pages
            raise DomainError("UnknownError", f"{controller.name}: {error}", retriable=True) from None
        except LDAPException:
            message = f"{controller.name}: the connection broke, or no answer came within {_ANSWER_SECONDS} s"
            raise DomainError("ServerNotOperational", message, retriable=True) from None
        finally:
            with suppress(LDAPException):  # it sends a good-bye, even on a broken connection
                connection.unbind()

    def _connect(self, first: DomainController | None) -> tuple[Connection, DomainController]:
        # The domain's own name stands for all its controllers in its DNS; a controller's certificate bears it as well.
        controllers = self._connection.domain_controllers or [DomainController(name=self._domain)]
        failures: list[DomainError] = []
        for controller in dict.fromkeys([*([first] if first else []), *controllers]):
            try:
                return self._open(controller), controller
            except DomainError as error:
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        kind = failures[-1].error_type.removeprefix("adJoinCheck")
        words = "; ".join(failure.message for failure in failures)
        raise DomainError(kind, words, retriable=any(failure.retriable for failure in failures))

    def _open(self, controller: DomainController) -> Connection:
        from ldap3 import NONE, Connection, Server, Tls
        from ldap3.core.exceptions import LDAPException

        address = controller.address or controller.name
        try:
            socket.getaddrinfo(address, _PORT, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DomainError("FqdnNotFound", f"{address} is not found: {reason}", retriable=True) from None
        # A certificate of the address, where that is a name itself, is as good: it stands in the same file.
        tls = Tls(
            validate=ssl.CERT_REQUIRED,
            ca_certs_file=self._authorities(),
            valid_names=[controller.name],
            sni=controller.name,
        )
        server = Server(address, port=_PORT, use_ssl=True, tls=tls, get_info=NONE, connect_timeout=_CONNECT_SECONDS)
        connection = Connection(
            server,
            user=self._connection.ad_domain_username,
            password=self._password(),
            auto_referrals=False,  # they would carry the password elsewhere
            receive_timeout=_ANSWER_SECONDS,
            raise_exceptions=False,
        )
        try:
            connection.open(read_server_info=False)
        except LDAPException as error:
            text = str(error)
            if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text:
                raise DomainError("ServerNotOperational", f"{controller.name}: {_untrusted(text)}") from None
            message = f"{controller.name} does not answer on port {_PORT} of {address}"
            raise DomainError("ServerNotOperational", message, retriable=True) from None
        return connection

    def _authorities(self) -> str | None:
        name = self._connection.ca_certificate
        if name is None:
            return None
        path = self._folder / name
        try:
            ssl.create_default_context(cafile=str(path))
        except OSError as error:  # SSLError is one, too
            reason = _NO_PEM if isinstance(error, ssl.SSLError) else error.strerror
            raise DomainError("ServerNotOperational", f"caCertificate {name}: {reason}") from None
        return str(path)

    def _password(self) -> str:
        reference = self._connection.ad_domain_password
        assert reference is not None  # noqa: S101 - see OnPremisesConnection
        try:
            if password := secret_file.read(reference):
                return password
        except LookupError as error:
            raise DomainError("IncorrectCredentials", f"adDomainPassword: {error.args[0]}") from None
        raise DomainError("IncorrectCredentials", "adDomainPassword: it is empty")

    def _signed_in(self, connection: Connection) -> DomainAccounts:
        password = hashlib.sha256(connection.password.encode()).digest()
        # One at a time, and a refused password is not tried again: all Cloud PCs come here at once, and a few more
        # tries would lock the account.
        with self._sign_in:
            if self._refused is not None and self._refused[0] == password:
                raise DomainError(*self._refused[1:])
            if not connection.bind(read_server_info=False):
                message = connection.result["message"]
                number = message.partition("data ")[2].partition(",")[0].strip().lower()
                kind, reason = REFUSED_SIGN_IN.get(number, ("UnknownError", words(connection)))
                message = f"{self._connection.ad_domain_username} can't sign in: {reason}"
                if kind in NO_SECOND_TRY:
                    self._refused = password, kind, message
                raise DomainError(kind, message, retriable=connection.result["description"] in PASSES)
        domain = DomainAccounts(connection, self._domain, self._connection)
        domain.check_name()
        return domain


def _untrusted(reason: str) -> str:
    """Why a certificate does not count, of what OpenSSL and ldap3 say."""
    if "has expired" in reason or "not yet valid" in reason:
        when = "has expired" if "has expired" in reason else "is not yet valid"
        return f"its certificate, or its CA's, {when} by this machine's clock ({in_utc(datetime.now(UTC))})"
    return "its certificate is not of that name" if "match" in reason else "its certificate is not trusted"


def _of_guests(controller: DomainController) -> Controller:
    return Controller(controller.name, controller.guest_address or "")
