"""Active Directory over LDAPS: the computer account of a Cloud PC, from its making in the OU to its disabling.

An account says whose it is in its description, `cloudpc:<owner>`: whoever has made a computer account may write that,
and an admin sees it in each list. Ours is what bears our installation, user and service plan; anything else is never
changed. Nothing here deletes an account: Windows 365 leaves disabled ones to the admin as well.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from cloudpc.connections.files import DomainController, OnPremisesConnection
from cloudpc.connections.health import HealthCheck
from cloudpc.devices.interface import ComputerAccount, Join, OwnedDevice
from cloudpc.provisioning.credentials import generate_password
from cloudpc.provisioning.errors import ErrorCode, ProvisioningError

if TYPE_CHECKING:
    from ldap3 import Connection

_T = TypeVar("_T")

_PORT = 636
_CONNECT_SECONDS, _ANSWER_SECONDS = 10, 30
_PAGE = 500
_TAG = "cloudpc:"

# of userAccountControl
_DISABLED = 0x2
_WORKSTATION = 0x1000

_COMPUTERS_CONTAINER = "B:32:AA312825768811D1ADED00C04FD8D5CD:"
"""In the domain's wellKnownObjects: where computers go that nobody gave a place; admins may redirect it."""
_ATTRIBUTES = ["objectGUID", "sAMAccountName", "userAccountControl", "description"]

# `data` of a refused bind: what Active Directory adds to "invalid credentials"
_REFUSED_SIGN_IN = {
    "525": ("IncorrectCredentials", "there is no such account"),
    "52e": ("IncorrectCredentials", "account or password is wrong"),
    "530": ("AccessDenied", "the account may not sign in at this time"),
    "531": ("AccessDenied", "the account may not sign in from this machine"),
    "532": ("CredentialsExpired", "its password has expired"),
    "533": ("AccountLockedOrDisabled", "the account is disabled"),
    "701": ("CredentialsExpired", "the account has expired"),
    "773": ("CredentialsExpired", "its password must be changed first"),
    "775": ("AccountLockedOrDisabled", "the account is locked"),
}
_NO_SECOND_TRY = {"IncorrectCredentials", "CredentialsExpired", "AccountLockedOrDisabled"}
"""What a refused sign-in says about the password or the account, whoever asks next."""
_ACTIONS = {
    "AccessDenied": "Delegate to adDomainUsername on the organizational unit: create computer objects "
    "(docs/active-directory.md).",
    "AccountLockedOrDisabled": "Unlock or enable the account of adDomainUsername.",
    "AccountQuotaExceeded": "Delegate to adDomainUsername on the organizational unit: create computer objects; only "
    "without it ms-DS-MachineAccountQuota counts.",
    "ComputerObjectAlreadyExists": "Rename or remove the account of that name, or reprovision: a new Cloud PC gets "
    "a new name.",
    "CredentialsExpired": "Renew the password of adDomainUsername, and put it where adDomainPassword says.",
    "FqdnNotFound": "Check adDomainName and the DNS of this machine, or name domainControllers with their address.",
    "IncorrectCredentials": "Check adDomainUsername, and the secret that adDomainPassword names.",
    "OrganizationalUnitIncorrectFormat": "Write organizationalUnit as OU=…,DC=…, with \\ before special characters.",
    "OrganizationalUnitNotFound": "Check organizationalUnit, and that adDomainUsername may read it.",
    "ServerNotOperational": "Check that port 636 of the domain's controllers is reachable from here, and that "
    "caCertificate names the CA of their certificates.",
    "UnknownError": "The domain controller's event log says more.",
}

