"""The provisioning policy: what is allowed, and what is said about what is not."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloudpc.configuration import parsing, schemas
from cloudpc.model import drivers
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.model.problems import Problem, from_validation

from . import make

STACKS = Path(__file__).resolve().parents[2] / "stacks"


def _problems(values: Any) -> list[Problem]:
    try:
        ProvisioningPolicy.model_validate(values)
    except ValidationError as error:
        return from_validation("stacks/Pulumi.lab.yaml", "cloudpc:policy", ProvisioningPolicy, error)
    return []


def test_a_minimal_policy_is_valid_and_has_windows_365s_defaults() -> None:
    policy = ProvisioningPolicy.model_validate(make.MINIMAL_POLICY)
    assert policy.provisioning_type == "dedicated"
    assert policy.image_type == "gallery"
    assert policy.windows_setting.locale == "en-US"
    assert policy.local_admin_enabled is False
    assert policy.grace_period_in_hours == 7 * 24
    assert policy.assignments == []


_JOIN = {"domainJoinType": "azureADJoin"}
RULES: list[tuple[dict[str, Any], str, str]] = [
    # what is changed in a valid policy, the field that is named, what is said
    ({"displayName": "a<b|c"}, "displayName", "may not contain < |"),
    ({"displayName": " a"}, "displayName", "one line of text"),
    ({"displayName": "a\nb"}, "displayName", "one line of text"),
    ({"displayName": ""}, "displayName", "one line of text"),
    ({"displayName": "a" * 121}, "displayName", "must have at most 120 characters"),
    ({"displayName": 365}, "displayName", "must be text; put it in quotes (found 365)"),
    ({"description": 1}, "description", "must be text"),
    ({"provisioningType": "shared"}, "provisioningType", "must be 'dedicated' (found \"shared\")"),
    ({"domainJoinConfigurations": []}, "domainJoinConfigurations", "must have at least 1 item"),
    ({"domainJoinConfigurations": _JOIN}, "domainJoinConfigurations", "must be a list"),
    ({"domainJoinConfigurations": [_JOIN]}, "domainJoinConfigurations[0]", "either regionName: automatic"),
    (
        {"domainJoinConfigurations": [{**_JOIN, "regionName": "automatic", "onPremisesConnectionId": "hq"}]},
        "domainJoinConfigurations[0]", "not both",
    ),
    (
        {"domainJoinConfigurations": [{**_JOIN, "regionName": "westeurope"}]},
        "domainJoinConfigurations[0].regionName", "must be 'automatic'",
    ),
    (
        {"domainJoinConfigurations": [{**_JOIN, "onPremisesConnectionId": "../hq"}]},
        "domainJoinConfigurations[0].onPremisesConnectionId", "must be a name of letters",
    ),
    (
        {"domainJoinConfigurations": [{"domainJoinType": "hybridAzureADJoin", "regionName": "automatic"}]},
        "domainJoinConfigurations[0]", "hybridAzureADJoin needs onPremisesConnectionId, and no regionName",
    ),
    (
        {"domainJoinConfigurations": [{"domainJoinType": "workgroup", "regionName": "automatic"}]},
        "domainJoinConfigurations[0].domainJoinType", "must be 'azureADJoin' or 'hybridAzureADJoin'",
    ),
    ({"imageType": "galery"}, "imageType", "must be 'gallery' or 'custom'"),
    ({"imageId": ""}, "imageId", "must have at least 1 character"),
    ({"cloudPcNamingTemplate": "CPC-%RAND:4%"}, "cloudPcNamingTemplate", "at least 5 random characters"),
    ({"windowsSetting": {"locale": "english"}}, "windowsSetting.locale", "a language and a region"),
    ({"windowsSetting": {"language": "en-US"}}, "windowsSetting.language", "allowed here: locale"),
    ({"timeZone": "Mars/Olympus"}, "timeZone", "IANA"),
    ({"localAdminEnabled": "yes"}, "localAdminEnabled", "must be true or false"),
    ({"localAdminEnabled": 1}, "localAdminEnabled", "must be true or false"),
    ({"gracePeriodInHours": -1}, "gracePeriodInHours", "greater than or equal to 0"),
    ({"gracePeriodInHours": 8761}, "gracePeriodInHours", "less than or equal to 8760"),
    ({"gracePeriodInHours": 1.5}, "gracePeriodInHours", "must be a whole number"),
    ({"gracePeriodInHours": True}, "gracePeriodInHours", "must be a whole number"),
    ({"packages": ["--allow-unauthenticated"]}, "packages[0]", "must be a Debian package's name"),
    ({"packages": ["git", "a b"]}, "packages[1]", "must be a Debian package's name"),
    ({"packages": "git"}, "packages", "must be a list"),
    ({"postProvisioningScript": ["a"]}, "postProvisioningScript", "must be text"),
    ({"timeouts": {"firstBootInSeconds": 0}}, "timeouts.firstBootInSeconds", "greater than or equal to 1"),
    ({"timeouts": {"setUpInSeconds": 86_401}}, "timeouts.setUpInSeconds", "less than or equal to 86400"),
    ({"timeouts": {"firstBoot": 5}}, "timeouts.firstBoot", "did you mean 'firstBootInSeconds'?"),
    ({"assignments": [{"target": {"groupId": "a"}}] * 2}, "assignments", "only once; twice there: a"),
    ({"assignments": [{"target": {}}]}, "assignments[0].target.groupId", "is required"),
    ({"assignments": [{}]}, "assignments[0].target", "is required"),
    ({"assignments": ["engineering"]}, "assignments[0]", "must be a mapping"),
    ({"assignments": [{"target": {"group": "a"}}]}, "assignments[0].target.group", "did you mean 'groupId'?"),
    ({"imageID": "micro"}, "imageID", "did you mean 'imageId'?"),
    ({"grace_period_in_hours": 5}, "grace_period_in_hours", "is not a known field"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "field", "said"), RULES, ids=lambda value: str(value)[:40])
def test_every_rule_names_the_field_and_what_is_allowed(changes: dict[str, Any], field: str, said: str) -> None:
    told = [str(p) for p in _problems(make.policy_values(**changes))]
    where = f"stacks/Pulumi.lab.yaml: cloudpc:policy.{field}: "
    assert [text for text in told if text.startswith(where) and said in text], told


@pytest.mark.parametrize("field", ["displayName", "domainJoinConfigurations", "imageId"])
def test_required_fields(field: str) -> None:
    [problem] = _problems(make.policy_values(**{field: None}))
    assert (problem.field, problem.message) == (f"cloudpc:policy.{field}", "is required")


def test_an_empty_field_is_called_empty() -> None:
    [problem] = _problems({**make.policy_values(), "imageId": None})
    assert problem.message == "is empty, but must be text"


def test_a_problem_is_one_line_of_printable_text() -> None:
    [problem] = _problems(make.policy_values(timeouts={"\x1b[31m\n": 1}))
    assert str(problem).isprintable()
    assert "timeouts.\\x1b[31m\\n: is not a known field" in str(problem)


def test_something_else_than_a_policy() -> None:
    [problem] = _problems("gallery")
    assert (problem.field, problem.message) == ("cloudpc:policy", "must be a mapping of fields to values")


_ONE_PER_FIELD = {next(iter(changes)): (changes, field) for changes, field, _ in RULES}


@given(st.sets(st.sampled_from(sorted(_ONE_PER_FIELD)), min_size=1))
def test_all_errors_are_told_at_once(broken: set[str]) -> None:
    changes: dict[str, Any] = {}
    for name in broken:
        changes |= _ONE_PER_FIELD[name][0]
    found = {p.field for p in _problems(make.policy_values(**changes))}
    assert {f"cloudpc:policy.{_ONE_PER_FIELD[name][1]}" for name in broken} <= found


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(sorted(f.alias or n for n, f in ProvisioningPolicy.model_fields.items())), _JSON)
)
def test_whatever_is_written_gives_problems_in_our_words(changes: dict[str, Any]) -> None:
    for problem in _problems({**make.MINIMAL_POLICY, **changes}):
        assert problem.field.startswith("cloudpc:policy")
        assert "\n" not in str(problem)
        for foreign in ("Input should", "instance of", "pydantic", "validation"):
            assert foreign not in problem.message


def test_the_demos_policy_is_valid() -> None:
    config = yaml.safe_load((STACKS / "Pulumi.demo.yaml").read_text())["config"]
    assert _problems(config["cloudpc:policy"]) == []
    parsing.parse(config, "stacks/Pulumi.demo.yaml")


# ---- the JSON Schema that editors use. No validator for it is among the dependencies, so the part of JSON Schema that
# our schema uses is checked here.


def _violations(schema: dict[str, Any], root: dict[str, Any], value: Any, at: str) -> list[str]:
    if "$ref" in schema:
        return _violations(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, value, at)
    if "anyOf" in schema:
        tried = [_violations(one, root, value, at) for one in schema["anyOf"]]
        return [] if [] in tried else tried[0]
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "null": type(None)}
    wanted = schema.get("type")
    if wanted in types and not isinstance(value, types[wanted]):
        return [f"{at} is no {wanted}"]
    if "const" in schema and value != schema["const"]:
        return [f"{at} is not {schema['const']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at} is none of {schema['enum']}"]
    if isinstance(value, list):
        return [v for i, one in enumerate(value) for v in _violations(schema["items"], root, one, f"{at}[{i}]")]
    if not isinstance(value, dict):
        return []
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    found = [f"{at}.{name} is missing" for name in schema.get("required", []) if name not in value]
    for name, inner in value.items():
        if name in known:
            found += _violations(known[name], root, inner, f"{at}.{name}")
        elif others is False:
            found.append(f"{at}.{name} is unknown")
        elif isinstance(others, dict):
            found += _violations(others, root, inner, f"{at}.{name}")
    return found


def test_the_schema_accepts_the_demos_file_and_refuses_mistakes() -> None:
    schema = schemas.json_schemas(drivers.installed())["policy"]
    demo = yaml.safe_load((STACKS / "Pulumi.demo.yaml").read_text())
    assert _violations(schema, schema, demo, "") == []
    demo["config"]["cloudpc:policy"]["imageTipe"] = "gallery"
    demo["config"]["cloudpc:policy"]["imageType"] = "galery"
    del demo["config"]["cloudpc:policy"]["displayName"]
    assert _violations(schema, schema, demo, "") == [
        ".config.cloudpc:policy.displayName is missing",
        ".config.cloudpc:policy.imageType is none of ['gallery', 'custom']",
        ".config.cloudpc:policy.imageTipe is unknown",
    ]
