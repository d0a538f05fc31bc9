"""Policies of Microsoft Graph as ours: what maps, what is said, what is refused, and never a traceback."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from hypothesis import Phase, example, find, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cloudpc.cli import policies, up
from cloudpc.cli.policy_import import _parsed
from cloudpc.configuration import parsing
from cloudpc.configuration.graph_policy import policies_in
from cloudpc.configuration.imported import Imported, Remark, to_yaml
from cloudpc.configuration.policy_import import convert, stack_name
from cloudpc.files import yaml_file
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.model.problems import InvalidConfigurationError, Problem

_CONTRACTS = Path(__file__).parents[1] / "contracts"
_VERSIONS = {"v1.0": "graph-v1.0.json", "beta": "provisioning-policy-beta.json"}
_POLICY = "microsoft.graph.cloudPcProvisioningPolicy"
_OTHERS = {"cloudpc:directory": {"kind": "local", "path": "directory.yaml"}}


def graphs(**changes: Any) -> dict[str, Any]:
    """A policy as Graph answers it; None is null there."""
    return {
        "@odata.type": "#microsoft.graph.cloudPcProvisioningPolicy",
        "id": "1d164206-bf41-4fd2-8424-a3192d39ffff",
        "displayName": "Engineering",
        "description": "For engineers",
        "provisioningType": "dedicated",
        "domainJoinConfigurations": [
            {"domainJoinType": "azureADJoin", "regionName": "automatic", "onPremisesConnectionId": None}
        ],
        "imageId": "microsoftwindowsdesktop_windows-ent-cpc_win11-23h2-ent-cpc-m365",
        "imageDisplayName": "Windows 11",
        "imageType": "gallery",
        "windowsSetting": {"locale": "de-DE"},
        "cloudPcNamingTemplate": "CPC-%USERNAME:3%-%RAND:6%",
        "enableSingleSignOn": False,
        "localAdminEnabled": True,
        "microsoftManagedDesktop": {"managedType": "notManaged", "profile": None},
        "autopatch": {"autopatchGroupId": None},
        "gracePeriodInHours": 4,
        "scopeIds": ["0"],
        "managedBy": "windows365",
        "createdDateTime": "2026-01-01T00:00:00Z",
        "assignments@odata.context": "…",
        "assignments": [_assignment("64ff06de")],
        **changes,
    }


def _assignment(group: str | None, **target: Any) -> dict[str, Any]:
    kind = "#microsoft.graph.cloudPcManagementGroupAssignmentTarget"
    return {"id": f"x_{group}", "target": {"@odata.type": kind, "groupId": group, "servicePlanId": None, **target}}


def _lost(imported: Imported) -> dict[str, str]:
    return {remark.field: remark.why for remark in imported.remarks if not remark.decide}


def _to_decide(imported: Imported) -> list[str]:
    return [remark.field for remark in imported.remarks if remark.decide]


def _reasons(**changes: Any) -> list[str]:
    with pytest.raises(InvalidConfigurationError) as refused:
        convert(graphs(**changes), "policies.json")
    return [str(problem) for problem in refused.value.problems]


def _read_back(imported: Imported, tmp_path: Path, **keep: Any) -> dict[str, Any]:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(to_yaml(imported, _OTHERS, keep), encoding="utf-8")
    content: dict[str, Any] = yaml_file.read(file, "x")
    return content


# ---- what maps


def test_all_that_has_a_counterpart_is_carried_over(tmp_path: Path) -> None:
    imported = convert(graphs(), "policies.json")
    assert imported.policy == {
        "displayName": "Engineering",
        "description": "For engineers",
        "domainJoinConfigurations": [{"domainJoinType": "azureADJoin", "regionName": "automatic"}],
        "imageType": "gallery",
        "imageId": "microsoftwindowsdesktop_windows-ent-cpc_win11-23h2-ent-cpc-m365",
        "cloudPcNamingTemplate": "CPC-%USERNAME:3%-%RAND:6%",
        "windowsSetting": {"locale": "de-DE"},
        "localAdminEnabled": True,
        "gracePeriodInHours": 4,
        "assignments": [{"target": {"groupId": "64ff06de"}}],
    }
    assert _lost(imported) == {}
    assert _to_decide(imported) == ["imageId"]
    content = _read_back(imported, tmp_path, encryptionsalt="v1:x")
    assert content == {"config": {"cloudpc:policy": imported.policy, **_OTHERS}, "encryptionsalt": "v1:x"}
    text = to_yaml(imported, _OTHERS, {})
    assert "    # TO DECIDE: imageId" in text.partition("    imageId:")[0].splitlines()[-1]


def test_hybrid_policies_name_the_connection_that_is_to_be_written() -> None:
    joins = [
        {"domainJoinType": "hybridAzureADJoin", "onPremisesConnectionId": "16ee6c71"},
        {"domainJoinType": "azureADJoin", "onPremisesConnectionId": "26ee6c71", "regionName": "westeurope"},
        {"domainJoinType": "azureADJoin", "regionName": "westeurope", "regionGroup": "europeUnion"},
    ]
    imported = convert(graphs(domainJoinConfigurations=joins), "policies.json")
    assert imported.policy["domainJoinConfigurations"] == [
        {"domainJoinType": "hybridAzureADJoin", "onPremisesConnectionId": "16ee6c71"},
        {"domainJoinType": "azureADJoin", "onPremisesConnectionId": "26ee6c71"},
        {"domainJoinType": "azureADJoin", "regionName": "automatic"},
    ]
    field = "domainJoinConfigurations[{}].{}"
    assert set(_lost(imported)) == {
        field.format(1, "regionName"), field.format(2, "regionName"), field.format(2, "regionGroup"),
    }  # fmt: skip
    assert _to_decide(imported) == [
        field.format(0, "onPremisesConnectionId"), field.format(1, "onPremisesConnectionId"), "imageId",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "join"),
    [
        ({"domainJoinConfiguration": {"type": "azureADJoin"}}, {"regionName": "automatic"}),
        ({"onPremisesConnectionId": "16ee6c71"}, {"onPremisesConnectionId": "16ee6c71"}),
    ],
)
def test_the_betas_earlier_names_are_understood(old: dict[str, Any], join: dict[str, str]) -> None:
    values = graphs(domainJoinConfigurations=[], windowsSetting=None, windowsSettings={"language": "fr-FR"}, **old)
    imported = convert(values, "policies.json")
    kind = "azureADJoin" if "regionName" in join else "hybridAzureADJoin"
    assert imported.policy["domainJoinConfigurations"] == [{"domainJoinType": kind, **join}]
    assert imported.policy["windowsSetting"] == {"locale": "fr-FR"}
    text = to_yaml(imported, _OTHERS, {})
    assert all(remark.field in text for remark in imported.remarks)


def test_an_image_of_ours_takes_the_place_of_microsofts() -> None:
    imported = convert(graphs(imageType="custom", imageId="0a1b"), "policies.json", image="debian-12")
    assert (imported.policy["imageType"], imported.policy["imageId"]) == ("gallery", "debian-12")
    assert _to_decide(imported) == []
    assert convert(graphs(imageType="custom", imageId="0a1b"), "x").policy["imageType"] == "custom"


# ---- what is said


@pytest.mark.parametrize(
    ("changes", "field", "why"),
    [
        ({"displayName": ' A & "B"\n|C '}, "displayName", "is written as 'A B C'"),
        ({"displayName": "x" * 130}, "displayName", "at most 120"),
        ({"cloudPcNamingTemplate": "CPC-%RAND:3%"}, "cloudPcNamingTemplate", "at least 5 random characters"),
        ({"windowsSetting": {"locale": "German"}}, "windowsSetting.locale", "must be like en-US"),
        ({"gracePeriodInHours": -1}, "gracePeriodInHours", "168 takes its place"),
        ({"imageType": "unknownFutureValue"}, "imageType", "gallery takes its place"),
        ({"enableSingleSignOn": True}, "enableSingleSignOn", "no single sign-on"),
        ({"autopatch": {"autopatchGroupId": "x"}}, "autopatch", "Autopatch"),
        ({"microsoftManagedDesktop": {"managedType": "premiumManaged"}}, "microsoftManagedDesktop", "no counterpart"),
        ({"scopeIds": ["0", "7"]}, "scopeIds", "scope tags"),
        ({"managedBy": "devBox"}, "managedBy", "no other service"),
        ({"userExperienceType": "cloudApp"}, "userExperienceType", "whole Cloud PCs"),
        ({"autopilotConfiguration": {"applicationTimeoutInMinutes": 30}}, "autopilotConfiguration", "packages"),
        ({"somethingNew": 1}, "somethingNew", "is not known here"),
        ({"assignments": [_assignment(None)]}, "assignments[0].target.groupId", "names no group"),
        ({"assignments": [_assignment("g", servicePlanId="p")]}, "assignments[0].target.servicePlanId", "each licence"),
        (
            {"assignments": [_assignment("g", allotmentDisplayName="a")]},
            "assignments[0].target.allotmentDisplayName", "shared Cloud PCs",
        ),
    ],
)  # fmt: skip
def test_what_is_not_carried_over_is_said_with_field_value_and_reason(
    changes: dict[str, Any], field: str, why: str
) -> None:
    imported = convert(graphs(**changes), "policies.json")
    assert list(_lost(imported)) == [field]
    assert why in _lost(imported)[field]
    assert f"#   {field} (" in to_yaml(imported, _OTHERS, {})


def test_without_assignments_it_is_said_and_the_same_group_twice_is_one() -> None:
    values = graphs()
    del values["assignments"]
    imported = convert(values, "policies.json")
    assert "assignments" not in imported.policy
    assert _to_decide(imported) == ["imageId", "assignments"]
    assert "# TO DECIDE: assignments" in to_yaml(imported, _OTHERS, {})
    twice = convert(graphs(assignments=[_assignment("g"), _assignment("g")]), "policies.json")
    assert twice.policy["assignments"] == [{"target": {"groupId": "g"}}]


def test_what_somebody_typed_in_the_tenant_ends_no_comment() -> None:
    values = graphs(somethingNew="x\nconfig: {}\u2028y", imageDisplayName="\r\nimageId: y", id="1\nconfig: {}")
    lines = to_yaml(convert(values, "policies.json"), _OTHERS, {}).splitlines()
    assert [line for line in lines if "config:" in line and not line.startswith("#")] == ["config:"]
    assert str(Remark("a", "b\x1b[31m", "c\nd")) == 'a ("b\\u001b[31m"): c\\nd'


# ---- as tools export it


def _pascal(value: Any) -> Any:
    """As PowerShell's ConvertTo-Json writes what Graph's module has read."""
    if isinstance(value, list):
        return [_pascal(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name if name.startswith("@") else name[0].upper() + name[1:]: _pascal(each) for name, each in value.items()
    } | {"AdditionalProperties": {}}


def test_names_without_regard_to_case() -> None:
    assert convert(_pascal(graphs()), "x") == convert(graphs(), "x")
    assert convert({name.upper(): value for name, value in graphs().items()}, "x") == convert(graphs(), "x")
    assert policies_in({"Value": [_pascal(graphs())]}, "x") == [_pascal(graphs())]


def test_lists_and_properties_where_powershell_has_them() -> None:
    target = {"AdditionalProperties": {"@odata.type": "#x", "groupId": "64ff06de"}, "Id": None}
    written = _pascal(graphs()) | {
        "Assignments": {"Id": "x", "Target": target, "AdditionalProperties": {}},
        "DomainJoinConfigurations": {"value": _pascal(graphs())["DomainJoinConfigurations"], "Count": 1},
        "ScopeIds": "0",
    }
    imported = convert(written, "x")
    assert imported.policy == convert(graphs(), "x").policy
    assert _lost(imported) == {}


def test_values_as_text_and_in_another_case() -> None:
    joins = [{"domainJoinType": "AzureADJoin", "regionName": "Automatic"}]
    imported = convert(
        graphs(
            localAdminEnabled="True", gracePeriodInHours="4", enableSingleSignOn="False", imageType="Gallery",
            provisioningType="Dedicated", domainJoinConfigurations=joins,
        ), "x",
    )  # fmt: skip
    assert imported == convert(graphs(), "x")
    assert convert(graphs(gracePeriodInHours=4.0, displayName=2026), "x").display_name == "2026"


def test_what_a_policy_must_have_and_can_not_be_read_is_to_be_decided(tmp_path: Path) -> None:
    imported = convert(graphs(displayName=["Engineering"], imageId={"id": 1}), "x")
    policy = _read_back(imported, tmp_path)["config"]["cloudpc:policy"]
    assert (policy["displayName"], policy["imageId"]) == ("to-be-decided", "to-be-decided")
    assert {"displayName", "imageId"} <= {remark.field for remark in imported.remarks if remark.decide}
    assert convert(graphs(imageId=["x"]), "x", "micro").policy["imageId"] == "micro"


@pytest.mark.parametrize(
    ("changes", "field", "why"),
    [
        ({"description": ["x"]}, "description", "can't be read, and is left out: it must be text"),
        ({"localAdminEnabled": "maybe"}, "localAdminEnabled", "must be true or false"),
        ({"gracePeriodInHours": "a week"}, "gracePeriodInHours", "must be a whole number"),
        ({"gracePeriodInHours": "9" * 5000}, "gracePeriodInHours", "must be a whole number"),
        ({"windowsSetting": "@{Locale=de-DE}"}, "windowsSetting", "is cut off, and left out; export it with ConvertTo"),
        ({"windowsSetting": {"locale": 5}}, "windowsSetting.locale", "must be text"),
        ({"provisioningType": 0}, "provisioningType", "must be text"),
        ({"assignments": "Microsoft.Graph.PowerShell.Models.X"}, "assignments", "is cut off"),
        ({"assignments": [5, _assignment("g")]}, "assignments[0]", "can't be read"),
        ({"assignments": [{"target": {"groupId": 5}}, _assignment("g")]}, "assignments[0].target.groupId", "must be"),
        ({"assignments": 5}, "assignments", "must be a list"),
        ({"domainJoinConfigurations": ["x", {"domainJoinType": "azureADJoin"}]}, "domainJoinConfigurations[0]", "read"),
        ({"domainJoinConfigurations": "System.Object[]"}, "domainJoinConfigurations", "is cut off"),
        ({"id": {}}, "id", "must be text"),
        ({"id": "a\ud83d"}, "id", "a part of a letter or emoji alone, which is left out"),
        ({"description": "cut emoji \ud83d"}, "description", "a part of a letter"),
        ({"displayName": "Engineering \ud83d"}, "displayName", "a part of a letter"),
        ({"imageId": "\ud83d"}, "imageId", "a part of a letter"),
        ({"assignments": [_assignment("g \ude00"), _assignment("h")]}, "assignments[0].target.groupId", "a part of a"),
        ({"assignments": [_assignment("\ude00"), _assignment("h")]}, "assignments[0].target.groupId", "a part of a"),
        ({"domainJoinConfigurations": [{"domainJoinType": "azureADJoin", "regionName": "automatic\ud83d"}]},
         "domainJoinConfigurations[0].regionName", "a part of a letter"),
        ({"domainJoinConfigurations": [{"domainJoinType": "azureADJoin", "x\ud83d": "\ud83d"}]},
         "domainJoinConfigurations[0].x\ud83d", "a part of a letter"),
        ({"scopeIds": ["\ud83d"]}, "scopeIds", "scope tags"),
    ],
)  # fmt: skip
def test_a_value_that_can_not_be_read_costs_a_remark_and_never_the_policy(
    changes: dict[str, Any], field: str, why: str, tmp_path: Path
) -> None:
    imported = convert(graphs(**changes), "x")
    assert why in _lost(imported)[field]
    content = _read_back(imported, tmp_path)
    assert parsing.parse(content["config"], "x").policy.display_name == "Engineering"


def test_halves_of_a_letter_that_belong_together_are_one() -> None:
    imported = convert(graphs(description="a \ud83d\ude00\ud83d!"), "x")
    assert imported.policy["description"] == "a \U0001f600!"
    assert convert(graphs(assignments=[_assignment("g \ud83d")]), "x").policy["assignments"] == [
        {"target": {"groupId": "g"}}
    ]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("@{a=b}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["Target", "groupId", "value", "Count", "Locale", "AdditionalProperties", "domainJoinType"]),
        inner, max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(graphs())), _JSON, max_size=4))
@example({"managedBy": {"Target": False}})
def test_whatever_stands_in_a_field_the_policy_is_imported_or_a_reason_given(changes: dict[str, Any]) -> None:
    needed = {"displayName", "imageId", "domainJoinConfigurations", "provisioningType"}
    imported, refused = _imported(graphs(**changes))
    assert {problem.field for problem in refused} <= needed & changes.keys()
    if imported is not None:
        ProvisioningPolicy.model_validate(imported.policy)
        assert all("\n" not in str(remark) for remark in imported.remarks)


def _imported(values: dict[str, Any]) -> tuple[Imported | None, tuple[Problem, ...]]:
    try:
        return convert(values, "x"), ()
    except InvalidConfigurationError as error:
        return None, tuple(error.problems)


# ---- what is refused


def test_what_cannot_be_one_of_ours_is_refused_with_all_reasons() -> None:
    told = _reasons(
        displayName="<>", provisioningType="sharedByUser", imageId=None,
        domainJoinConfigurations=[{"domainJoinType": "unknownFutureValue"}, {"domainJoinType": "hybridAzureADJoin"}],
    )  # fmt: skip
    assert [text.split(": ")[1] for text in told] == [
        "displayName", "provisioningType", "domainJoinConfigurations", "imageId",
    ]  # fmt: skip
    assert all(text.startswith("policies.json: ") for text in told)
    assert _reasons(displayName=None, imageId="") == [
        "policies.json: displayName: is required",
        "policies.json: imageId: is required; --image names one of ours",
    ]
    for wrong in (None, 5, [], "x"):
        with pytest.raises(InvalidConfigurationError, match="must be a mapping"):
            convert(wrong, "policies.json")


def test_one_policy_or_several_are_found_in_what_graph_answers() -> None:
    assert policies_in(graphs(), "x") == [graphs()]
    assert policies_in({"@odata.context": "…", "value": [graphs(), graphs()]}, "x") == [graphs()] * 2
    with pytest.raises(InvalidConfigurationError, match="one page of several"):
        policies_in({"value": [], "@odata.nextLink": "https://…"}, "x")
    for several in ([graphs(), graphs()], {"Value": [graphs(), graphs()]}, [{"value": [graphs()]}, graphs()]):
        assert policies_in(several, "x") == [graphs()] * 2
    assert policies_in({"value": graphs()}, "x") == [graphs()]
    assert policies_in([], "x") == policies_in({"value": []}, "x") == []
    with pytest.raises(InvalidConfigurationError, match="one page of several"):
        policies_in({"value": [], "@odata.nextlink": "https://…"}, "x")
    for wrong in ({}, "x", None, 5, {"value": {}}, {"value": 5}, {"Name": "x"}):
        with pytest.raises(InvalidConfigurationError, match="must be a provisioning policy as Graph answers it"):
            policies_in(wrong, "x")


# ---- the stack's name


def test_the_stacks_name_is_like_the_displayname() -> None:
    assert stack_name("Engineering (EU) – Zürich") == "engineering-eu-zurich"
    assert stack_name("開発") == "policy"
    assert stack_name("Lab", {"lab", "lab-2"}) == "lab-3"


@given(st.lists(st.text(min_size=1, max_size=200), max_size=8))
def test_stack_names_are_valid_and_unique(display_names: list[str]) -> None:
    taken: set[str] = set()
    for display_name in display_names:
        name = stack_name(display_name, taken)
        assert name not in taken
        assert name.replace("-", "").isalnum()
        assert name.isascii()
        assert len(name) <= 100
        taken.add(name)


# ---- any policy that the contract allows


@cache
def _contract(version: str) -> dict[str, Any]:
    document = json.loads((_CONTRACTS / _VERSIONS[version]).read_text(encoding="utf-8"))
    found: dict[str, Any] = document["components"]["schemas"]
    return found


_TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["automatic", "de-DE", "CPC-%RAND:5%", "yes", "1e5", "0x1", "a: b\n- c", "64ff06de", "16ee6c71"]),
)


def _any_of(schema: dict[str, Any], version: str) -> st.SearchStrategy[Any]:
    """Values that a schema of the contract allows; as far as it is used there."""
    if reference := schema.get("$ref"):
        return _any_of(_contract(version)[reference.rsplit("/", 1)[1]], version)
    if "anyOf" in schema:
        return st.one_of([_any_of(one, version) for one in schema["anyOf"]])
    if "allOf" in schema:
        parts = [_any_of(one, version) for one in schema["allOf"]]
        return st.tuples(*parts).map(lambda found: {key: value for one in found for key, value in one.items()})
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("nullable"):
        return st.one_of(st.none(), _any_of({**schema, "nullable": False}, version))
    match schema["type"]:
        case "string":
            return _TEXTS
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(-(2**31), 2**31 - 1)
        case "array":
            return st.lists(_any_of(schema["items"], version), max_size=3)
        case "object":
            fields = {name: _any_of(one, version) for name, one in schema.get("properties", {}).items()}
            required = {name: fields.pop(name) for name in schema.get("required", ()) if name in fields}
            return st.fixed_dictionaries(required, optional=fields)
    raise AssertionError(schema)


def _contracts_policies(version: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any policy; half of them with what ours can't do without, so that conversions are seen too."""
    anything = _any_of({"$ref": f"#/{_POLICY}"}, version)
    target = "microsoft.graph.cloudPcManagementGroupAssignmentTarget"
    assignments = st.lists(st.fixed_dictionaries({"target": _any_of({"$ref": f"#/{target}"}, version)}), max_size=3)
    good: dict[str, st.SearchStrategy[Any]] = {
        "displayName": _TEXTS, "imageId": st.just("x"), "imageType": st.sampled_from(["gallery", "custom"]),
        "provisioningType": st.just("dedicated"), "assignments": assignments,
    }  # fmt: skip
    kinds = "type" if version == "beta" else "domainJoinType"
    join = st.fixed_dictionaries(
        {kinds: st.sampled_from(["azureADJoin", "hybridAzureADJoin"])},
        optional={"onPremisesConnectionId": _TEXTS, "regionName": _TEXTS},
    )
    good["domainJoinConfigurations"] = st.lists(join, min_size=1, max_size=3)
    good["windowsSettings"] = st.just(None)
    likely = st.tuples(anything, st.fixed_dictionaries(good)).map(lambda pair: {**pair[0], **pair[1]})
    return st.one_of(anything, likely)


