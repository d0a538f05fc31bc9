"""The application that pages sign in by: which one, in which tenant, and who is an admin by it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from cloudpc.cli.context import Project
from cloudpc.configuration import parsing
from cloudpc.graph import credentials
from cloudpc.graph.configuration import GraphConfig
from cloudpc.microsoft import sign_in
from cloudpc.microsoft.sign_in import SignInError
from cloudpc.model.problems import InvalidConfigurationError, Problem

SECRET = "CLOUDPC_SIGN_IN_SECRET"  # noqa: S105 - a variable's name
CERTIFICATE = "CLOUDPC_SIGN_IN_CERTIFICATE_PATH"

Credential = str | dict[str, str] | None
"""As msal takes it: a secret, a certificate with its key, or none (a public client)."""


@dataclass(frozen=True)
class Options:
    """What the command line says of signing in; of each None: nothing.

    Args:
        tenant: the id of the tenant whose users sign in.
        client_id: of the application's registration there.
        admin_role: the value of an application role whose members are admins.
        admin_group: the object id of a group whose members are.
        behind: by which address browsers reach this server, through a proxy that does TLS.
        as_user: whose pages everybody is to have; not with any of the others.
    """

    tenant: str | None = None
    client_id: str | None = None
    admin_role: str | None = None
    admin_group: str | None = None
    behind: str | None = None
    as_user: str | None = None

    @property
    def are_given(self) -> bool:
        """Whether somebody wants it at all."""
        return replace(self, as_user=None) != Options()


@dataclass(frozen=True)
class Registration:
    """All of it, checked.

    Args:
        authority: address of the cloud's sign-in.
        behind: as browsers write it in `Origin`; None: this machine alone.
    """

    tenant_id: str
    client_id: str
    authority: str
    admin_role: str | None = None
    admin_group: str | None = None
    behind: str | None = None
    credential: Credential = field(default=None, repr=False)

    @classmethod
    def of(cls, options: Options, project: Project) -> Registration:
        """What the options and the environment say; the secret is taken out of the latter, so that no command has it.

        Raises:
            InvalidConfigurationError: with all that is wrong.
        """
        problems = list(_wrong_options(options))
        authorities: set[str] = set()
        policies: list[str | None] = [*project.policy_ids()]
        for policy in policies or [None]:
            problems += _look(project, policy, options.tenant, authorities)
        if len(authorities) > 1:
            message = f"policies are of several clouds: {', '.join(sorted(authorities))}; one server serves one"
            problems.append(Problem("stacks/", "cloudpc:graph.endpoint", message))
        credential = _credential(problems)
        behind = _origin(options.behind) if options.behind else None
        if behind and not (credential or os.environ.get(SECRET) or os.environ.get(CERTIFICATE)):
            message = f"needs the application's secret in {SECRET}, or its certificate in {CERTIFICATE}"
            problems.append(_option("--behind", f"{message}: without one an application is this machine's alone"))
        if problems:
            raise InvalidConfigurationError(problems)
        os.environ.pop(SECRET, None)
        return cls(
            _id(options.tenant), _id(options.client_id), authorities.pop(), options.admin_role,
            _id(options.admin_group) or None, behind, credential,
        )  # fmt: skip


def _option(name: str, message: str, found: str | None = None) -> Problem:
    return Problem("command line", name, message, found)


def _id(text: str | None) -> str:
    """In its one form; empty if it is no GUID."""
    with suppress(ValueError):
        return str(UUID(text or ""))
    return ""


def _wrong_options(options: Options) -> Iterator[Problem]:
    ids = {
        "--tenant": (options.tenant, "the tenant's id; `az account show --query tenantId` prints it"),
        "--client-id": (options.client_id, "the application's id, as its registration has it"),
    }
    for name, (value, what) in ids.items():
        if value is None:
            yield _option(name, f"is required for signing in: {what}")
        elif not _id(value):
            yield _option(name, f"is not a GUID: it must be {what}", value)
    if options.as_user is not None:
        yield _option("--as", "is for pages without a sign-in; here everybody has their own", options.as_user)
    if options.admin_group is not None and not _id(options.admin_group):
        yield _option("--admin-group", "is not a GUID: it must be the group's object id", options.admin_group)
    if options.admin_role is not None and not (options.admin_role.isprintable() and options.admin_role.strip()):
        yield _option("--admin-role", "must be the value of a role of the application", options.admin_role)
    if options.behind is not None and _origin(options.behind) is None:
        message = "must be https:// and a host, with its port unless that is 443, and nothing else"
        yield _option("--behind", message, options.behind)


def _origin(address: str) -> str | None:
    """As browsers write it; None if it is more than that, or not https."""
    with suppress(ValueError):
        parts = urlsplit(address)
        host = (parts.hostname or "").lower()
        name = f"[{host}]" if ":" in host else host
        port = f":{parts.port}" if parts.port not in (None, 443) else ""
        is_plain = host.isascii() and host.isprintable() and not set(host) & set(" \\,;'\"<>")
        if parts.scheme == "https" and host and is_plain and not parts.query and not parts.fragment:
            rest = address.removesuffix("/").partition("://")[2].lower()
            return f"https://{name}{port}" if rest in (name, f"{name}:{parts.port}") else None
    return None


def _look(project: Project, policy: str | None, tenant: str | None, authorities: set[str]) -> Iterator[Problem]:
    """Whether a policy's users are the tenant's; and where they sign in."""
    graph = GraphConfig()
    if policy is not None:
        try:
            values = project.values(policy)
            if not parsing.uses_tenant(values):
                message = "must be graph for signing in: a person is known by the id that the tenant gives them"
                yield Problem(project.shown(policy), "cloudpc:directory.kind", message)
                return
            graph = parsing.parse_surroundings(values).graph
        except InvalidConfigurationError as error:
            yield from error.problems
            return
        said = _id(graph.tenant_id)
        if said and tenant and _id(tenant) not in ("", said):
            yield Problem(project.shown(policy), "cloudpc:graph.tenantId", "is not that of --tenant", graph.tenant_id)
    try:
        authorities.add(sign_in.authority(credentials.sign_in(graph)))
    except SignInError as error:
        yield Problem("environment", "AZURE_AUTHORITY_HOST", error.message)


def _credential(problems: list[Problem]) -> Credential:
    """Of the environment."""
    secret, path = os.environ.get(SECRET, "").strip(), os.environ.get(CERTIFICATE, "").strip()
    if secret and path:
        problems.append(Problem("environment", SECRET, f"is set, and so is {CERTIFICATE}; one of them is right"))
        return None
    if not path:
        return secret or None
    try:
        text = Path(path).read_text(encoding="ascii")
        _check_pem(text)
    except (OSError, ValueError, TypeError) as error:  # TypeError: the key has a password
        why = error.strerror if isinstance(error, OSError) else "is no PEM with a certificate and its unencrypted key"
        problems.append(Problem("environment", CERTIFICATE, str(why), path))
        return None
    return {"private_key": text, "public_certificate": text}


def _check_pem(text: str) -> None:
    """ValueError, TypeError: that is no certificate with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(text.encode(), password=None)
    if not isinstance(key, RSAPrivateKey) or x509.load_pem_x509_certificate(text.encode()).public_key() != (
        key.public_key()
    ):
        raise ValueError("the key is not the certificate's")
