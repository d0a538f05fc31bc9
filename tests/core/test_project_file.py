"""Pulumi.yaml as Pulumi reads it (tried with the engine in tests/engine/test_settings.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cloudpc.configuration import parsing
from cloudpc.configuration.values import Values
from cloudpc.files import project_file
from cloudpc.graph.configuration import GraphConfig
from cloudpc.model.problems import InvalidConfigurationError, Problem, from_validation


def _values(folder: Path, config: str) -> dict[str, Any]:
    (folder / "Pulumi.yaml").write_text(f"name: cloudpc\nconfig:\n  {config}\n")
    return dict(project_file.read(folder).values)


@pytest.mark.parametrize(
    ("config", "values"),
    [
        ("cloudpc:installation: 0123456789abcdef", {"cloudpc:installation": "0123456789abcdef"}),
        ("installation: a", {"cloudpc:installation": "a"}),
        ("cloudpc:config:installation: a", {"cloudpc:installation": "a"}),
        ("cloudpc:hosts: [{name: a}]", {"cloudpc:hosts": [{"name": "a"}]}),
        ("cloudpc:graph: {value: {auth: cli}}", {"cloudpc:graph": {"auth": "cli"}}),
        ("cloudpc:graph: {type: object, default: {auth: cli}}", {"cloudpc:graph": {"auth": "cli"}}),
        ("cloudpc:deleted: {type: boolean, description: x}", {}),
        ("other:thing: {value: 7}", {"other:thing": 7}),
    ],
)
def test_values_for_all_stacks(tmp_path: Path, config: str, values: dict[str, Any]) -> None:
    assert _values(tmp_path, config) == values


@pytest.mark.parametrize(
    ("config", "field", "why"),
    [
        ("cloudpc:graph: {auth: cli}", "config.cloudpc:graph", "must be written as {value: …} here"),
        ("cloudpc:graph: {value: 1, default: 2}", "config.cloudpc:graph", "remove one of them"),
        ("cloudpc:graph:", "config.cloudpc:graph", "must have a value"),
        ("cloudpc:graph: {value: {tenantId: {secure: v1:x}}}", "config.cloudpc:graph", "into the stack's file"),
        ("- a", "config", "must be a mapping"),
    ],
)
def test_what_pulumi_would_refuse(tmp_path: Path, config: str, field: str, why: str) -> None:
    with pytest.raises(InvalidConfigurationError) as refused:
        _values(tmp_path, config)
    [problem] = refused.value.problems
    assert (problem.file, problem.field) == ("Pulumi.yaml", field)
    assert why in problem.message


def test_a_key_without_a_namespace_is_the_project_s(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: corp\nconfig: {installation: a, cloudpc:installation: b}\n")
    found = project_file.read(tmp_path)
    assert (found.name, found.values) == ("corp", {"corp:installation": "a", "cloudpc:installation": "b"})


@pytest.mark.parametrize("name", ["", "name: ''", "name: 7"])
def test_a_project_has_a_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "Pulumi.yaml").write_text(f"main: stacks\n{name}\n")
    with pytest.raises(InvalidConfigurationError, match=r"Pulumi\.yaml: name: is required"):
        project_file.read(tmp_path)


@pytest.mark.parametrize("content", ["[]", "text", ""])
def test_a_project_file_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "Pulumi.yaml").write_text(content)
    with pytest.raises(InvalidConfigurationError, match=r"Pulumi\.yaml: file: must be a mapping"):
        project_file.read(tmp_path)


def test_text_that_is_json_is_what_it_says_as_to_the_engine() -> None:
    own = {"cloudpc:directory": '{"kind": "local"}', "cloudpc:installation": "[broken", "cloudpc:hosts": "[" * 9999}
    values = Values(own, {"cloudpc:graph": '{"auth": "cli"}'}, {"cloudpc:images": "{}"})
    assert values == {
        "cloudpc:directory": {"kind": "local"},
        "cloudpc:installation": "[broken",
        "cloudpc:hosts": "[" * 9999,
        "cloudpc:graph": {"auth": "cli"},
        "cloudpc:images": {},
    }


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        ("[" * 100 + "1" + "]" * 100, True),
        ("[" * 101 + "]" * 101, False),
        ("[" * 600 + "]" * 600, False),
        ('{"a": ' * 600 + "1" + "}" * 600, False),
        (f"[{'9' * 100}]", True),
        (f"[{'9' * 101}]", False),
        ('{"a": {"b": 1, "b": 2}}', False),
        ("[NaN]", False),
        ("[1e400]", False),
        (r'["\ud83d"]', False),
        (r'["\ud83d\ude00"]', True),
    ],
)
def test_json_as_text_has_the_limits_of_a_file(text: str, is_json: bool) -> None:
    found = Values({"cloudpc:graph": text}, {}, {})["cloudpc:graph"]
    assert found == (json.loads(text) if is_json else text)
    with pytest.raises(ValidationError) as wrong:
        GraphConfig.model_validate(found if isinstance(found, str) else 5)
    [problem] = from_validation("file", "cloudpc:graph", GraphConfig, wrong.value)
    assert ("must be a mapping of fields to values; this text can't be read as JSON" in str(problem)) is not is_json
    assert len(str(problem)) < 250


def test_a_problem_is_told_where_it_can_be_mended_and_without_secrets() -> None:
    values = Values({"policy": {"a": 1}}, {"cloudpc:graph": {}, "cloudpc:policy": {"b": 2}}, {"cloudpc:hosts": ["pw"]})
    assert values == {"cloudpc:policy": {"a": 1}, "cloudpc:graph": {}, "cloudpc:hosts": ["pw"]}
    own = Problem("stacks/Pulumi.demo.yaml", "cloudpc:policy.a", "is wrong", 1)
    assert values.told(own) == own
    assert values.told(Problem(own.file, "cloudpc:graph.auth", "is wrong", "x")).file == "Pulumi.yaml"
    assert values.told(Problem(own.file, "cloudpc:hosts[0]", "is wrong", "pw")).found is None


def test_images_as_text_that_is_no_json_are_told_what_to_do() -> None:
    found = parsing.Parts(Values({"cloudpc:images": "{a: b}"}, {}, {}), "x").problems
    [said] = [str(problem) for problem in found if problem.field == "cloudpc:images"]
    assert "must be a mapping of names to images; this text can't be read as JSON" in said


@pytest.mark.parametrize(
    ("config", "key", "why"),
    [
        ({"cloudpc:graph": 1, "cloudpc:config:graph": 2}, "cloudpc:config:graph", "means the same as cloudpc:graph"),
        ({"graph": 1, "cloudpc:graph": 2}, "cloudpc:graph", "means the same as graph"),
        ({5: 1}, "5", "is no key to Pulumi"),
        ({True: 1}, "True", "is no key to Pulumi"),
        ({"a:b:c": 1}, "a:b:c", "is no key to Pulumi"),
        ({":policy": 1}, ":policy", "is no key to Pulumi"),
        ({":config:policy": 1}, ":config:policy", "is no key to Pulumi"),
        ({"a:config:b:c": 1}, "a:config:b:c", "is no key to Pulumi"),
    ],
)
def test_keys_that_pulumi_refuses_or_drops(config: dict[Any, Any], key: str, why: str) -> None:
    problems: list[Problem] = []
    project_file.by_full_key(config, "cloudpc", "file", problems)
    [problem] = problems
    assert (problem.file, problem.field) == ("file", f"config.{key}")
    assert why in problem.message


def test_keys_that_pulumi_takes() -> None:
    problems: list[Problem] = []
    config = {"policy": 1, "a:b": 2, "config:a": 3, "config:config:b": 4, "cloudpc:config:graph": 5, "5": 6}
    found = project_file.by_full_key(config, "cloudpc", "file", problems)
    assert not problems
    assert found == {"cloudpc:policy": 1, "a:b": 2, "config:a": 3, "config:b": 4, "cloudpc:graph": 5, "cloudpc:5": 6}