# Arguments: domain, realm, computer, its fully qualified name, then controller and address as guests see it, in pairs;
# standard input: the one-time password. adcli signs in as the computer with it, sets a password that only the guest
# knows, and writes the keytab.
_JOIN = r"""
set -eu
domain=$1 realm=$2 computer=$3 fqdn=$4
shift 4
command -v adcli >/dev/null || { echo "the image has no adcli, which joins a domain" >&2; exit 1; }
password=$(cat)

# Host names are not looked up backwards: the addresses of user-mode networking have no names, and others' may be wrong.
{
    printf '[libdefaults]\n\tdefault_realm = %s\n\trdns = false\n\tdns_canonicalize_hostname = false\n' "$realm"
    printf '[domain_realm]\n\t%s = %s\n\t.%s = %s\n' "$domain" "$realm" "$domain" "$realm"
    [ $# -eq 0 ] || printf '[realms]\n\t%s = {\n' "$realm"
} > /etc/krb5.conf.cloudpc
sed -i '/# cloudpc: domain controller$/d' /etc/hosts
controllers=''
while [ $# -gt 0 ]; do
    controllers="$controllers $1"
    [ -z "$2" ] || printf '%s\t%s # cloudpc: domain controller\n' "$2" "$1" >> /etc/hosts
    printf '\t\tkdc = %s\n\t\tkpasswd_server = %s\n' "$1" "$1" >> /etc/krb5.conf.cloudpc
    shift 2
done
[ -z "$controllers" ] || printf '\t}\n' >> /etc/krb5.conf.cloudpc
mv /etc/krb5.conf.cloudpc /etc/krb5.conf

join() { # [--domain-controller=NAME]
    printf %s "$password" | adcli join "$@" --domain="$domain" --domain-realm="$realm" --computer-name="$computer" \
        --host-fqdn="$fqdn" --login-type=computer --stdin-password && adcli testjoin "$@" </dev/null
}
[ -n "$controllers" ] || { join; exit; }
for controller in $controllers; do # names of hosts: no spaces in them
    ! join "--domain-controller=$controller" || exit 0
done
exit 1
"""


class _DomainError(Exception):
    """What the domain has refused, or why it can't be asked.

    Args:
        kind: Graph's errorType without its `adJoinCheck`.
        message: in words, without a secret.
        retriable: whether it can end differently without anybody doing anything.
    """

    def __init__(self, kind: str, message: str, *, retriable: bool = False) -> None:
        super().__init__(message)
        self.error_type = f"adJoinCheck{kind}"
        self.recommended_action = _ACTIONS[kind]
        self.message = message
        self.retriable = retriable