@pytest.mark.parametrize("version", _VERSIONS)
@given(data=st.data())
def test_whatever_the_contract_allows_is_converted_or_refused_in_words(
    version: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    values = data.draw(_contracts_policies(version))
    try:
        imported = convert(values, "policies.json")
    except InvalidConfigurationError as error:
        problems = error.problems
    else:
        problems = ()
        parsed = ProvisioningPolicy.model_validate(imported.policy)
        content = _read_back(imported, tmp_path_factory.getbasetemp())
        assert content["config"]["cloudpc:policy"] == imported.policy
        assert parsing.parse(content["config"], "x").policy == parsed
        if values.get("enableSingleSignOn"):
            assert "enableSingleSignOn" in _lost(imported)
    assert all(problem.message and problem.field for problem in problems)


def test_both_outcomes_are_seen() -> None:
    """The property above would hold of a converter that refuses everything."""

    def converts(values: dict[str, Any]) -> bool:
        try:
            return bool(convert(values, "x"))
        except InvalidConfigurationError:
            return False

    quick = settings(phases=[Phase.generate], database=None)  # any will do, not the smallest
    for version in _VERSIONS:
        for outcome in (True, False):
            found = find(_contracts_policies(version), lambda values, o=outcome: converts(values) is o, settings=quick)
            assert converts(found) is outcome


# ---- YAML


_VALUES = st.recursive(
    _TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
)


@given(_VALUES)
def test_what_is_dumped_is_read_as_it_was_meant(value: Any) -> None:
    text = yaml_file.dump({"value": value})
    assert yaml.load(text, Loader=yaml_file._Loader) == {"value": value}
    assert yaml.safe_load(text) == {"value": value}


# ---- files


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_that_tools_write(encoding: str) -> None:
    content = json.dumps([_pascal(graphs(displayName="Büro"))], ensure_ascii=False).encode(encoding)
    [policy] = policies_in(_parsed(content), "x")
    assert convert(policy, "x").display_name == "Büro"


def test_what_is_no_unicode_is_said() -> None:
    with pytest.raises(ValueError, match=r"its encoding is not one of Unicode \(.*\); save it as UTF-8"):
        _parsed('{"displayName": "Büro"}'.encode("cp1252"))


app = typer.Typer()
app.command("up")(up.up)
app.add_typer(policies.app, name="policy")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: cloudpc\nruntime: python\n")
    (tmp_path / "stacks").mkdir()
    (tmp_path / "empty.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _ran(*files: str) -> tuple[int, str]:
    ran = CliRunner().invoke(app, ["policy", "import", *files], env={"COLUMNS": "500"})
    return ran.exit_code, " ".join(ran.output.split())


@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_what_never_ends_is_refused_at_once(project: Path, kind: str) -> None:
    file = "/dev/zero" if kind == "endless" else str(project / "pipe")
    if kind == "pipe":
        os.mkfifo(file)
    assert _ran(file) == (2, f"not imported: {file}: file: can't be read: is not a regular file")


def test_a_shell_s_pipe_is_read(project: Path) -> None:
    read, write = os.pipe()
    os.write(write, json.dumps([graphs()]).encode())
    os.close(write)
    code, said = _ran(f"/dev/fd/{read}")
    os.close(read)
    assert (code, (project / "stacks" / "Pulumi.engineering.yaml").is_file()) == (0, True), said


def test_a_file_without_a_policy_is_told_and_ends_with_2_if_it_is_alone(project: Path) -> None:
    assert _ran("empty.json") == (2, "empty.json: there is no policy to import")
    (project / "one.json").write_text(json.dumps(graphs()))
    code, said = _ran("empty.json", "one.json")
    assert code == 0, said
    assert said.startswith("empty.json: there is no policy to import")


@pytest.mark.parametrize(
    ("kind", "said"), [("folder", "is not a regular file"), ("pipe", "is not a regular file"), ("link", "is a link to")]
)
def test_a_policy_s_file_that_is_none_is_told_as_what_it_is(project: Path, kind: str, said: str) -> None:
    file = project / "stacks" / "Pulumi.x.yaml"
    match kind:
        case "folder":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case _:
            file.symlink_to("nowhere")
    ran = CliRunner().invoke(app, ["policy", "validate", "x"])
    assert f"stacks/Pulumi.x.yaml: file: {said}" in f"{ran.output}{ran.exception}"


@pytest.mark.parametrize(("option", "number"), [("--accept-loss", "-1"), ("--accept-loss", "0"), ("--at-once", "0")])
def test_numbers_that_mean_nothing_are_refused(option: str, number: str) -> None:
    assert CliRunner().invoke(app, ["up", option, number]).exit_code == 2


@pytest.mark.parametrize("levels", [101, 900, 100_000])
def test_what_is_deeper_than_a_stack_s_file_may_be_is_said(levels: int) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        _parsed(b'{"a":' * levels + b"1" + b"}" * levels)


@pytest.mark.parametrize("content", [b"null", b"5", b"true", b'"text"', b"1.5"])
def test_json_that_is_no_structure_is_no_policy(content: bytes) -> None:
    with pytest.raises(InvalidConfigurationError, match="must be a provisioning policy as Graph answers it"):
        policies_in(_parsed(content), "x")
