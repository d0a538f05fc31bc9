"""Azure is signed in to as Graph is, by azure-identity itself, over a fake sign-in of the tenant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudpc.machines.azure.arm import Arm
from cloudpc.machines.azure.errors import AzureFailed
from cloudpc.model.errors import ErrorCode
from tests.azure.account import Account
from tests.azure.arm import FakeArm
from tests.azure.hosts import host_config
from tests.tenant.fixtures import directory_file, sign_in, tenant
from tests.tenant.sign_in import SignIn
from tests.tenant.tenant import Tenant

__all__ = ["directory_file", "sign_in", "tenant"]


@pytest.fixture(autouse=True)
def by_secret(sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> SignIn:
    for name in ("AZURE_FEDERATED_TOKEN_FILE", "AZURE_TOKEN_CREDENTIALS", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")  # where there is no `az`
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    for name, value in sign_in.environment.items():
        monkeypatch.setenv(name, value)
    return sign_in


def looked_at(arm: FakeArm, **entry: Any) -> Any:
    client = Arm(host_config(arm, **entry))
    try:
        with client.asking("look at the group"):
            return client.get(client.group_path, "resources")
    finally:
        client.close()


@pytest.mark.parametrize("auth", ["default", "environment"])
def test_a_secret_from_the_environment(tenant: Tenant, auth: str) -> None:
    with FakeArm(account=Account(tenant=tenant.tenant_id)) as arm:
        assert looked_at(arm, auth=auth)


def test_a_workload_identity(
    tenant: Tenant, by_secret: SignIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    token = tmp_path / "token"
    token.write_text(by_secret.assertion())
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token))
    with FakeArm(account=Account(tenant=tenant.tenant_id)) as arm:
        assert looked_at(arm, auth="default")


def test_a_secret_that_is_wrong(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "hunter2-of-yesterday")
    with FakeArm(account=Account(tenant=tenant.tenant_id)) as arm:
        with pytest.raises(AzureFailed) as caught:
            looked_at(arm, auth="environment")
        assert not arm.log
    assert caught.value.code is ErrorCode.HOST_REFUSES
    assert "the secret in AZURE_CLIENT_SECRET is wrong" in caught.value.message
    assert "(AADSTS7000215)" in caught.value.message
    assert "hunter2" not in caught.value.whole()


def test_a_subscription_of_another_tenant_than_the_sign_ins(arm: FakeArm) -> None:
    with pytest.raises(AzureFailed) as caught:
        looked_at(arm, auth="environment")
    assert (caught.value.code, caught.value.arm.code) == (ErrorCode.HOST_REFUSES, "InvalidAuthenticationTokenTenant")
    assert "give its id as tenantId of weu" in caught.value.hint


def test_the_sign_in_is_away(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://localhost:9")
    monkeypatch.setattr("azure.core.pipeline.transport.HttpTransport.sleep", lambda *_: None)
    with FakeArm(account=Account(tenant=tenant.tenant_id)) as arm, pytest.raises(AzureFailed) as caught:
        looked_at(arm, auth="environment")
    assert caught.value.code is ErrorCode.HOST_UNREACHABLE
    assert "the sign-in to Microsoft Entra can't be reached" in caught.value.message
