"""The package as people install it: what is in it, and a project of one's own from nothing to a Cloud PC and back."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from tests.support.project import FAKES, REPO, sha256

pytestmark = pytest.mark.engine

BROUGHT = (
    "vm-images/debian-12/recipe.yaml", "vm-images/shared/make-initrd", "provider/plugin/pulumi-resource-pulumi-python",
    "tools/setup", "tools/workspace", "tools/packages.txt", "tools/engine/build", "tools/engine/go.sum",
    "tools/language-host/language_host.py", "stacks/schemas/policy.json", "template/Pulumi.yaml",
)  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=REPO, check=True, capture_output=True,
    )  # fmt: skip
    [built] = folder.glob("*.whl")
    return built


def test_nothing_is_missing_and_nothing_too_much(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tracked = subprocess.run(
        ["git", "ls-files", "provider/cloudpc"], cwd=REPO, check=True, capture_output=True, text=True
    ).stdout.split()
    missing = {name.removeprefix("provider/") for name in tracked} - set(names)
    assert not {name for name in missing if (REPO / "provider" / name).exists()}
    assert {f"cloudpc/packaged/{name}" for name in BROUGHT} <= set(names)
    assert {name.split("/")[0] for name in names if not re.search(r"\.(dist-info|data)/", name)} == {"cloudpc"}
    assert not [name for name in names if "/tests/" in name or "__pycache__" in name or "/.venv" in name]


@pytest.fixture
def environment(wheel: Path, tmp_path: Path) -> Mapping[str, str]:
    """Where the wheel is installed; its dependencies are those of these tests."""
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            Path(archive.extract(entry, installed)).chmod((entry.external_attr >> 16) or 0o644)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "CLOUDPC_"))},
        "PYTHONPATH": f"{installed}:{FAKES}",
        "PULUMI_BACKEND_URL": f"file://{tmp_path}",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_CONFIG_PASSPHRASE": "a passphrase",
        "CLOUDPC_CACHE": str(tmp_path / "cache"),
        "NO_COLOR": "1",
    }


@pytest.fixture
def run(environment: Mapping[str, str], tmp_path: Path) -> Callable[..., str]:
    """Runs the installed command."""

    def run(*arguments: str, cwd: Path = tmp_path, code: int = 0, more: Mapping[str, str] | None = None) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "cloudpc.cli.main", *arguments],
            cwd=cwd, env={**environment, **(more or {})}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=200,
        )  # fmt: skip
        said = ended.stdout + ended.stderr
        assert ended.returncode == code, said
        return said

    return run


def test_a_project_of_one_s_own(run: Callable[..., str], tmp_path: Path, tiny_image: Path) -> None:
    assert run("--version").startswith("cloudpc ")
    assert "`cloudpc init FOLDER` makes a project" in run("list", code=2)
    run("init", "corp pcs")
    folder = tmp_path / "corp pcs"
    assert "nothing was written" in run("init", "corp pcs", code=2)
    _on_a_fake_host(folder, tmp_path, tiny_image)

    assert "valid; provides 2 Cloud PCs" in run("policy", "validate", cwd=folder)
    assert "+ 4 to create" in run("preview", cwd=folder)
    assert not list((tmp_path / "host").glob("*.qcow2"))
    assert "provisioned" in run("up", "demo", cwd=folder)
    shown = run("--project", str(folder), "list")
    assert shown.count("provisioned") == 2
    assert (tmp_path / ".pulumi" / "stacks" / "corp-pcs" / "demo.json").is_file()
    assert "debian-12" in run("image", "list", cwd=folder)  # the package's recipes
    run("down", "demo", "--yes", cwd=folder)
    assert not list((tmp_path / "host").glob("*.qcow2"))


def test_a_project_that_pulumi_new_makes(
    run: Callable[..., str], environment: Mapping[str, str], tmp_path: Path, tiny_image: Path
) -> None:
    run("init", "--template", "a template")
    folder = tmp_path / "corp pcs"
    folder.mkdir()
    programs = tmp_path / "bin"  # as of a virtual environment that is on the PATH
    programs.mkdir()
    for name, program in {"cloudpc": ["-m", "cloudpc.cli.main"], "python": []}.items():
        line = f'exec {shlex.join([sys.executable, *program])} "$@"'
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    path = f"{programs}:{environment['PATH']}"
    subprocess.run(
        ["pulumi", "new", str(tmp_path / "a template"), "--generate-only", "--yes",
         "--name", "corp", "--description", "ours"],
        cwd=folder, env={**environment, "PATH": path}, stdin=subprocess.DEVNULL, check=True, timeout=100,
    )  # fmt: skip
    made = yaml.safe_load((folder / "Pulumi.yaml").read_text())
    assert (made["name"], made["description"]) == ("corp", "ours")
    assert "${" not in (folder / "README.md").read_text()
    _on_a_fake_host(folder, tmp_path, tiny_image)
    assert "provisioned" in run("up", "demo", cwd=folder)
    assert run("list", cwd=folder).count("provisioned") == 2


def _on_a_fake_host(folder: Path, tmp_path: Path, tiny_image: Path) -> None:
    file = folder / "stacks" / "Pulumi.demo.yaml"
    content = yaml.safe_load(file.read_text())
    content["config"]["cloudpc:policy"] |= {"imageType": "custom", "imageId": "tiny"}
    content["config"]["cloudpc:images"] = {"tiny": {"path": str(tiny_image), "sha256": sha256(tiny_image)}}
    content["config"]["cloudpc:hosts"] = [{"name": "host", "uri": f"fake://{tmp_path}/host"}]
    file.write_text(yaml.safe_dump(content))
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "host.json").write_text("{}")


def test_a_project_without_a_place_for_its_state_says_what_to_do(run: Callable[..., str], tmp_path: Path) -> None:
    run("init", "new")
    said = run("list", cwd=tmp_path / "new", code=1, more={"PULUMI_BACKEND_URL": ""})
    assert "no backend for its state yet. `cloudpc setup`" in said
