"""`cloudpc init`: a project of one's own, and nothing of anybody's lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from cloudpc.cli import own_project
from cloudpc.cli.output import CommandError
from cloudpc.files import new_project, origin, packaged, project_file
from cloudpc.files.new_project import BadNameError, ProjectExistsError

VALUES = {"PROJECT": "corp-pcs", "DESCRIPTION": "ours", "REQUIREMENT": "cloudpc==1.2.3"}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_all_that_a_project_needs_is_there_and_filled_in(tmp_path: Path) -> None:
    folder = tmp_path / "a b" / "c"
    written = new_project.create(folder, VALUES)
    assert {str(path) for path in written} == files(folder)
    assert {
        "Pulumi.yaml", ".gitignore", "README.md", "requirements.txt", ".github/workflows/cloud-pcs.yaml",
        "stacks/__main__.py", "stacks/Pulumi.demo.yaml", "stacks/directory.yaml", "stacks/schemas/policy.json",
        "provider/plugin/pulumi-resource-pulumi-python",
    } <= files(folder)  # fmt: skip
    assert os.access(folder / "provider/plugin/pulumi-resource-pulumi-python", os.X_OK)
    assert project_file.read(folder).name == "corp-pcs"
    assert "cloudpc==1.2.3" in (folder / "requirements.txt").read_text()
    assert yaml.safe_load((folder / "Pulumi.yaml").read_text())["description"] == "ours"
    for name in files(folder):
        assert not re.search(r"\$\{[A-Z]+\}", (folder / name).read_text()), name


def test_a_template_keeps_what_pulumi_new_fills_in(tmp_path: Path) -> None:
    new_project.create(tmp_path, {"REQUIREMENT": "cloudpc==1.2.3"})
    content = yaml.safe_load((tmp_path / "Pulumi.yaml").read_text())
    assert (content["name"], content["description"]) == ("${PROJECT}", "${DESCRIPTION}")


@pytest.mark.parametrize("there", ["Pulumi.yaml", "stacks/directory.yaml", ".gitignore"])
def test_what_is_there_is_not_overwritten_and_nothing_else_is_written(tmp_path: Path, there: str) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    with pytest.raises(ProjectExistsError, match=re.escape(there)):
        new_project.create(tmp_path, VALUES)
    assert files(tmp_path) == {there}
    assert (tmp_path / there).read_text() == "mine"


@pytest.mark.parametrize("name", ["", "a b", "ü", "a/b", "x" * 101])
def test_a_name_that_pulumi_refuses(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadNameError):
        new_project.create(tmp_path, {**VALUES, "PROJECT": name})
    assert files(tmp_path) == set()


@pytest.mark.parametrize(
    ("folder", "name"), [("my pcs", "my-pcs"), ("corp.pcs_1", "corp.pcs_1"), ("Fälle!", "F-lle"), ("…", "cloud-pcs")]
)
def test_the_name_is_made_of_the_folder_s(tmp_path: Path, folder: str, name: str) -> None:
    assert new_project.name_of(tmp_path / folder) == name


def test_what_else_a_clone_has_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = tmp_path / "clone"
    for name in ("template", "stacks", "provider/plugin"):
        shutil.copytree(packaged.root() / name, clone / name)
    (clone / "stacks" / "Pulumi.secret.yaml").write_text("config: {}\n")
    with (clone / "stacks" / "Pulumi.demo.yaml").open("a") as file:
        file.write("encryptionsalt: v1:abc\n")
    monkeypatch.setattr(packaged, "root", lambda: clone)
    new_project.create(tmp_path / "own", VALUES)
    assert not (tmp_path / "own" / "stacks" / "Pulumi.secret.yaml").exists()
    assert "encryptionsalt" not in (tmp_path / "own" / "stacks" / "Pulumi.demo.yaml").read_text()


def test_the_wheel_that_ci_installs_comes_along(tmp_path: Path) -> None:
    wheel = tmp_path / "cloudpc-1.2.3-py3-none-any.whl"
    wheel.write_bytes(b"PK\x03\x04\xff")
    installs = origin.of_wheel(wheel)
    written = new_project.create(tmp_path / "own", {**VALUES, "REQUIREMENT": installs.requirement}, installs.wheel)
    assert Path("wheels", wheel.name) in written
    lines = (tmp_path / "own" / "requirements.txt").read_text().splitlines()
    [required] = [line for line in lines if not line.startswith("#")]
    assert (tmp_path / "own" / required).read_bytes() == wheel.read_bytes()
    with pytest.raises(ProjectExistsError):
        new_project.create(tmp_path / "own", VALUES, wheel)


class Installed:
    """A package as an installer leaves it."""

    version = "1.2.3"

    def __init__(self, recorded: object) -> None:
        self.recorded = recorded

    def read_text(self, _name: str) -> str | None:
        return None if self.recorded is None else json.dumps(self.recorded)


@pytest.mark.parametrize(
    ("recorded", "requirement"),
    [
        (None, "cloudpc==1.2.3"),
        ({"url": "file:///a/clone", "dir_info": {"editable": True}}, "cloudpc==1.2.3"),
        ({"url": "file:///gone/cloudpc-1.2.3-py3-none-any.whl", "archive_info": {}}, "cloudpc==1.2.3"),
        (
            {"url": "https://files.example/c.whl", "archive_info": {"hashes": {"sha256": "ab12"}}},
            "cloudpc @ https://files.example/c.whl#sha256=ab12",
        ),
        ({"url": "https://files.example/c.whl", "archive_info": {}}, "cloudpc==1.2.3"),
        (["?"], "cloudpc==1.2.3"),
    ],
)
def test_ci_installs_what_was_installed_here(
    recorded: object, requirement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(recorded))
    assert origin.of_installed().requirement == requirement
    assert origin.of_installed().from_index == ("==" in requirement)


def test_a_wheel_that_is_still_there_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "my wheels" / "cloudpc-1.2.3-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed({"url": wheel.as_uri(), "archive_info": {}}))
    assert origin.of_installed() == origin.of_wheel(wheel)


@pytest.mark.parametrize(
    ("name", "inside", "ours"),
    [
        ("cloudpc-1.0-py3-none-any.whl", "cloudpc-1.0.dist-info/METADATA", True),
        ("cloudpc-1.0.zip", "cloudpc-1.0.dist-info/METADATA", False),
        ("other-1.0-py3-none-any.whl", "other-1.0.dist-info/METADATA", False),
        ("text.whl", "", False),
    ],
)
def test_only_a_wheel_of_ours_is_brought_along(tmp_path: Path, name: str, inside: str, ours: bool) -> None:
    wheel = tmp_path / name
    wheel.write_text("import os\n")
    if inside:
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(inside, "")
    with nullcontext() if ours else pytest.raises(CommandError, match="is not a wheel of cloudpc"):
        own_project.init(tmp_path / "new", wheel=wheel)
    assert (tmp_path / "new").exists() == ours
