"""`cloudpc connection`, and what an unhealthy connection does to a run."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
import yaml

from tests.azure.arm import FakeArm
from tests.azure.fixtures import arm
from tests.support import azure
from tests.support.project import Project

__all__ = ["arm"]
pytestmark = pytest.mark.engine

_HOSTED = {"domainJoinType": "azureADJoin", "regionName": "automatic"}


def _through(*connections: str) -> list[dict[str, str]]:
    return [{"domainJoinType": "azureADJoin", "onPremisesConnectionId": name} for name in connections]


def _connection(project: Project, name: str, **values: Any) -> None:
    folder = project.root / "stacks" / "connections"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))


def test_checks_are_told_with_graphs_names_and_the_exit_code_says_whether_one_failed(project: Project) -> None:
    project.host(networks=["corp"])
    _connection(project, "hq", libvirtNetwork="corp", displayName="Headquarters")
    _connection(project, "lab", bridge="br0")
    _connection(project, "spare", hostedNetwork=True)
    project.policy(domainJoinConfigurations=_through("hq"))
    project.policy("second", domainJoinConfigurations=[*_through("lab", "hq"), _HOSTED])

    healthy = project.cloudpc("connection", "check", "--policy", "demo", "--json")
    assert healthy.code == 0, healthy
    assert json.loads(healthy.output) == [
        {
            "id": "hq",
            "displayName": "Headquarters",
            "healthCheckStatus": "passed",
            "healthCheckStatusDetail": {
                "healthChecks": [
                    {
                        "displayName": "libvirt network corp on host", "status": "passed", "errorType": "",
                        "recommendedAction": "", "additionalDetail": "",
                    }
                ]
            },
        }
    ]  # fmt: skip
    everything = project.cloudpc("connection", "check")
    assert everything.code == 1, everything
    for said in ("hq", "lab", "spare", "failed", "resourceAvailabilityCheckVNetInvalid", "-> make it"):
        assert said in everything.output
    assert "used by no policy: stacks/connections/spare.yaml" in everything.output
    assert project.cloudpc("connection", "check", "hq", "spare").code == 0

    rows = {
        row["id"]: row
        for row in json.loads(project.cloudpc("connection", "list", "--json").output.partition("used by")[0])
    }
    assert {name: row["policies"] for name, row in rows.items()} == {
        "hq": ["demo", "second"], "lab": ["second"], "spare": [],
    }  # fmt: skip
    listed = project.cloudpc("connection", "list").output
    assert "network corp" in listed
    assert "used by no policy: stacks/connections/spare.yaml" in listed


def test_bad_connections_are_told_all_at_once_and_nothing_is_asked(project: Project) -> None:
    assert "no connections in stacks/connections/" in project.cloudpc("connection", "list").output
    assert "no connections to check" in project.cloudpc("connection", "check").output
    _connection(project, "hq", libvirtNetwork="corp", bridge="br0", endpoint=["x"])
    _connection(project, "lab", adDomainName="corp.example")
    ran = project.cloudpc("connection", "check")
    assert ran.code == 2, ran
    assert "the configuration has 5 problems" in ran.output
    assert "did you mean 'endpoints'?" in ran.output
    assert "check_network" not in " ".join(project.calls())
    assert project.cloudpc("connection", "list").output.count("invalid; see") == 2
    for arguments, said in (
        (["labs"], "did you mean 'lab'?"),
        (["--policy", "none"], "there is no policy 'none'"),
        (["lab", "--policy", "demo"], "demo does not use lab, but: the hosted network only"),
    ):
        ran = project.cloudpc("connection", "check", *arguments)
        assert ran.code == 2, ran
        assert said in ran.output


def test_with_no_healthy_connection_everybody_waits_and_gets_one_when_it_is(project: Project) -> None:
    project.directory(5)
    project.host(networks=["corp"])
    with socket.socket() as intranet:
        intranet.bind(("127.0.0.1", 0))  # and does not listen yet
        _connection(
            project, "hq", libvirtNetwork="corp", endpoints=[f"127.0.0.1:{intranet.getsockname()[1]}"],
        )  # fmt: skip
        project.policy(domainJoinConfigurations=_through("hq"))
        project.up()
        state = project.state()
        assert {outputs["status"] for outputs in state.values()} == {"pendingProvision"}
        detail = state["u000"]["statusDetail"]
        assert detail["code"] == "connectionNotHealthy"
        assert "the connection hq is not healthy: endpoint 127.0.0.1" in detail["message"]
        assert "[endpointConnectivityCheckUnknownError]" in detail["message"]
        assert "take it out of the connection's endpoints" in detail["additionalInformation"]["hint"]
        assert {outputs["attempts"] for outputs in state.values()} == {1}
        assert project.machines() == {}
        assert project.calls().count("check_network ") == 1, "once for all of them"

        intranet.listen()
        project.up()
        assert set(project.statuses().values()) == {"provisioned"}


def test_a_subnet_in_azure_is_looked_at_on_the_hosts_there(project: Project, arm: FakeArm) -> None:
    project.env["CLOUDPC_AZURE_TOKEN"] = arm.token()
    _connection(project, "hub", subnetId=arm.account.subnet_id)
    _connection(project, "lost", subnetId=arm.account.subnet_id.replace("cloudpcs", "lost"))
    other = {"name": "host", "uri": f"fake://{project.root}/host"}  # which can have no subnet, and is not asked
    azure.policy(project, other, azure.entry(arm), domainJoinConfigurations=_through("hub", "lost"))

    healthy = project.cloudpc("connection", "check", "hub", "--json")
    assert healthy.code == 0, healthy
    [hub] = json.loads(healthy.output)
    assert hub["healthCheckStatus"] == "passed"
    assert "free addresses on weu" in {check["displayName"] for check in hub["healthCheckStatusDetail"]["healthChecks"]}

    arm.permissions = [{"actions": ["*"], "notActions": ["Microsoft.Compute/virtualMachines/write"]}]
    failed = project.cloudpc("connection", "check")
    assert failed.code == 1, failed
    for said in (
        "permissionCheckNoWindows365NetworkInterfaceContributorRole",
        "not allowed: Microsoft.Compute/virtualMachines/write",
        "resourceAvailabilityCheckSubnetInvalid",
        "The network hub has these: cloudpcs.",
    ):
        assert said in failed.output
