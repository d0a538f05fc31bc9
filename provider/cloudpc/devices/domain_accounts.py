"""The computer accounts of a domain, to somebody who has signed in to one of its controllers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from cloudpc.devices import account_mark, security_identifiers
from cloudpc.devices.domain_errors import PASSES, DomainError, NameTakenInDomainError
from cloudpc.model import distinguished_name
from cloudpc.model.connection import OnPremisesConnection

if TYPE_CHECKING:
    from ldap3 import Connection

_PAGE = 500

# of userAccountControl
_DISABLED = 0x2
_WORKSTATION = 0x1000

_COMPUTERS_CONTAINER = "B:32:AA312825768811D1ADED00C04FD8D5CD:"
"""In the domain's wellKnownObjects: where computers without a given place go; admins may redirect it."""
_ATTRIBUTES = [
    "objectGUID", "sAMAccountName", "userAccountControl", "description", "nTSecurityDescriptor", "mS-DS-CreatorSID",
]  # fmt: skip
_OWNER_ONLY = 0x1
"""The part of a security descriptor to ask for: only some may read more, and whoever asks for all gets nothing."""

_NOT_OURS = (
    "Disable it if it is the Cloud PC's, else give it another name. If a former adDomainUsername has made it, name "
    "that in computerAccountOwners of the connection."
)

_WRITTEN = ("addResponse", "modifyResponse", "modDNResponse")
_WRITABLE = "Name under domainControllers those that are not read-only (RODC)."


@dataclass(frozen=True)
class Computer:
    """A computer account as the domain holds it."""

    dn: str
    guid: UUID
    name: str
    control: int
    description: str
    maker: str
    """SID of who has made it, which nobody else can have written; empty where that may not be read."""

    @property
    def enabled(self) -> bool:
        """Whether it may sign in."""
        return not self.control & _DISABLED


