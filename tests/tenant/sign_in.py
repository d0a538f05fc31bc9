"""Microsoft Entra's sign-in on loopback, over https with a certificate of its own: where azure-identity gets tokens."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from tests.support.http_server import Answer, Received, Reply, Server
from tests.support.web_tokens import claims_of, unsigned
from tests.tenant.code_flow import CodeFlow, Pages
from tests.tenant.tenant import Tenant

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class Application:
    """An application that may sign in.

    Args:
        client_id: its id.
        secret: its client secret; never shown.
        secret_expires: when that ends; None: never.
        permissions: what an admin has consented to; None: everything.
    """

    client_id: str
    secret: str = field(repr=False)
    secret_expires: datetime | None = None
    permissions: frozenset[str] | None = None
    federated_subject: str = "repo:contoso/cloud-pcs"
    """`sub` of the tokens of another issuer that are accepted as client_assertion (workload identity)."""


class SignIn:
    """The sign-in of a tenant. A context manager.

    Args:
        tenant: its tokens are issued.
        folder: where the certificate is written (`ca.pem`), and its key.
        port: 0 for any that is free.
    """

    def __init__(self, tenant: Tenant, folder: Path, port: int = 0) -> None:
        self._tenant = tenant
        self.application = Application(str(uuid4()), uuid4().hex)
        self.applications = {self.application.client_id: self.application}
        self.code_flow = CodeFlow(tenant)
        self.pages = self.code_flow.pages[self.application.client_id] = Pages()
        """What the application's registration says of people who sign in to it."""
        self.ca = folder / "ca.pem"
        """What `connection_verify` or REQUESTS_CA_BUNDLE must name."""
        self.lifetime = 3600.0
        """Seconds that tokens last."""
        self._server = Server(lambda received: Reply.of(self._respond(received)), port)
        context = _context(self.ca, folder / "sign-in-key.pem")
        self._server.wrap(
            lambda listening: context.wrap_socket(listening, server_side=True, do_handshake_on_connect=False)
        )

    @property
    def authority(self) -> str:
        """What azure-identity calls authority, and AZURE_AUTHORITY_HOST."""
        return f"https://localhost:{self._server.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which EnvironmentCredential signs in here as the application."""
        return {
            "AZURE_AUTHORITY_HOST": self.authority,
            "AZURE_TENANT_ID": self._tenant.tenant_id,
            "AZURE_CLIENT_ID": self.application.client_id,
            "AZURE_CLIENT_SECRET": self.application.secret,
            "REQUESTS_CA_BUNDLE": str(self.ca),
        }

    def __enter__(self) -> SignIn:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    def assertion(self, *, not_before: float = 0, lifetime: float = 600, subject: str | None = None) -> str:
        """A token of another issuer, as a CI system writes it into AZURE_FEDERATED_TOKEN_FILE.

        Args:
            not_before: seconds from now at which it begins to be valid; a machine whose clock is ahead makes such.
            lifetime: seconds from then on.
            subject: `sub`; None: the one that is accepted.
        """
        begins = self._tenant.clock().timestamp() + not_before
        claims = {
            "iss": "https://ci.example",
            "sub": subject or self.application.federated_subject,
            "aud": "api://AzureADTokenExchange",
            "nbf": int(begins),
            "exp": int(begins + lifetime),
        }
        return unsigned(claims)

    # ---- answering

    def _respond(self, received: Received) -> Answer:
        target = urlsplit(received.target)
        parts = target.path.strip("/").split("/")
        tenant, path = parts[0], "/".join(parts[1:])
        if tenant.lower() not in (self._tenant.tenant_id, "contoso.example"):
            return _refused("invalid_request", 90002, f"Tenant '{tenant}' not found. Check to make sure you have the "
                            "correct tenant ID and are signing into the correct cloud.")  # fmt: skip
        if (received.method, path) == ("GET", "v2.0/.well-known/openid-configuration"):
            base = f"{self.authority}/{tenant}"
            return Answer(200, {
                "issuer": f"{base}/v2.0",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            })  # fmt: skip
        if (received.method, path) == ("GET", "oauth2/v2.0/authorize"):
            return self.code_flow.authorize(target.query)
        if (received.method, path) == ("POST", "oauth2/v2.0/token"):
            return self._token({name: values[-1] for name, values in parse_qs(received.body.decode()).items()})
        return Answer(404, {"error": "not_found"})

    def _token(self, form: dict[str, str]) -> Answer:
        application = self.applications.get(form.get("client_id", ""))
        if application is None:
            return _refused("unauthorized_client", 700016, "Application was not found in the directory.")
        if form.get("grant_type") == "authorization_code":
            return self._token_of_code(application, form)
        if form.get("grant_type") != "client_credentials":
            return _refused("unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
        if not form.get("scope", "").endswith("/.default"):
            return _refused(
                "invalid_scope", 1002012, "The provided value for scope is not valid: must end with /.default."
            )
        if form.get("client_assertion_type") == _ASSERTION:
            refused = self._check_assertion(application, form.get("client_assertion", ""))
        else:
            refused = self._check_secret(application, form.get("client_secret", ""))
        if refused:
            return refused
        token = self._issued(application, form["scope"].removesuffix("/.default"))
        seconds = int(self.lifetime)
        return Answer(
            200, {"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token}
        )

    def _token_of_code(self, application: Application, form: dict[str, str]) -> Answer:
        has_none = not form.get("client_secret") and not form.get("client_assertion")
        if self.code_flow.pages[application.client_id].is_public:
            refused = None if has_none else _refused("invalid_client", 700025, "Client is public.", 401)
        elif has_none:
            message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
            refused = _refused("invalid_client", 7000218, message, 401)
        elif form.get("client_assertion"):
            refused = self._check_assertion(application, form["client_assertion"])
        else:
            refused = self._check_secret(application, form["client_secret"])
        if refused:
            return refused
        if why := self.code_flow.refusal(form):
            return _refused("invalid_grant", *why)
        who = self.code_flow.token(form, f"{self.authority}/{self._tenant.tenant_id}/v2.0")
        token = self._issued(application, "https://graph.microsoft.com")
        return Answer(200, {"token_type": "Bearer", "expires_in": int(self.lifetime), "access_token": token, **who})

    def _issued(self, application: Application, service: str) -> str:
        """For the tenant's Graph, a token of its; for another service, one that this reads itself."""
        text = None
        if service != "https://graph.microsoft.com":
            now = self._tenant.clock().timestamp()
            text = unsigned({
                "aud": service, "iss": f"https://sts.windows.net/{self._tenant.tenant_id}/", "iat": int(now),
                "tid": self._tenant.tenant_id, "exp": int(now + self.lifetime), "appid": application.client_id,
                "jti": uuid4().hex,
            })  # fmt: skip
        # whichever service a test stands in for: Graph's endpoint may be asked with it, too
        return self._tenant.tokens.issue("application", application.permissions, self.lifetime, text)

    def _check_secret(self, application: Application, secret: str) -> Answer | None:
        if secret != application.secret:
            return _refused("invalid_client", 7000215, "Invalid client secret provided.", 401)
        if application.secret_expires is not None and application.secret_expires <= self._tenant.clock():
            return _refused("invalid_client", 7000222, "The provided client secret keys are expired.", 401)
        return None

    def _check_assertion(self, application: Application, assertion: str) -> Answer | None:
        try:
            claims = claims_of(assertion)
            begins, ends = claims.get("nbf", claims.get("iat", claims["exp"])), claims["exp"]
            subject = claims.get("sub")
        except (ValueError, KeyError, TypeError):
            return _refused("invalid_client", 50027, "JWT token is invalid or malformed.", 401)
        if not begins <= self._tenant.clock().timestamp() < ends:
            return _refused("invalid_client", 700024, "Client assertion is not within its valid time range.", 401)
        # an application's own certificate signs for the application, another issuer for one of its workloads
        if subject not in (application.federated_subject, application.client_id):
            return _refused("invalid_client", 700213, "No matching federated identity record found for presented "
                            "assertion subject.", 401)  # fmt: skip
        return None


def _refused(error: str, number: int, message: str, status: int = 400) -> Answer:
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    ids = {"trace_id": str(uuid4()), "correlation_id": str(uuid4())}
    description = (
        f"AADSTS{number}: {message} Trace ID: {ids['trace_id']} Correlation ID: {ids['correlation_id']} "
        f"Timestamp: {now}"
    )
    return Answer(
        status, {"error": error, "error_description": description, "error_codes": [number], "timestamp": now, **ids}
    )


def _context(certificate_file: Path, key_file: Path) -> ssl.SSLContext:
    """A server's context, with a certificate that was made and signed by itself now."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(65537, 2048)  # azure-identity signs assertions with RSA alone
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fake tenant")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(names, critical=False)
        # its own CA: newer Pythons insist on these three
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return context
