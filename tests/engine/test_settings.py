"""What Pulumi's own settings say: our commands read them as the engine does."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from tests.support.project import UP, Project

pytestmark = pytest.mark.engine


def _for_all(project: Project, **config: object) -> None:
    file = project.root / "Pulumi.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "config": config}))


def _take_out(project: Project, *keys: str) -> dict[str, object]:
    """Values of the policy's file, which then has them no more."""
    file = project.root / "stacks" / "Pulumi.demo.yaml"
    content = yaml.safe_load(file.read_text())
    taken = {key: content["config"].pop(key) for key in keys}
    file.write_text(yaml.safe_dump(content))
    return taken


def test_values_for_all_stacks_and_encrypted_ones_are_read_as_the_engine_reads_them(project: Project) -> None:
    taken = _take_out(project, "cloudpc:hosts", "cloudpc:images", "cloudpc:directory")
    _for_all(
        project,
        **{
            "cloudpc:hosts": taken["cloudpc:hosts"],
            "images": {"type": "object", "default": taken["cloudpc:images"]},
            "cloudpc:installation": {"value": "0123456789abcdef"},
        },
    )
    sealed = json.dumps(taken["cloudpc:directory"])
    assert project.pulumi("config", "set", "--stack", "demo", "--secret", "cloudpc:directory", sealed).code == 0
    name = ("--path", "--secret", "cloudpc:policy.displayName", "Sealed")
    assert project.pulumi("config", "set", "--stack", "demo", *name).code == 0
    for field, value in (("policy.gracePeriodInHours", "24"), ("policy.localAdminEnabled", "true")):  # sealed as text
        key = ("--path", "--secret", f"cloudpc:{field}", value)
        assert project.pulumi("config", "set", "--stack", "demo", *key).code == 0
    safety = json.dumps({"massLossInPercent": 80})  # as `pulumi config set` without --path keeps it: text
    assert project.pulumi("config", "set", "--stack", "demo", "cloudpc:safety", safety).code == 0

    validated = project.cloudpc("policy", "validate")
    assert validated.code == 0, validated
    project.up()
    assert set(project.statuses().values()) == {"provisioned"}
    ran = project.cloudpc("up", "demo")
    assert ran.code == 0, ran
    assert {m["tag"]["installation"] for m in project.machines().values()} == {"0123456789abcdef"}
    findings = json.loads(project.cloudpc("doctor", "--json").output)
    assert not [f for f in findings if f["state"] == "failed"]
    assert f"file://{project.root}/state (PULUMI_BACKEND_URL)".replace(" project", "%20project") in {
        f["detail"] for f in findings if f["what"] == "backend"
    }


def test_an_encrypted_value_is_in_no_message(project: Project) -> None:
    secret = "cloudpc:policy.timeZone"
    assert project.pulumi("config", "set", "--stack", "demo", "--path", "--secret", secret, "S3cret/Place").code == 0
    wrong = project.cloudpc("policy", "validate")
    assert wrong.code == 2
    assert "cloudpc:policy.timeZone" in wrong.output
    assert "S3cret" not in wrong.output


@pytest.mark.parametrize("key", ["cloudpc:policy.timeZone", "cloudpc:policy.assignments", "cloudpc:directory"])
def test_what_can_not_be_opened_here_is_told_and_the_rest_is_checked(project: Project, key: str) -> None:
    """A pull request's runner has no passphrase; a run needs all of it."""
    value = "UTC" if "." in key else '{"kind": "local", "path": "directory.yaml"}'
    secret = [*(["--path"] if "." in key else []), "--secret", key, value]
    assert project.pulumi("config", "set", "--stack", "demo", *secret).code == 0
    project.env["PULUMI_CONFIG_PASSPHRASE"] = "another"
    ran = project.cloudpc("policy", "validate")
    assert ran.code == 1, ran
    assert f"not known: stacks/Pulumi.demo.yaml: {key}: is encrypted, and Pulumi can't open it here" in ran.output
    file = project.root / "stacks" / "Pulumi.demo.yaml"
    file.write_text(file.read_text().replace("imageId: tiny", "imageId: huge"))
    wrong = project.cloudpc("policy", "validate")
    assert wrong.code == 2, wrong
    assert (
        ("has 1 problem" in wrong.output) == ("cloudpc:policy.imageId: is not a custom image" in wrong.output) is True
    )
    up = project.cloudpc("up", "demo")
    assert up.code == 2, up
    assert f"{key.partition('.')[0]}: is encrypted, and Pulumi can't open it here" in up.output


