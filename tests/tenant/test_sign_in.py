from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.tenant.client import Http
from tests.tenant.sign_in import Application, SignIn
from tests.tenant.tenant import Tenant

SCOPE = "https://graph.microsoft.com/.default"


def by_secret(sign_in: SignIn, tenant_id: str, **changes: str) -> Any:
    from azure.identity import ClientSecretCredential

    application = sign_in.application
    return ClientSecretCredential(
        tenant_id, changes.get("client_id", application.client_id), changes.get("secret", application.secret),
        authority=sign_in.authority, disable_instance_discovery=True, connection_verify=str(sign_in.ca),
    )  # fmt: skip


def by_assertion(sign_in: SignIn, tenant_id: str, file: Path, assertion: str) -> Any:
    from azure.identity import WorkloadIdentityCredential

    file.write_text(assertion)
    return WorkloadIdentityCredential(
        tenant_id=tenant_id, client_id=sign_in.application.client_id, token_file_path=str(file),
        authority=sign_in.authority, disable_instance_discovery=True, connection_verify=str(sign_in.ca),
    )  # fmt: skip


def refused(credential: Any) -> str:
    from azure.core.exceptions import ClientAuthenticationError

    with pytest.raises(ClientAuthenticationError) as error:
        credential.get_token(SCOPE)
    return str(error.value)


def test_a_secret_gives_a_token_with_what_was_consented_to(tenant: Tenant, sign_in: SignIn) -> None:
    sign_in.application.permissions = frozenset({"Group.Read.All"})
    with Http(tenant, by_secret(sign_in, tenant.tenant_id).get_token(SCOPE).token) as client:
        assert client.get("/groups").status == 200
        assert client.get("/devices").status == 403
        assert client("POST", "/devices", {}).status == 403


def test_an_assertion_of_another_issuer_gives_a_token(tenant: Tenant, sign_in: SignIn, tmp_path: Path) -> None:
    credential = by_assertion(sign_in, tenant.tenant_id, tmp_path / "assertion", sign_in.assertion())
    with Http(tenant, credential.get_token(SCOPE).token) as client:
        assert client.get("/groups").status == 200


def test_a_certificate_gives_a_token_unless_the_clock_is_wrong(tenant: Tenant, sign_in: SignIn, tmp_path: Path) -> None:
    from azure.identity import CertificateCredential

    own = tmp_path / "own.pem"
    own.write_bytes((tmp_path / "sign-in-key.pem").read_bytes() + sign_in.ca.read_bytes())

    def credential() -> Any:
        return CertificateCredential(
            tenant.tenant_id, sign_in.application.client_id, str(own),
            authority=sign_in.authority, disable_instance_discovery=True, connection_verify=str(sign_in.ca),
        )  # fmt: skip

    with Http(tenant, credential().get_token(SCOPE).token) as client:
        assert client.get("/groups").status == 200
    before = tenant.clock() - timedelta(minutes=20)
    tenant.clock = lambda: before
    assert "AADSTS700024" in refused(credential()), "this machine's clock is ahead"


def test_a_wrong_secret_and_one_that_has_ended(tenant: Tenant, sign_in: SignIn) -> None:
    assert "AADSTS7000215" in refused(by_secret(sign_in, tenant.tenant_id, secret="other"))
    sign_in.application.secret_expires = tenant.clock() - timedelta(seconds=1)
    text = refused(by_secret(sign_in, tenant.tenant_id))
    assert "AADSTS7000222" in text
    assert sign_in.application.secret not in text + repr(sign_in.application)


def test_an_application_that_is_not_there(tenant: Tenant, sign_in: SignIn) -> None:
    assert "AADSTS700016" in refused(by_secret(sign_in, tenant.tenant_id, client_id="nobody"))
    sign_in.applications["other"] = Application("other", "another secret")
    assert by_secret(sign_in, tenant.tenant_id, client_id="other", secret="another secret").get_token(SCOPE).token


def test_a_tenant_that_is_not_there(sign_in: SignIn) -> None:
    trust = ssl.create_default_context(cafile=str(sign_in.ca))
    address = f"{sign_in.authority}/nobody.example/v2.0/.well-known/openid-configuration"
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust))
    with pytest.raises(urllib.error.HTTPError) as error:
        opener.open(address)
    assert error.value.code == 400
    assert b"AADSTS90002" in error.value.read()
    assert "authority" in refused(by_secret(sign_in, "nobody.example"))


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (700024, {"not_before": 600}),
        (700024, {"not_before": -700}),
        (700213, {"subject": "repo:contoso/other"}),
    ],
)
def test_an_assertion_that_is_refused(
    tenant: Tenant, sign_in: SignIn, tmp_path: Path, number: int, changes: dict[str, Any]
) -> None:
    assertion = sign_in.assertion(**changes)
    text = refused(by_assertion(sign_in, tenant.tenant_id, tmp_path / "assertion", assertion))
    assert f"AADSTS{number}:" in text
    assert assertion not in text


@pytest.mark.parametrize("assertion", ["", "x", "a.b.c", "e30.e30."])
def test_an_assertion_that_is_none(tenant: Tenant, sign_in: SignIn, tmp_path: Path, assertion: str) -> None:
    from azure.core.exceptions import ClientAuthenticationError

    with pytest.raises((ClientAuthenticationError, ValueError)):
        by_assertion(sign_in, tenant.tenant_id, tmp_path / "assertion", assertion).get_token(SCOPE)


def test_the_environment_is_enough(tenant: Tenant, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    from azure.identity import DefaultAzureCredential

    for name, value in sign_in.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    # without this, MSAL asks Microsoft whether the authority is one of theirs
    credential = DefaultAzureCredential(disable_instance_discovery=True)
    with Http(tenant, credential.get_token(SCOPE).token) as client:
        assert client.get("/groups").status == 200


def test_who_does_not_trust_the_certificate_gets_nothing(
    sign_in: SignIn, tenant: Tenant, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{sign_in.authority}/{tenant.tenant_id}")
    sign_in.__exit__(None, None, None)
    assert "Traceback" not in capfd.readouterr().err
