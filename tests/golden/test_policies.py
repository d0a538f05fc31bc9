"""What is said of policies: what is wrong with them, who of several serves whom, and how one ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.golden.by_hand import SMALL, assign, config
from tests.golden.conftest import Golden
from tests.support.project import Project, user

pytestmark = pytest.mark.engine

_HQ = {"domainJoinType": "azureADJoin", "onPremisesConnectionId": "hq"}
_LAB = {"domainJoinType": "hybridAzureADJoin", "onPremisesConnectionId": "lab"}


def _stack_file(project: Project, name: str, content: str) -> None:
    (project.root / "stacks" / name).write_text(content)


def test_what_is_wrong_is_told_all_at_once(golden: Golden, project: Project) -> None:
    project.directory(2)
    golden.cloudpc("policies/valid", "policy", "validate")
    golden.cloudpc("schemas/policy", "policy", "schema")
    golden.cloudpc("schemas/directory", "policy", "schema", "--of", "directory")
    golden.cloudpc("schemas/connection", "policy", "schema", "--of", "connection")
    golden.cloudpc("policies/no-such-policy", "policy", "validate", "nowhere")
    project.policy(
        displayName="a<b", imageType="custm", imageId="", timeZone="Mars/Olympus", cloudPcNamingTemplate="PC",
        windowsSetting={"locale": "english"}, gracePeriodInHours=-1, localAdminEnabled="perhaps", packages=["HTOP;"],
        timeouts={"firstBootInSeconds": 0}, provisioningType="shared", colour="red",
        domainJoinConfigurations=[{"domainJoinType": "none"}, {"regionName": "everywhere"}],
        assignments=[{"target": {"groupId": "everybody"}}, {"target": {"groupId": "everybody"}}, {"target": {}}],
    )  # fmt: skip
    golden.cloudpc("policies/wrong-by-itself", "policy", "validate")
    golden.cloudpc("policies/wrong-up", "up", "demo")
    project.policy()
    config(
        project,
        hosts=[{"name": "a b", "uri": "fakir:///x"}, {"name": "host"}, {"name": "host", "uri": "qemu+ssh://h/system",
               "mode": "fast"}],
        images={"tiny": {"path": "tiny.qcow2", "url": "http://images.example/tiny.qcow2"}, "big": {"sha256": "12"}},
        directory={"kind": "ldap"}, audit={"path": "nowhere/audit.jsonl"}, safety={"massLossInPercent": 101},
        actions={"reprovision": {"u000": 2}, "retry": {f"u000/{SMALL}": -1}, "endGrace": {f"u000/{SMALL}": "soon"},
                 "resize": {}},
        installation="X", organization={},
    )  # fmt: skip
    golden.cloudpc("policies/wrong-around-it", "policy", "validate")
    project.policy(
        imageId="tinny", assignments=[{"target": {"groupId": "everybodi"}}], postProvisioningScript="no.sh",
        domainJoinConfigurations=[_HQ, _LAB],
    )  # fmt: skip
    (project.root / "stacks" / "connections").mkdir()
    _stack_file(project, "connections/lab.yaml", "bridge: br 0\nadDomainName: corp\ncolour: red\n")
    golden.cloudpc("policies/wrong-in-what-it-names", "policy", "validate")
    golden.cloudpc("policies/wrong-as-json", "policy", "validate", "--json")
    project.policy()
    for name, content in {
        "not-yaml": "config: [",
        "no-config": "encryptionsalt: x\n",
        "twice": "config:\n  cloudpc:policy: {}\n  cloudpc:policy: {}\n",
    }.items():
        _stack_file(project, f"Pulumi.{name}.yaml", content)
    golden.cloudpc("policies/wrong-as-files", "policy", "validate")
    golden.cloudpc("policies/left-out-of-a-list", "list", "--all")
    _stack_file(
        project,
        "directory.yaml",
        "users:\n- {id: a, userPrincipalName: x, colour: red}\n- {id: a, servicePlans: [none]}\n"
        "groups:\n- {id: g, members: [nobody]}\nservicePlans:\n- {id: p, vCpuCount: 0, ramInGB: few}\n",
    )
    golden.cloudpc("policies/wrong-directory", "policy", "validate", "demo")
    _stack_file(project, "directory.yaml", "users: [")
    golden.cloudpc("policies/directory-not-yaml", "up", "demo")
    (project.root / "stacks" / "directory.yaml").unlink()
    golden.cloudpc("policies/no-directory", "up", "demo")


def test_several_policies_and_one_that_ends(golden: Golden, project: Project) -> None:
    people = [user(name) for name in ("in-first", "in-both", "in-none", "in-second")]
    people += [user("no-licence", servicePlans=[]), user("disabled", accountEnabled=False)]
    members = {"first": ["in-first", "in-both", "no-licence", "disabled"], "second": ["in-second", "in-both"]}
    project.directory(people, members)
    (project.root / "stacks" / "Pulumi.demo.yaml").unlink()
    for name in members:
        assign(project, name, policy=name)
    project.init("first")
    project.up("first")
    golden.cloudpc("policies/one-of-two-has-run", "list", "--all")
    golden.cloudpc("policies/side-by-side", "up", "--at-once", "1")
    golden.cloudpc("policies/several", "list", "--all")
    golden.cloudpc("policies/list-of-one", "list", "--policy", "first")
    golden.cloudpc("policies/list-of-an-unknown-one", "list", "--policy", "frist")
    project.directory(people, {**members, "first": ["in-first", "no-licence", "disabled"]})
    project.up("first")
    golden.cloudpc("policies/waits-for-the-end-of-the-others", "list", "--all")
    golden.cloudpc("policies/delete-an-assigned-one", "policy", "delete", "first")
    assign(project, policy="first")
    golden.cloudpc("policies/delete-question", "policy", "delete", "first", answer="n")
    golden.cloudpc("policies/delete", "policy", "delete", "first", "--yes")
    golden.cloudpc("policies/list-of-a-deleted-one", "list", "--policy", "first")
    golden.cloudpc("policies/validate-a-deleted-one", "policy", "validate", "first")
    golden.cloudpc("policies/end-of-a-deleted-one", "end-grace", "in-first", "in-both", "--yes")
    file = project.root / "stacks" / "Pulumi.second.yaml"
    file.rename(project.root / "elsewhere.yaml")
    golden.cloudpc("doctor/policy-without-a-file", "doctor")
    golden.cloudpc("policies/down-without-a-file", "down", "second", answer="n")
    golden.cloudpc("policies/up-without-a-file", "up", "second")
    golden.pulumi("policies/destroy-is-refused", "destroy", "--yes", "--stack", "second", "--exclude-protected")


def test_an_import(golden: Golden, project: Project) -> None:
    project.directory(1)
    policy: dict[str, Any] = {
        "displayName": "Engineering workstations", "description": "", "provisioningType": "dedicated",
        "imageId": "microsoftwindowsdesktop_windows-ent-cpc_win11", "imageType": "gallery",
        "domainJoinConfigurations": [{"domainJoinType": "azureADJoin", "regionName": "westeurope"}],
        "enableSingleSignOn": True, "gracePeriodInHours": 4,
        "windowsSetting": {"locale": "en-US"}, "cloudPcNamingTemplate": "CPC-%USERNAME:5%-%RAND:5%",
        "assignments": [{"target": {"groupId": "everybody"}}],
    }  # fmt: skip
    file = project.root / "policies.json"
    file.write_text(json.dumps({"value": [policy]}))
    golden.cloudpc("policies/import", "policy", "import", "policies.json")
    golden.cloudpc("policies/import-again", "policy", "import", "policies.json")
    golden.cloudpc("policies/import-no-json", "policy", "import", "stacks/directory.yaml")


def test_connections(golden: Golden, project: Project) -> None:
    project.directory(1)
    golden.cloudpc("connections/none", "connection", "list")
    folder = project.root / "stacks" / "connections"
    folder.mkdir()
    for name, content in {
        "hq": "libvirtNetwork: corp\ndisplayName: Headquarters\n", "lab": "bridge: br0\n",
        "spare": "hostedNetwork: true\n", "wrong": "network: corp\n",
    }.items():  # fmt: skip
        (folder / f"{name}.yaml").write_text(content)
    project.host(networks=["corp"])
    lab = {**_LAB, "domainJoinType": "azureADJoin"}
    project.policy(domainJoinConfigurations=[_HQ])
    golden.cloudpc("connections/list", "connection", "list")
    golden.cloudpc("connections/list-as-json", "connection", "list", "--json")
    golden.cloudpc("connections/check-wrong-file", "connection", "check")
    golden.cloudpc("connections/check-mistyped", "connection", "check", "hqq")
    golden.cloudpc("connections/check", "connection", "check", "hq", "lab", "spare")
    golden.cloudpc("connections/check-as-json", "connection", "check", "hq", "lab", "--json")
    golden.cloudpc("connections/not-of-this-policy", "connection", "check", "lab", "--policy", "demo")
    (folder / "wrong.yaml").unlink()
    project.policy(domainJoinConfigurations=[lab, _HQ])
    golden.cloudpc("connections/a-run-takes-the-healthy-one", "up", "demo")
    project.policy(domainJoinConfigurations=[lab])
    project.directory(2)
    golden.cloudpc("connections/none-is-healthy", "up", "demo")
    golden.preview("connections/waits-for-a-healthy-one")