def test_what_pulumi_yaml_says_wrongly_is_told_with_its_file(project: Project) -> None:
    _for_all(project, **{"cloudpc:hosts": [{"name": "a", "uri": "b"}], "cloudpc:graph": {"auth": "cli"}})
    wrong = project.cloudpc("policy", "validate")
    assert wrong.code == 2
    assert "Pulumi.yaml: config.cloudpc:graph: a mapping must be written as {value: …}" in wrong.output


def test_two_backends_are_an_error_in_every_command_and_in_plain_pulumi(project: Project) -> None:
    file = project.root / "Pulumi.yaml"
    file.write_text(f"{file.read_text()}backend:\n  url: file://{project.root}/another\n")
    for command in (["list"], ["up"], ["down", "demo", "--yes"]):
        ran = project.cloudpc(*command)
        assert ran.code == 2, ran
        assert "Pulumi.yaml: backend.url: names another backend than" in ran.output
    [finding] = json.loads(project.cloudpc("doctor", "--json").output)
    assert (finding["what"], finding["state"]) == ("backend", "failed")
    plain = project.pulumi(*UP, "demo")
    assert plain.code != 0
    assert "names another backend than" in plain.output
    assert project.calls() == []


@pytest.mark.parametrize("how", ["variable", "file"])
def test_nothing_is_sealed_under_an_empty_passphrase(project: Project, how: str) -> None:
    empty = project.root / "empty"
    empty.write_text("\n")
    env = {"PULUMI_CONFIG_PASSPHRASE": ""}
    if how == "file":
        del project.env["PULUMI_CONFIG_PASSPHRASE"]
        env = {"PULUMI_CONFIG_PASSPHRASE_FILE": str(empty)}
    project.policy("lab")
    assert project.pulumi("stack", "init", "lab", **env).code == 0
    for ran in (project.cloudpc("up", "lab", **env), project.pulumi(*UP, "lab", **env)):
        assert ran.code != 0
        assert "would not be protected" in ran.output
        assert "Traceback" not in ran.output
    assert project.cloudpc("up", "lab", **env).code == 2
    assert project.cloudpc("policy", "validate", "lab", **env).code == 0, "which seals nothing"
    findings = json.loads(project.cloudpc("doctor", "--json", **env).output)
    assert "would not be protected" in {f["what"]: f["detail"] for f in findings}["policy lab"]
    assert project.calls() == []


def test_a_backend_that_is_not_there_is_told_and_never_taken_for_an_empty_one(project: Project) -> None:
    for folder in ("away", "a%FF"):
        env = {"PULUMI_BACKEND_URL": f"file://{project.root}/{folder}"}
        for command in (["list"], ["doctor", "--remove-leftovers", "--yes"], ["adopt", "--remove", "--yes"]):
            ran = project.cloudpc(*command, **env)
            assert ran.code == 1, ran
            assert "folder is not there" in ran.output
    assert project.calls() == []


@pytest.mark.parametrize("stream", ["0<&-", "1>&-", "2>&-"])
def test_closed_streams_are_none_of_our_business(project: Project, stream: str) -> None:
    line = f'"$0" -m cloudpc.cli.main list {stream}'
    ran = subprocess.run(
        ["/bin/sh", "-c", line, sys.executable], cwd=project.root, env=project.env, capture_output=True
    )
    assert (ran.returncode, b"Traceback" in ran.stderr) == (0, False)