@dataclass(frozen=True)
class _Computer:
    """A computer account as the domain holds it."""

    dn: str
    guid: UUID
    name: str
    control: int
    owner: str
    """From our tag; empty where there is none."""

    @property
    def enabled(self) -> bool:
        return not self.control & _DISABLED


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
        )
        controllers = [part for c in self._connection.domain_controllers for part in (c.name, c.guest_address or "")]
        fqdn = f"{computer.lower()}.{self._domain}"
        return Join(
            account=ComputerAccount(
                connection=self._id, name=computer, object_guid=str(account.guid), distinguished_name=account.dn
            ),
            argv=("/bin/sh", "-c", _JOIN, "join", self._domain, self._domain.upper(), computer, fqdn, *controllers),
            stdin=password.encode(),
        )

    def disable(self, computer: str, recorded: ComputerAccount | None, owner: str) -> None:
        """Disable our computer account of this name, never delete it. None there: done.

        Raises:
            ProvisioningError: DOMAIN_JOIN_FAILED: not for now; to be tried again.
        """
        # a Cloud PC that was taken over with its machine is recorded without a GUID
        guid = UUID(recorded.object_guid) if recorded is not None and recorded.object_guid else None
        self._asked(
            f"The computer account {computer} can't be disabled in {self._domain}",
            lambda domain: domain.disable(computer, guid, owner),
        )

    def owned(self, installation: str) -> Sequence[OwnedDevice]:
        """All computer accounts with this installation's owner tag, enabled or not. Raises ProvisioningError."""
        found = self._asked(
            f"The computer accounts in {self._domain} can't be listed", lambda domain: domain.owned(installation)
        )
        return [
            OwnedDevice("computer account", account.name, str(account.guid), account.owner, account.enabled)
            for account in found
        ]

    def check(self) -> list[HealthCheck]:
        """What a join needs, one thing after the other up to the first that fails. Changes nothing, never raises."""
        done: list[HealthCheck] = []
        what = ""

        def found(detail: str) -> None:
            done.append(HealthCheck(what, "passed", additional_detail=detail))

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
        except _DomainError as error:
            done.append(HealthCheck(what, "failed", error.error_type, error.recommended_action, error.message))
        return done

    def _asked(self, failure: str, question: Callable[[_Domain], _T]) -> _T:
        """Sign in and ask; what goes wrong is said as the failure of what was wanted."""
        try:
            with self._reached() as (connection, _):
                return question(self._signed_in(connection))
        except _DomainError as error:
            raise ProvisioningError(
                ErrorCode.DOMAIN_JOIN_FAILED,
                f"{failure}: {error.message}",
                retriable=error.retriable,
                hint=error.recommended_action,
            ) from None

    @contextmanager
    def _reached(self) -> Iterator[tuple[Connection, DomainController]]:
        """An encrypted connection to the first controller that answers, nobody signed in yet."""
        from ldap3.core.exceptions import LDAPException, LDAPOperationResult

        connection, controller = self._connect()
        try:
            yield connection, controller
        except LDAPOperationResult as error:  # of a search that goes on over several pages
            raise _DomainError("UnknownError", f"{controller.name}: {error}", retriable=True) from None
        except LDAPException:
            message = f"{controller.name}: the connection broke, or no answer came within {_ANSWER_SECONDS} s"
            raise _DomainError("ServerNotOperational", message, retriable=True) from None
        finally:
            with suppress(LDAPException):  # it says good-bye, also on a broken connection
                connection.unbind()

    def _connect(self) -> tuple[Connection, DomainController]:
        # The domain's own name stands for all its controllers in its DNS; a controller's certificate bears it as well.
        controllers = self._connection.domain_controllers or [DomainController(name=self._domain)]
        failures: list[_DomainError] = []
        for controller in controllers:
            try:
                return self._open(controller), controller
            except _DomainError as error:
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        kind = failures[-1].error_type.removeprefix("adJoinCheck")
        words = "; ".join(failure.message for failure in failures)
        raise _DomainError(kind, words, retriable=any(failure.retriable for failure in failures))

    def _open(self, controller: DomainController) -> Connection:
        from ldap3 import NONE, Connection, Server, Tls
        from ldap3.core.exceptions import LDAPException

        address = controller.address or controller.name
        try:
            socket.getaddrinfo(address, _PORT, type=socket.SOCK_STREAM)
        except OSError as error:
            reason = error.strerror or error
            raise _DomainError("FqdnNotFound", f"{address} is not found: {reason}", retriable=True) from None
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
                reason = "its certificate is not of that name" if "match" in text else "its certificate is not trusted"
                raise _DomainError("ServerNotOperational", f"{controller.name}: {reason}") from None
            message = f"{controller.name} does not answer on port {_PORT} of {address}"
            raise _DomainError("ServerNotOperational", message, retriable=True) from None
        return connection

    def _authorities(self) -> str | None:
        name = self._connection.ca_certificate
        if name is None:
            return None
        path = self._folder / name
        try:
            ssl.create_default_context(cafile=str(path))
        except OSError as error:  # SSLError is one, too
            reason = "holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise _DomainError("ServerNotOperational", f"caCertificate {name}: {reason}") from None
        return str(path)

    def _password(self) -> str:
        reference = self._connection.ad_domain_password
        assert reference is not None  # noqa: S101 - see OnPremisesConnection
        try:
            if password := reference.read():
                return password
        except LookupError as error:
            raise _DomainError("IncorrectCredentials", f"adDomainPassword: {error.args[0]}") from None
        raise _DomainError("IncorrectCredentials", "adDomainPassword: it is empty")

    def _signed_in(self, connection: Connection) -> _Domain:
        password = hashlib.sha256(connection.password.encode()).digest()
        # One at a time, and a refused password not again: a few times more, and the account would be locked, for all
        # Cloud PCs come here at once.
        with self._sign_in:
            if self._refused is not None and self._refused[0] == password:
                raise _DomainError(*self._refused[1:])
            if not connection.bind(read_server_info=False):
                message = connection.result["message"]
                number = message.partition("data ")[2].partition(",")[0].strip().lower()
                kind, reason = _REFUSED_SIGN_IN.get(number, ("UnknownError", _words(connection)))
                message = f"{self._connection.ad_domain_username} can't sign in: {reason}"
                if kind in _NO_SECOND_TRY:
                    self._refused = password, kind, message
                raise _DomainError(kind, message)
        domain = _Domain(connection, self._domain, self._connection.organizational_unit)
        domain.check_name()
        return domain