class DomainAccounts:
    """The domain, to somebody who has signed in."""

    def __init__(self, connection: Connection, name: str, settings: OnPremisesConnection) -> None:
        self._connection = connection
        self._name = name
        self._base = ",".join(f"DC={part}" for part in name.split("."))
        self._organizational_unit = settings.organizational_unit
        self._account_owners = settings.computer_account_owners

    def make(self, computer: str, owner: str, password: str) -> Computer:
        """The account, enabled, in its place, with this password."""
        from ldap3 import MODIFY_REPLACE

        place, rdn = self.place(), f"CN={distinguished_name.escaped(computer)}"
        existing = self._named(computer)
        if existing is not None and (why := self._not_ours(existing, owner)):
            raise NameTakenInDomainError(f"{existing.dn} has this name, and is not this Cloud PC's: {why}")
        attributes = {
            "userAccountControl": str(_WORKSTATION),
            "dNSHostName": f"{computer.lower()}.{self._name}",
            "description": account_mark.mark(owner),
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
            raise DomainError("UnknownError", f"{rdn},{place} was made, and is not there", retriable=True)
        return made

    def disable(self, computer: str, guid: UUID | None, dn: str, owner: str) -> None:
        """Disable what has this GUID, else what has this name, if it is this Cloud PC's."""
        self._check_made_here(dn)
        account = self._of_guid(guid) if guid is not None else None
        known = account is not None
        account = account or self._named(computer)
        if account is None or not account.enabled:
            return
        if known and not account_mark.is_mark(account.description):
            why = ""  # the recorded GUID is proof enough, whatever somebody has written there since
        elif known and account_mark.same_cloud_pc(account.description, owner):
            why = ""
        else:
            why = self._not_ours(account, owner)
        if why and guid is not None and not known:
            return  # ours is gone, this is another of its name
        if why:
            message = f"{account.dn} may not be this Cloud PC's, and stays as it is: {why}"
            raise DomainError("ComputerObjectAlreadyExists", message, action=_NOT_OURS)
        self._turn_off(account, owner)

    def _turn_off(self, account: Computer, owner: str) -> None:
        from ldap3 import MODIFY_REPLACE

        changes = {"userAccountControl": [(MODIFY_REPLACE, [str(account.control | _DISABLED)])]}
        if account_mark.names_parts(account.description):
            changes["description"] = [(MODIFY_REPLACE, [account_mark.mark(owner)])]
        self._connection.modify(account.dn, changes)
        if self._connection.result["description"] != "noSuchObject":
            self._demand(account.dn)

    def owned(self, installation: str) -> list[tuple[Computer, bool]]:
        """All accounts with this installation's mark, and whether they are ours by their maker, too."""
        from ldap3.utils.conv import escape_filter_chars

        beginnings = account_mark.queries(installation)
        marked = "".join(f"(description={escape_filter_chars(beginning)}*)" for beginning in beginnings)
        query = f"(&(objectCategory=computer)(|{marked}))"
        return [(account, account.maker in self._makers) for account in list(self._found(query))]

    def controller(self) -> str:
        """The name of the controller that answers."""
        return next(iter(self._read("", "dnsHostName")), self._name)

    def _not_ours(self, account: Computer, owner: str) -> str:
        """Why an account can't be said to be this Cloud PC's; empty if it can."""
        if not account_mark.is_mark(account.description):
            return "its description has no mark of ours"
        if not account_mark.same_cloud_pc(account.description, owner):
            return "its description has another Cloud PC's mark"
        if account.maker not in self._makers:
            who = f"it was made by {account.maker}" if account.maker else "its maker may not be read"
            return f"{who}, and not by adDomainUsername or one of computerAccountOwners"
        return ""

    @cached_property
    def _makers(self) -> frozenset[str]:
        """SIDs of who makes accounts for us: who is signed in, groups that own in its place, and who is configured."""
        token = security_identifiers.owners_of_token(self._read_raw("", "tokenGroups"))
        return frozenset(token).union(*(self._sids(account) for account in self._account_owners))

    def _sids(self, account: str) -> list[str]:
        from ldap3.utils.conv import escape_filter_chars

        if account.startswith("S-1-"):
            return [account]
        name, _, suffix = account.rpartition("@")
        query = f"(userPrincipalName={escape_filter_chars(account)})"
        if suffix.lower() == self._name:  # every account has this name, too, whatever its principal name is
            query = f"(|{query}(sAMAccountName={escape_filter_chars(name)}))"
        self._connection.search(self._base, query, attributes=["objectSid"])
        self._demand(self._base)
        return [security_identifiers.text(value) for value in self._values("objectSid")]

    def _check_made_here(self, dn: str) -> None:
        """In another domain nothing is found, which would count as done."""
        domain = ""
        with suppress(ValueError):
            domain = distinguished_name.domain(dn)
        if domain and domain != self._name:
            message = f"it was made in the domain {domain}, and the connection's adDomainName is {self._name} now"
            raise DomainError("FqdnNotFound", message, action="Let the connection name that domain again.")

    def check_name(self) -> None:
        """Whether this is a controller of the domain, not of another one."""
        context = next(iter(self._read("", "defaultNamingContext")), "")
        if not context:
            message = "this is a directory of another kind, and no controller of an Active Directory domain"
            raise DomainError("ServerNotOperational", message, action="Correct domainControllers or adDomainName.")
        if context.lower() != self._base.lower():
            message = f"this is a controller of {context}, not of adDomainName {self._name}"
            raise DomainError("FqdnNotFound", message)

    def place(self) -> str:
        """Where accounts are made: the connection's organizational unit, which must exist, else the domain's own."""
        unit = self._organizational_unit
        if unit is None:
            for value in self._read(self._base, "wellKnownObjects"):
                if value.upper().startswith(_COMPUTERS_CONTAINER):
                    return value[len(_COMPUTERS_CONTAINER) :]
            return f"CN=Computers,{self._base}"
        self._read(unit, "objectClass")
        return unit

    def check_rights(self, unit: str) -> None:
        """Whether computers may be made there."""
        if "computer" not in self._read(unit, "allowedChildClassesEffective"):
            raise DomainError("AccessDenied", f"it may not create computer accounts in {unit}")

    def _read(self, dn: str, attribute: str) -> list[str]:
        """The values of an attribute of an object that must exist."""
        return [value.decode(errors="replace") for value in self._read_raw(dn, attribute)]

    def _read_raw(self, dn: str, attribute: str) -> list[bytes]:
        from ldap3 import BASE

        self._connection.search(dn, "(objectClass=*)", BASE, attributes=[attribute])
        self._demand(dn)
        return self._values(attribute)

    def _values(self, attribute: str) -> list[bytes]:
        """An attribute's values in what the last search has found."""
        return [
            value
            for entry in self._connection.response
            if entry["type"] == "searchResEntry"
            for value in entry["raw_attributes"].get(attribute, [])
        ]

    def _of_guid(self, guid: UUID) -> Computer | None:
        from ldap3.utils.conv import escape_bytes

        return self._one(f"(objectGUID={escape_bytes(guid.bytes_le)})")

    def _named(self, computer: str) -> Computer | None:
        from ldap3.utils.conv import escape_filter_chars

        return self._one(f"(sAMAccountName={escape_filter_chars(computer)}$)")

    def _one(self, query: str) -> Computer | None:
        return next(self._found(query), None)

    def _found(self, query: str) -> Iterator[Computer]:
        """What matches in the whole domain: accounts that an admin has moved as well."""
        from ldap3.protocol.microsoft import security_descriptor_control

        search = self._connection.extend.standard.paged_search
        owner = security_descriptor_control(sdflags=_OWNER_ONLY)
        for entry in search(
            self._base, query, attributes=_ATTRIBUTES, controls=owner, paged_size=_PAGE, generator=True
        ):
            if entry["type"] == "searchResEntry":
                yield _computer(entry["dn"], entry["raw_attributes"])
        self._demand(self._base)

    def _moved(self, dn: str, rdn: str, place: str) -> str:
        """The account's new name, in its place."""
        wanted = f"{rdn},{place}"
        if not distinguished_name.same(dn, wanted):
            self._connection.modify_dn(dn, rdn, new_superior=place)
            self._demand(dn)
        return wanted

    def _demand(self, dn: str) -> None:
        """The last request must have succeeded."""
        result = self._connection.result
        code = result["description"]
        if code == "success":
            return
        if code == "referral" and result["type"] in _WRITTEN:
            message = f"{dn} can't be written here: this controller is read-only"
            raise DomainError("ServerNotOperational", message, action=_WRITABLE)
        kind, message = {
            "insufficientAccessRights": ("AccessDenied", f"access to {dn} is denied"),
            "noSuchObject": ("OrganizationalUnitNotFound", f"there is no {dn}"),
            "referral": ("OrganizationalUnitNotFound", f"{dn} is in no domain of this controller"),
            "invalidDNSyntax": ("OrganizationalUnitIncorrectFormat", f"{dn} is not a distinguished name"),
            "entryAlreadyExists": ("ComputerObjectAlreadyExists", f"{dn} is there already, under another account name"),
        }.get(code, ("UnknownError", words(self._connection)))
        if "0000216D" in result["message"].upper():  # ERROR_DS_MACHINE_ACCOUNT_QUOTA_EXCEEDED
            kind, message = "AccountQuotaExceeded", "it has made as many computer accounts as it may"
        raise DomainError(kind, message, retriable=code in PASSES)


def _computer(dn: str, attributes: dict[str, list[bytes]]) -> Computer:
    def text(name: str) -> str:
        return attributes[name][0].decode(errors="replace") if attributes.get(name) else ""

    return Computer(
        dn=dn,
        guid=UUID(bytes_le=attributes["objectGUID"][0]),
        name=text("sAMAccountName").removesuffix("$"),
        control=int(text("userAccountControl") or 0),
        description=text("description"),
        maker=_maker(attributes),
    )


def _maker(attributes: dict[str, list[bytes]]) -> str:
    """Who has made an account: its creator, which is recorded where everybody may make some, otherwise its owner."""
    if creator := attributes.get("mS-DS-CreatorSID"):
        return security_identifiers.text(creator[0])
    descriptor = attributes.get("nTSecurityDescriptor")
    return security_identifiers.owner(descriptor[0]) if descriptor else ""


def words(connection: Connection) -> str:
    """What the controller said, on one line."""
    result = connection.result
    return " ".join(f"{result['description']} {result['message']}".replace("\0", "").split())
