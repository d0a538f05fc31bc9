"""Requests to Azure, with its own clients: pauses are reported and end at once, refusals mean what they say."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest.mock import ANY

import pytest

from cloudpc.machines.azure.arm import API, Arm
from cloudpc.machines.azure.arm_error import Meaning
from cloudpc.machines.azure.errors import AzureFailed
from cloudpc.machines.azure.sign_in import TOKEN_VARIABLE
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import Cancelled, ErrorCode
from cloudpc.model.watch import Watch
from tests.azure import contract, tokens
from tests.azure.arm import FakeArm
from tests.azure.client import nic_body
from tests.azure.hosts import host_config
from tests.support.failures import fails_with

NIC = "NetworkInterfaces_CreateOrUpdate"


@pytest.fixture(autouse=True)
def signed_in(arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, arm.token())


@pytest.fixture
def client(arm: FakeArm) -> Iterator[Arm]:
    made = Arm(host_config(arm))
    yield made
    made.close()


def make(client: Arm, arm: FakeArm, name: str = "nic", watch: Watch | None = None) -> Any:
    call = client.network.network_interfaces.begin_create_or_update
    return client.follow(f"make {name}", watch or Watch(), call, client.group, name, nic_body(arm))


def read_group(client: Arm, watch: Watch | None = None) -> Any:
    with client.asking("look at the group", watch):
        return client.get(client.group_path, "resources")


@contextmanager
def cancelled_after(seconds: float) -> Iterator[Watch]:
    """A watch that is cancelled then; and it must end what is inside at once."""
    switch = Cancellation()
    timer = threading.Timer(seconds, switch.cancel)
    timer.start()
    begin = time.monotonic()
    with pytest.raises(Cancelled):
        yield Watch(switch)
    assert time.monotonic() - begin < 20  # half a minute or more without
    timer.join()


# ---- what is sent


def test_versions_are_those_of_the_contracts() -> None:
    assert set(contract.operations().values()) == set(API.values())


def test_every_client_asks_in_its_own_version(client: Arm, arm: FakeArm) -> None:
    with client.asking("look"):
        assert list(client.compute.virtual_machines.list(client.group)) == []
        assert list(client.compute.disks.list_by_resource_group(client.group)) == []
        assert list(client.network.network_interfaces.list(client.group)) == []
        assert client.get(client.group_path, "resources")
    assert [r.status for r in arm.log] == [200] * 4


def test_nothing_is_asked_before_the_first_call(arm: FakeArm) -> None:
    Arm(host_config(arm)).close()
    assert not arm.log


def test_what_is_not_there_is_none_but_a_group_that_is_not_there_is_told(client: Arm, arm: FakeArm) -> None:
    with client.asking("look at the disk"):
        assert client.get(arm.account.id("disks", "none"), "disks") is None
    arm.fail("ResourceGroups_Get", "ResourceGroupNotFound")
    with pytest.raises(AzureFailed) as caught:
        read_group(client)
    assert (caught.value.code, caught.value.arm.is_missing) == (ErrorCode.HOST_REFUSES, False)
    assert caught.value.message.startswith("could not look at the group on weu: The resource group could not be found")


# ---- what takes long


def test_an_operation_is_followed_in_the_callers_thread(client: Arm, arm: FakeArm) -> None:
    arm.operations.polls = 3
    threads = threading.active_count()
    made = make(client, arm)
    assert made.name == "nic"
    assert arm.count("poll") == 4
    assert threading.active_count() == threads or [t.name for t in threading.enumerate() if "Poll" in t.name] == []


@pytest.mark.parametrize("style", ["both", "async", "location"])
def test_an_operation_that_fails_later_is_what_its_error_says(client: Arm, arm: FakeArm, style: Any) -> None:
    arm.operations.style = style
    arm.fail(NIC, "SubnetIsFull", asynchronous=True)
    with pytest.raises(AzureFailed) as caught:
        make(client, arm)
    assert (caught.value.arm.meaning, caught.value.code) == (Meaning.SUBNET_FULL, ErrorCode.CONNECTION_NOT_HEALTHY)


def test_cancel_ends_the_wait_for_an_operation_at_once(client: Arm, arm: FakeArm) -> None:
    arm.operations.polls, arm.operations.retry_after = 10, 30
    with cancelled_after(0.3) as watch:
        make(client, arm, watch=watch)


def test_an_operation_that_takes_longer_than_the_watch_is_no_failure_of_azures(client: Arm, arm: FakeArm) -> None:
    arm.operations.polls, arm.operations.retry_after = 10, 30
    with fails_with(ErrorCode.HOST_UNREACHABLE, "nic", "weu"):
        make(client, arm, watch=Watch().within(0.3))


def test_an_operation_can_be_looked_at_beside_other_things(client: Arm, arm: FakeArm) -> None:
    arm.operations.polls = 1
    with client.asking("make nic"):
        call = client.network.network_interfaces.begin_create_or_update
        operation = client.begin(call, client.group, "nic", nic_body(arm))
        assert [operation.look(), operation.look(), operation.look()] == [False, True, True]
        assert operation.result().name == "nic"


# ---- what Azure asks to repeat


def test_too_many_requests_are_waited_for_and_told(client: Arm, arm: FakeArm) -> None:
    told: list[str] = []
    arm.throttle("ResourceGroups_Get", retry_after=1)
    begin = time.monotonic()
    assert read_group(client, Watch(tell=told.append))
    assert time.monotonic() - begin >= 1
    assert [line for line in told if line.endswith("Azure has too many requests, and wants a rest of 1 s")]


def test_cancel_ends_a_pause_at_once(client: Arm, arm: FakeArm) -> None:
    arm.throttle("ResourceGroups_Get", retry_after=60)
    with cancelled_after(0.3) as watch:
        read_group(client, watch)


def test_a_pause_is_no_longer_than_the_watch(client: Arm, arm: FakeArm) -> None:
    arm.throttle("ResourceGroups_Get", retry_after=60, times=None)
    begin = time.monotonic()
    with pytest.raises(AzureFailed) as caught:
        read_group(client, Watch().within(0.5))
    assert time.monotonic() - begin < 20
    assert (caught.value.code, arm.count("ResourceGroups_Get")) == (ErrorCode.HOST_UNREACHABLE, 2)


def test_what_keeps_failing_is_repeated_six_times(client: Arm, arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudpc.machines.azure.pipeline.Transport.sleep", lambda *_: None)
    arm.fail("ResourceGroups_Get", "ServerTimeout", times=6)
    assert read_group(client)
    assert arm.count("ResourceGroups_Get") == 7


@pytest.mark.parametrize("code", ["ServiceUnavailable", "InternalServerError", "GatewayTimeout"])
def test_what_acts_is_never_repeated(client: Arm, arm: FakeArm, code: str) -> None:
    arm.fail("VirtualMachines_Start", code, retry_after=1)
    with pytest.raises(AzureFailed):
        client.follow("start vm", Watch(), client.compute.virtual_machines.begin_start, client.group, "vm")
    assert arm.count("VirtualMachines_Start") == 1


def test_what_acts_is_sent_again_where_it_was_refused_unseen(client: Arm, arm: FakeArm) -> None:
    arm.throttle("VirtualMachines_Start", retry_after=1)
    with pytest.raises(AzureFailed) as caught:
        client.follow("start vm", Watch(), client.compute.virtual_machines.begin_start, client.group, "vm")
    assert (caught.value.arm.is_missing, arm.count("VirtualMachines_Start")) == (True, 2)


def test_closed_it_can_be_used_again(client: Arm) -> None:
    assert read_group(client)
    client.close()
    assert read_group(client)


def test_many_at_a_time_are_no_warning(client: Arm, arm: FakeArm, caplog: pytest.LogCaptureFixture) -> None:
    arm.slow("ResourceGroups_Get", seconds=0.2, times=None)
    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(lambda _: read_group(client), range(48)))
    assert not caplog.records


def test_a_conflict_with_another_operation_passes(client: Arm, arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudpc.machines.azure.pipeline.Transport.sleep", lambda *_: None)
    arm.fail(NIC, "AnotherOperationInProgress", times=2)
    assert make(client, arm).name == "nic"


def test_another_conflict_does_not_even_if_azure_names_a_time(client: Arm, arm: FakeArm) -> None:
    arm.fail(NIC, "NicInUse", 409, retry_after=60)
    with pytest.raises(AzureFailed) as caught:
        make(client, arm)
    assert (caught.value.arm.meaning, arm.count(NIC)) == (Meaning.GOING, 1)


def test_a_lost_answer_is_asked_for_again(client: Arm, arm: FakeArm) -> None:
    arm.drop(NIC, when="after")
    assert make(client, arm).name == "nic"
    assert arm.count(NIC) == 2


def test_a_provider_that_is_not_registered_is_not_registered_by_us(client: Arm, arm: FakeArm) -> None:
    arm.registered["Microsoft.Network"] = "NotRegistered"
    with pytest.raises(AzureFailed) as caught:
        make(client, arm)
    assert (caught.value.arm.meaning, caught.value.code) == (Meaning.REGISTRATION, ErrorCode.HOST_REFUSES)
    assert not [r for r in arm.log if r.method == "POST" or "register" in r.path.rpartition("/")[2]]


# ---- signing in


def test_nobody_is_signed_in(client: Arm, arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE)
    with pytest.raises(AzureFailed) as caught:
        read_group(client)
    assert caught.value.code is ErrorCode.HOST_REFUSES
    assert "auth of the host weu is token, but the environment variable CLOUDPC_AZURE_TOKEN is not set" in str(
        caught.value
    )
    assert not arm.log


@pytest.mark.parametrize(("auth", "words"), [("cli", "run `az login --tenant contoso.com`"), ("environment", "set AZ")])
def test_no_other_sign_in_either(arm: FakeArm, monkeypatch: pytest.MonkeyPatch, auth: str, words: str) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AzureFailed) as caught:
        read_group(Arm(host_config(arm, auth=auth, tenantId="contoso.com")))
    assert (caught.value.arm.meaning, caught.value.code) == (Meaning.SIGN_IN, ErrorCode.HOST_REFUSES)
    assert words in caught.value.message


def test_a_sign_in_of_another_tenant_than_the_entrys(arm: FakeArm) -> None:
    other = "22222222-2222-2222-2222-222222222222"
    with pytest.raises(AzureFailed) as caught:
        read_group(Arm(host_config(arm, tenantId=other)))
    assert f"the tenant {arm.account.tenant}, but tenantId of the host weu is {other}" in caught.value.message
    assert not arm.log


def test_a_sign_in_of_another_tenant_than_the_subscriptions(
    client: Arm, arm: FakeArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, arm.token(tenant="33333333-3333-3333-3333-333333333333"))
    with pytest.raises(AzureFailed) as caught:
        read_group(client)
    assert (caught.value.code, caught.value.arm.code) == (ErrorCode.HOST_REFUSES, "InvalidAuthenticationTokenTenant")
    assert "give its id as tenantId of weu" in caught.value.hint


def test_a_token_for_something_else(client: Arm, arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tokens.issue(arm.account.tenant, time.time(), 3600, "https://graph.microsoft.com")
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    with pytest.raises(AzureFailed) as caught:
        read_group(client)
    assert caught.value.code is ErrorCode.HOST_REFUSES
    assert token not in caught.value.whole()


def test_the_tenant_is_known_from_the_token(client: Arm, arm: FakeArm) -> None:
    assert client.tenant() == arm.account.tenant
    assert not arm.log


def test_a_sign_in_that_expires_in_mid_run_is_told_and_a_new_one_is_taken(
    client: Arm, arm: FakeArm, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_group(client)
    arm.clock.advance(5)
    arm.expire_tokens()
    with pytest.raises(AzureFailed) as caught:
        read_group(client)
    assert (caught.value.code, caught.value.arm.code) == (ErrorCode.HOST_REFUSES, "ExpiredAuthenticationToken")
    assert caught.value.hint == "sign in again"
    monkeypatch.setenv(TOKEN_VARIABLE, arm.token())
    assert read_group(client), "whoever renews it needn't restart the run"


def test_a_token_that_was_revoked_is_got_anew(client: Arm, arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_group(client)
    arm.clock.advance(5)
    arm.expire_tokens()
    monkeypatch.setenv(TOKEN_VARIABLE, arm.token())
    assert read_group(client)
    assert [r.status for r in arm.log] == [200, 401, 200]


def test_a_role_that_is_revoked_in_mid_run_is_told_with_the_right_that_is_missing(client: Arm, arm: FakeArm) -> None:
    assert make(client, arm, "n1").name == "n1"
    arm.revoked_at = len(arm.log) + 1
    with pytest.raises(AzureFailed) as caught:
        make(client, arm, "n2")
    assert (caught.value.code, caught.value.arm.meaning) == (ErrorCode.HOST_REFUSES, Meaning.RIGHTS)
    assert "give whoever signs in Microsoft.Network/networkInterfaces/write on " in caught.value.hint


def test_one_token_is_kept_for_all(client: Arm, arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloudpc.microsoft import sign_in

    given: list[int] = []
    token = sign_in._GivenToken.get_token

    def counted(*arguments: Any, **options: Any) -> Any:
        given.append(1)
        return token(*arguments, **options)

    monkeypatch.setattr(sign_in._GivenToken, "get_token", counted)
    for _ in range(3):
        read_group(client)
    with client.asking("look"):
        list(client.network.network_interfaces.list(client.group))
        list(client.compute.virtual_machines.list(client.group))
    assert len(given) == 1


# ---- where it goes


def test_nobody_is_there(arm: FakeArm) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begin = time.monotonic()
    with pytest.raises(AzureFailed) as caught:
        read_group(Arm(host_config(arm, endpoint=f"http://127.0.0.1:{port}")))
    assert time.monotonic() - begin < 10
    assert (caught.value.code, caught.value.arm.meaning) == (ErrorCode.HOST_UNREACHABLE, Meaning.UNREACHABLE)
    assert f": 127.0.0.1:{port} can't be reached: Connection refused" in caught.value.message
    assert "0x" not in caught.value.message, "nor any library's own words"


def test_a_token_goes_to_azure_only(client: Arm, arm: FakeArm, monkeypatch: pytest.MonkeyPatch) -> None:
    real = arm.operations.headers
    monkeypatch.setattr(
        arm.operations, "headers",
        lambda *given: {k: v.replace("127.0.0.1", "evil.example") for k, v in real(*given).items()},
    )  # fmt: skip
    with pytest.raises(AzureFailed) as caught:
        make(client, arm)
    assert "nic on weu: Azure names evil.example to go on with" in caught.value.message
    assert "gets no token" in caught.value.message


def test_loopback_never_goes_through_a_proxy(client: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert read_group(client)


@pytest.mark.parametrize(
    ("cloud", "host", "scope", "sign_in"),
    [
        ("public", "management.azure.com", "https://management.azure.com/.default", "login.microsoftonline.com"),
        ("usGovernment", "management.usgovcloudapi.net", ANY, "login.microsoftonline.us"),
        ("china", "management.chinacloudapi.cn", "https://management.chinacloudapi.cn/.default", ANY),
    ],
)
def test_each_cloud_has_its_own(arm: FakeArm, cloud: str, host: str, scope: str, sign_in: str) -> None:
    from azure.core import AzureClouds
    from azure.mgmt.core.tools import get_arm_endpoints

    from cloudpc.machines.azure import sign_in as signing_in

    config = host_config(arm, cloud=cloud)
    found = signing_in.cloud_of(config)
    assert (found.arm, found.arm_scope, signing_in.sign_in(config).host) == (host, scope, sign_in)
    theirs = {"public": AzureClouds.AZURE_PUBLIC_CLOUD, "usGovernment": AzureClouds.AZURE_US_GOVERNMENT}
    known = get_arm_endpoints(theirs.get(cloud, AzureClouds.AZURE_CHINA_CLOUD))
    assert known == {"resource_manager": f"https://{host}/", "credential_scopes": [found.arm_scope]}


def test_nothing_secret_is_logged(client: Arm, arm: FakeArm, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    make(client, arm)
    assert "Bearer" not in caplog.text
    assert arm.token().split(".")[0] not in caplog.text
    assert "ipConfigurations" not in caplog.text