class _Domain:
    """The domain, to somebody who has signed in."""

    def __init__(self, connection: Connection, name: str, organizational_unit: str | None) -> None:
        self._connection = connection
        self._name = name
        self._base = ",".join(f"DC={part}" for part in name.split("."))
        self._organizational_unit = organizational_unit

    def make(self, computer: str, owner: str, password: str) -> _Computer:
        """The account, enabled, in its place, with this password."""
        from ldap3 import MODIFY_REPLACE
        from ldap3.utils.dn import escape_rdn

        place, rdn = self.place(), f"CN={escape_rdn(computer)}"
        existing = self._named(computer)
        if existing is not None and not _same_cloud_pc(existing.owner, owner):
            message = f"{existing.dn} has this name, and is not this Cloud PC's"
            raise _DomainError("ComputerObjectAlreadyExists", message)
        attributes = {
            "userAccountControl": str(_WORKSTATION),
            "dNSHostName": f"{computer.lower()}.{self._name}",
            "description": _TAG + owner,
            "unicodePwd": f'"{password}"'.encode("utf-16-le"),
        }
        if existing is None:
            identity = {"sAMAccountName": f"{computer}$"}
            self._connection.add(f"{rdn},{place}", "computer", {**identity, **attributes})
            self._demand(f"{rdn},{place}")
        else:
            dn = self._moved(existing.dn, rdn, place)
            self._connection.modify(dn, {name: [(MODIFY_REPLACE, [value])] for name, value in attributes.items()})
            self._demand(dn)
        made = self._named(computer)
        if made is None:
            raise _DomainError("UnknownError", f"{rdn},{place} was made, and is not there", retriable=True)
        return made

    def disable(self, computer: str, guid: UUID | None, owner: str) -> None:
        """Disable what has this GUID, else what has this name, if it is this Cloud PC's."""
        from ldap3 import MODIFY_REPLACE
        from ldap3.utils.conv import escape_bytes

        account = None
        if guid is not None:
            account = self._one(f"(objectGUID={escape_bytes(guid.bytes_le)})")
        # Somebody may have written another description since: the recorded GUID is proof enough. Another Cloud PC's tag
        # is not.
        recorded = account is not None and not account.owner
        account = account or self._named(computer)
        if account is None or not (recorded or _same_cloud_pc(account.owner, owner)) or not account.enabled:
            return
        value = str(account.control | _DISABLED)
        self._connection.modify(account.dn, {"userAccountControl": [(MODIFY_REPLACE, [value])]})
        if self._connection.result["description"] != "noSuchObject":
            self._demand(account.dn)

    def owned(self, installation: str) -> list[_Computer]:
        """All accounts with this installation's tag."""
        from ldap3.utils.conv import escape_filter_chars

        tag = f"(description={_TAG}{escape_filter_chars(installation)}/*)"
        return list(self._found(f"(&(objectCategory=computer){tag})"))

    def check_name(self) -> None:
        """Whether this is a controller of the domain, not of another one."""
        [context] = self._read("", "defaultNamingContext")
        if context.lower() != self._base.lower():
            message = f"this is a controller of {context}, not of adDomainName {self._name}"
            raise _DomainError("FqdnNotFound", message)

    def place(self) -> str:
        """Where accounts are made: the connection's organizational unit, which must exist, else the domain's own."""
        from ldap3.core.exceptions import LDAPInvalidDnError
        from ldap3.utils.dn import parse_dn

        unit = self._organizational_unit
        if unit is None:
            for value in self._read(self._base, "wellKnownObjects"):
                if value.upper().startswith(_COMPUTERS_CONTAINER):
                    return value[len(_COMPUTERS_CONTAINER) :]
            return f"CN=Computers,{self._base}"
        try:
            parse_dn(unit)
        except LDAPInvalidDnError:
            message = f"organizationalUnit is no distinguished name: {unit}"
            raise _DomainError("OrganizationalUnitIncorrectFormat", message) from None
        self._read(unit, "objectClass")
        return unit

    def check_rights(self, unit: str) -> None:
        """Whether computers may be made there."""
        if "computer" not in self._read(unit, "allowedChildClassesEffective"):
            raise _DomainError("AccessDenied", f"it may not create computer accounts in {unit}")

    def _read(self, dn: str, attribute: str) -> list[str]:
        """The values of an attribute of what must be there."""
        from ldap3 import BASE

        self._connection.search(dn, "(objectClass=*)", BASE, attributes=[attribute])
        self._demand(dn)
        return [
            value.decode(errors="replace")
            for entry in self._connection.response
            if entry["type"] == "searchResEntry"
            for value in entry["raw_attributes"].get(attribute, [])
        ]

    def _named(self, computer: str) -> _Computer | None:
        from ldap3.utils.conv import escape_filter_chars

        return self._one(f"(sAMAccountName={escape_filter_chars(computer)}$)")

    def _one(self, query: str) -> _Computer | None:
        return next(self._found(query), None)

    def _found(self, query: str) -> Iterator[_Computer]:
        """What matches in the whole domain: accounts that an admin has moved as well."""
        search = self._connection.extend.standard.paged_search
        for entry in search(self._base, query, attributes=_ATTRIBUTES, paged_size=_PAGE, generator=True):
            if entry["type"] == "searchResEntry":
                yield _computer(entry["dn"], entry["raw_attributes"])
        self._demand(self._base)

    def _moved(self, dn: str, rdn: str, place: str) -> str:
        """The account's new name, in its place."""
        from ldap3.utils.dn import safe_dn

        wanted = f"{rdn},{place}"
        if safe_dn(dn).lower() != safe_dn(wanted).lower():
            self._connection.modify_dn(dn, rdn, new_superior=place)
            self._demand(dn)
        return wanted

    def _demand(self, dn: str) -> None:
        """The last request must have succeeded."""
        result = self._connection.result
        code = result["description"]
        if code == "success":
            return
        kind, message = {
            "insufficientAccessRights": ("AccessDenied", f"access to {dn} is denied"),
            "noSuchObject": ("OrganizationalUnitNotFound", f"there is no {dn}"),
            "referral": ("OrganizationalUnitNotFound", f"{dn} is in no domain of this controller"),
            "invalidDNSyntax": ("OrganizationalUnitIncorrectFormat", f"{dn} is no distinguished name"),
            "entryAlreadyExists": ("ComputerObjectAlreadyExists", f"{dn} is there already, under another account name"),
        }.get(code, ("UnknownError", _words(self._connection)))
        if "0000216D" in result["message"].upper():  # ERROR_DS_MACHINE_ACCOUNT_QUOTA_EXCEEDED
            kind, message = "AccountQuotaExceeded", "it has made as many computer accounts as it may"
        raise _DomainError(kind, message, retriable=code in {"busy", "unavailable", "operationsError", "other"})


def _computer(dn: str, attributes: dict[str, list[bytes]]) -> _Computer:
    def text(name: str) -> str:
        return attributes[name][0].decode(errors="replace") if attributes.get(name) else ""

    description = text("description")
    return _Computer(
        dn=dn,
        guid=UUID(bytes_le=attributes["objectGUID"][0]),
        name=text("sAMAccountName").removesuffix("$"),
        control=int(text("userAccountControl") or 0),
        owner=description.removeprefix(_TAG) if description.startswith(_TAG) else "",
    )


def _same_cloud_pc(owner: str, other: str) -> bool:
    """Whether two owners are the same Cloud PC, of whichever generation."""
    return bool(owner) and owner.rpartition("/")[0] == other.rpartition("/")[0]


def _words(connection: Connection) -> str:
    """What the controller said, on one line."""
    result = connection.result
    return " ".join(f"{result['description']} {result['message']}".replace("\0", "").split())
