"""`cloudpc policy import`: files and a tenant's policies become stacks, and nothing is overwritten unasked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import Project
from tests.tenant.fixtures import directory_file, tenant
from tests.tenant.samples import POLICY
from tests.tenant.tenant import Tenant

__all__ = ["directory_file", "tenant"]

pytestmark = pytest.mark.engine


def _write(project: Project, content: Any, name: str = "policies.json") -> str:
    file = project.root / name
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(file)


def _stack(project: Project, name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((project.root / "stacks" / f"Pulumi.{name}.yaml").read_text())
    return content


AZURE = {
    "name": "weu", "kind": "azure", "subscriptionId": "00000000-0000-4000-8000-00000000000a",
    "resourceGroup": "rg-cloudpc", "location": "westeurope",
}  # fmt: skip


def test_microsofts_images_stay_where_the_projects_hosts_have_them(project: Project) -> None:
    path = project.root / "stacks" / "Pulumi.demo.yaml"
    content = yaml.safe_load(path.read_text())
    content["config"]["cloudpc:hosts"] = [AZURE]
    path.write_text(yaml.safe_dump(content))
    ran = project.cloudpc("policy", "import", _write(project, {"value": [_assigned()]}))
    assert ran.code == 0, ran
    assert "left to do: cloudpc:policy.imageId" not in ran.output


def _assigned(**changes: Any) -> dict[str, Any]:
    return {**POLICY, "assignments": [{"target": {"groupId": "everybody"}}], **changes}


def test_an_imported_policy_is_run_once_its_image_is_one_of_ours(project: Project, tmp_path: Path) -> None:
    file = _write(project, {"value": [_assigned(domainJoinConfigurations=POLICY["domainJoinConfigurations"][:1])]})
    ran = project.cloudpc("policy", "import", file)
    assert ran.code == 0, ran
    for said in (
        "stacks/Pulumi.engineering-workstations.yaml is written: Engineering workstations",
        "not carried over: enableSingleSignOn (true): there is no single sign-on here",
        "left to do: cloudpc:policy.imageId: is not a recipe",
        "then: cloudpc policy validate engineering-workstations",
    ):
        assert said in ran.output
    demo, new = _stack(project, "demo")["config"], _stack(project, "engineering-workstations")["config"]
    # as all others of the project have it
    assert {key: value for key, value in new.items() if key != "cloudpc:policy"} == {
        key: value for key, value in demo.items() if key != "cloudpc:policy"
    }
    validated = project.cloudpc("policy", "validate", "engineering-workstations", "--json")
    assert [problem["field"] for problem in json.loads(validated.output)] == ["cloudpc:policy.imageId"]
    path = project.root / "stacks" / "Pulumi.engineering-workstations.yaml"
    path.write_text(path.read_text().replace("imageType: gallery", "imageType: custom").replace(
        f"imageId: {POLICY['imageId']}", "imageId: tiny"
    ))  # fmt: skip
    ran = project.cloudpc("up", "engineering-workstations")
    assert ran.code == 0, ran
    assert set(project.statuses("engineering-workstations").values()) == {"provisioned"}


def test_what_powershell_has_exported(project: Project) -> None:
    policy = {name[0].upper() + name[1:]: value for name, value in _assigned(id="1").items()}
    cut_off = {**policy, "DisplayName": "Cut off", "WindowsSetting": "@{Locale=de-DE}", "GracePeriodInHours": -7}
    file = project.root / "policies.json"
    file.write_bytes(json.dumps([policy, cut_off]).replace("-7", "9" * 6000).encode("utf-16"))
    ran = project.cloudpc("policy", "import", str(file))
    assert ran.code == 0, ran
    assert "stacks/Pulumi.cut-off.yaml is written: Cut off" in ran.output
    assert "not carried over: windowsSetting" in ran.output
    assert "is cut off, and left out; export it with ConvertTo-Json -Depth 10" in ran.output
    assert "can't be read, and is left out: it must be a whole number" in ran.output, "more digits than Python reads"
    for stack in ("engineering-workstations", "cut-off"):
        assert _stack(project, stack)["config"]["cloudpc:policy"]["assignments"] == [
            {"target": {"groupId": "everybody"}}
        ]


def test_what_is_there_is_replaced_only_by_force_and_only_its_policy(project: Project) -> None:
    path = project.root / "stacks" / "Pulumi.demo.yaml"
    path.write_text(path.read_text().replace("config:", "config:\n  cloudpc:installation: 0123456789abcdef"))
    before, text = _stack(project, "demo"), path.read_text()
    file = _write(project, _assigned(displayName="Demo"))
    refused = project.cloudpc("policy", "import", file)
    assert refused.code == 2, refused
    assert "stacks/Pulumi.demo.yaml: file: is there already: --force replaces its cloudpc:policy" in refused.output
    assert path.read_text() == text
    assert project.cloudpc("policy", "import", file, "--name", "other").code == 0
    ran = project.cloudpc("policy", "import", file, "--force", "--image", "micro")
    assert ran.code == 0, ran
    after = _stack(project, "demo")
    assert after["config"]["cloudpc:policy"]["imageId"] == "micro"
    before["config"].pop("cloudpc:policy")
    after["config"].pop("cloudpc:policy")
    assert after == before
    assert "encryptionsalt" in after


def test_each_policy_stands_for_itself(project: Project) -> None:
    file = _write(project, {"value": [_assigned(displayName="A"), _assigned(provisioningType="shared"),
                                      _assigned(displayName="a"), 5]})  # fmt: skip
    ran = project.cloudpc("policy", "import", file)
    assert ran.code == 1, ran
    assert "then: cloudpc policy validate a a-2" in ran.output
    assert f"{file} (Engineering workstations): provisioningType: can't be carried over" in ran.output
    assert f"{file}: file: must be a mapping" in ran.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "line 1, column 2: is not valid JSON"),
        ("\udcff", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON: it is nested too deeply"),
        ("{}", "must be a provisioning policy as Graph answers it"),
        ('{"value": []}', "there is no policy to import"),
    ],
)  # fmt: skip
def test_files_that_are_no_policies_are_told(project: Project, content: str, said: str) -> None:
    file = project.root / "x.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    ran = project.cloudpc("policy", "import", str(file))
    assert said in ran.output
    assert ran.code == 2, ran
    assert "Traceback" not in ran.output


def test_a_command_line_that_does_not_say_what_is_told(project: Project) -> None:
    file = _write(project, {"value": [_assigned(), _assigned()]})
    for arguments, said in (
        (["--force"], "name files, or --all"),
        ([file, "--all"], "name files, or --all"),
        ([file, "--name", "x"], "--name is for one policy; there are 2"),
        ([_write(project, _assigned(), "one.json"), "--name", "a/b"], "a stack's name may only contain"),
        ([str(project.root / "none.json")], "can't be read: No such file"),
    ):
        ran = project.cloudpc("policy", "import", *arguments)
        assert ran.code == 2, ran
        assert said in ran.output


def test_all_of_a_tenant(project: Project, tenant: Tenant) -> None:
    tenant.add_policy(POLICY, "engineering")
    path = project.root / "stacks" / "Pulumi.demo.yaml"
    content = _stack(project, "demo")
    content["config"]["cloudpc:graph"] = {"endpoint": tenant.endpoint, "auth": "token"}
    path.write_text(yaml.safe_dump(content))
    ran = project.cloudpc("policy", "import", "--all", CLOUDPC_GRAPH_TOKEN=tenant.token)
    assert ran.code == 0, ran
    imported = _stack(project, "engineering-workstations")["config"]
    assert len(imported["cloudpc:policy"]["assignments"]) == 1
    assert imported["cloudpc:graph"] == content["config"]["cloudpc:graph"]
    failed = project.cloudpc("policy", "import", "--all", CLOUDPC_GRAPH_TOKEN="no such token")
    assert failed.code == 1, failed
    assert "the tenant's policies can't be read" in failed.output
    assert "no such token" not in failed.output
