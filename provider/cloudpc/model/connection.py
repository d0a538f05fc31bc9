"""A network connection, Graph's `cloudPcOnPremisesConnection`: where Cloud PCs are plugged in, what they join."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from cloudpc.model import distinguished_name
from cloudpc.model.machines import Network
from cloudpc.model.policy import Part
from cloudpc.model.written import USER_AT_DOMAIN, Written

_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")

_HOST = re.compile(r"(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?")


class _Whole(Part):
    """A part whose contradictions are reported together with the errors of single fields, not after them."""

    @classmethod
    def contradictions(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Field (or nothing) and message of what does not go together, in values as they stand in the file."""
        raise NotImplementedError

    @model_validator(mode="wrap")
    @classmethod
    def _all_at_once(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        errors: list[InitErrorDetails] = []
        try:
            made: Self | None = handler(values)
        except ValidationError as error:
            made = None
            for e in error.errors(include_url=False):
                errors.append({"type": e["type"], "loc": e["loc"], "input": e["input"], "ctx": e.get("ctx", {})})
        if isinstance(values, Mapping):
            given = {name: value for name, value in values.items() if value is not None}
            for field, message in cls.contradictions(given):
                loc = (field,) if field else ()
                errors.append({"type": "value_error", "loc": loc, "input": {}, "ctx": {"error": ValueError(message)}})
        if errors or made is None:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return made


def dns_name(value: str) -> str:
    """Raise ValueError unless this is a fully qualified name."""
    labels = value.split(".")
    if len(value) > 255 or len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must be a fully qualified name of letters, digits and hyphens, such as corp.contoso.com")
    return value


def host_and_port(endpoint: str) -> tuple[str, int]:
    """`login.example:443` or `[2001:db8::1]:443` taken apart. Raises ValueError."""
    message = "must be host:port, such as intranet.contoso.com:443"
    try:
        parts = urlsplit(f"//{endpoint}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(message) from None
    if not host or not port or parts.netloc != endpoint or "@" in endpoint or not re.fullmatch(r"[\w.:-]+", host):
        raise ValueError(message)
    return host, port


def _endpoint(value: str) -> str:
    host_and_port(value)
    return value


class SecretReference(_Whole):
    """Where a secret is found at the time it is needed; it is never in a file of the project or in state."""

    environment: (
        Annotated[str, Written(r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name, such as JOIN_PASSWORD")] | None
    ) = Field(default=None, description="A variable's name.")
    file: str | None = Field(default=None, min_length=1, description="An absolute path; the whole content but its end.")

    @classmethod
    def contradictions(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See `_Whole`."""
        if ("environment" in values) == ("file" in values):
            yield "", "needs either environment or file, not both"
        file = values.get("file")
        if isinstance(file, str) and file and not Path(file).is_absolute():
            yield "file", "must be an absolute path"


def _ip_address(value: str | None) -> str | None:
    """It becomes a line of the guest's /etc/hosts."""
    if value is not None:
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise ValueError("must be an IP address") from None
    return value


def _host(value: str | None) -> str | None:
    """Raise ValueError unless this is an address or a name alone."""
    if value is not None and not (len(value) <= 255 and _HOST.fullmatch(value)):
        try:
            ipaddress.ip_address(value.replace("%", "/"))  # a card of this machine's is no part of it
        except ValueError:
            raise ValueError("must be an IP address or a DNS name, without scheme, brackets and port") from None
    return value


class DomainController(Part):
    """Ours: where the domain is reached, where DNS does not say."""

    name: Annotated[str, AfterValidator(dns_name)] = Field(
        description="Fully qualified; its certificate must be of that name."
    )
    address: Annotated[str | None, AfterValidator(_host)] = Field(
        default=None, description="From here; default: what DNS says of the name."
    )
    guest_address: Annotated[str | None, AfterValidator(_ip_address)] = Field(
        default=None, description="From the guests; default: what their DNS says. User-mode networking: 10.0.2.2."
    )


@dataclass(frozen=True)
class NetworkKind:
    """One kind of networks that a driver's hosts have.

    Args:
        field: of a connection's file; it names the network.
        kind: of the `Network` that it is.
        words: what people call it; its name follows.
    """

    field: str
    kind: str
    words: str


class NetworkPart(Part):
    """A driver's own part of a connection's file: fields that say which network of its hosts is meant."""

    KINDS: ClassVar[tuple[NetworkKind, ...]] = ()

    @classmethod
    def of_networks(cls, _values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Field (or nothing) and message of what does not go together in these fields, as they stand in the file."""
        yield from ()

    @classmethod
    def network_of(cls, values: Mapping[str, Any]) -> Network | None:
        """The network that these fields name, if they do; all are valid, and called as in the file."""
        kinds = (kind for kind in cls.KINDS if values[kind.field] is not None)
        return next((Network(kind.kind, str(values[kind.field])) for kind in kinds), None)


_HOSTED = "hostedNetwork"
_DOMAIN = (
    "adDomainUsername", "adDomainPassword", "organizationalUnit", "domainControllers", "caCertificate",
    "computerAccountOwners",
)  # fmt: skip


def _account_owner(value: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+|S-1(-[0-9]+)+", value):
        raise ValueError("must be an account as user@domain, or a SID such as S-1-5-21-…-1104")
    return value


class OnPremisesConnection(_Whole):
    """A named connection: where Cloud PCs are plugged in on the host, and which domain they join. One network."""

    NETWORKS: ClassVar[tuple[type[NetworkPart], ...]] = ()
    """What drivers add; see `with_networks`."""

    display_name: str = ""
    hosted_network: bool = Field(
        default=False, description="The host's own network, as `regionName: automatic` has it."
    )
    ad_domain_name: Annotated[str, AfterValidator(dns_name)] | None = Field(
        default=None, description="Fully qualified name of the domain."
    )
    ad_domain_username: Annotated[str, USER_AT_DOMAIN] | None = Field(
        default=None, description="The account that joins, as user@domain."
    )
    ad_domain_password: SecretReference | None = Field(default=None, description="Where its password is found.")
    organizational_unit: Annotated[str, AfterValidator(distinguished_name.normal)] | None = Field(
        default=None, description="Where computer accounts are made, as OU=…,DC=…; default: the domain's own place."
    )
    computer_account_owners: list[Annotated[str, AfterValidator(_account_owner)]] = Field(
        default=[],
        description="Ours: who else has made computer accounts of this installation, as user@domain or SID; for "
        "example a former adDomainUsername.",
    )
    domain_controllers: list[DomainController] = Field(
        default=[], description="Ours. Default: those that DNS names for the domain."
    )
    ca_certificate: str | None = Field(
        default=None,
        min_length=1,
        description="Ours: the CA of its controllers, a file beside this one; default: the system's.",
    )
    endpoints: list[Annotated[str, AfterValidator(_endpoint)]] = Field(
        default=[], description="Ours: host:port of what must be reachable, for the health check."
    )

    @classmethod
    def contradictions(cls, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """See `_Whole`."""
        fields = [kind.field for kind in cls._kinds()]
        networks = [name for name in (*fields, _HOSTED) if values.get(name) not in (None, False)]
        if len(networks) != 1:
            found = f"; there are {' and '.join(networks)}" if networks else ""
            choice = f"exactly one of {', '.join(fields)} and " if fields else ""
            yield "", f"needs {choice}{_HOSTED}: true{found}"
        for part in cls.NETWORKS:
            yield from part.of_networks(values)
        if "adDomainName" not in values:
            for name in _DOMAIN:
                if values.get(name):
                    yield name, "has a meaning only with adDomainName"
            return
        for name in ("adDomainUsername", "adDomainPassword"):
            if name not in values:
                yield name, "is required with adDomainName"
        if wrong := _other_domain(values.get("organizationalUnit"), values["adDomainName"]):
            yield "organizationalUnit", wrong

    @property
    def network(self) -> Network:
        """Where machines are plugged in."""
        values = self.model_dump(by_alias=True)
        return next(filter(None, (part.network_of(values) for part in self.NETWORKS)), Network())

    @classmethod
    def _kinds(cls) -> list[NetworkKind]:
        return [kind for part in cls.NETWORKS for kind in part.KINDS]


@cache
def with_networks(*parts: type[NetworkPart]) -> type[OnPremisesConnection]:
    """A connection's file with these drivers' own parts. A field belongs to one driver: no two may have the same."""

    class Connection(OnPremisesConnection, *parts):  # type: ignore[misc]
        __doc__ = OnPremisesConnection.__doc__
        NETWORKS = parts

    Connection.__name__ = Connection.__qualname__ = OnPremisesConnection.__name__
    return Connection


def _other_domain(unit: object, name: object) -> str:
    """What is wrong with a place that lies elsewhere than in the domain; nothing of what is no place or no domain."""
    with suppress(ValueError):
        domain = distinguished_name.domain(unit) if isinstance(unit, str) else None
        if domain is not None and isinstance(name, str) and domain != dns_name(name).lower():
            ending = ",".join(f"DC={label}" for label in name.split("."))
            return f"must lie in the domain adDomainName {name}, so it must end in {ending}"
    return ""
