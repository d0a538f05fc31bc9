"""What `make dist` builds: all that belongs in, nothing else; a man page and completion that work from it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import REPO

ALONE = ("README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", ".gitignore")
STACKS = ("stacks/__main__.py", "stacks/Pulumi.demo.yaml", "stacks/directory.yaml", "stacks/schemas")
"""A clone may have policies of its own beside these."""
MAN_PAGE = "build/man/cloudpc.1"
WEB = "build/web"
"""What pages load, from npm: in no commit, and in what is built from one."""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as a release is."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([REPO / "tools/dist", folder], check=True, capture_output=True)
    return folder


def _wheel(folder: Path) -> Path:
    [wheel] = folder.glob("*.whl")
    return wheel


def _unpacked(dist: Path, target: Path) -> Path:
    [archive] = dist.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", archive, "-C", target], check=True)
    [folder] = target.iterdir()
    return folder


def _files(folder: Path) -> Iterator[str]:
    return (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_sources_are_what_a_wheel_is_built_from_and_nothing_else(dist: Path, tmp_path: Path) -> None:
    asked = ["provider", "vm-images", "tools", *STACKS, "template", *ALONE]
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *asked]
    known = subprocess.run(listed, cwd=REPO, check=True, capture_output=True, text=True).stdout.splitlines()
    expected = {name for name in known if (REPO / name).is_file()}
    folder = _unpacked(dist, tmp_path)
    fetched = {f"{WEB}/{name}" for name in _files(REPO / WEB)}
    assert set(_files(folder)) == expected | {"PKG-INFO", MAN_PAGE} | fetched


def test_the_wheel_of_the_sources_is_the_wheel(dist: Path, tmp_path: Path) -> None:
    folder = _unpacked(dist, tmp_path)
    built = tmp_path / "again"
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    with zipfile.ZipFile(_wheel(built)) as again, zipfile.ZipFile(_wheel(dist)) as first:
        assert {(each.filename, each.CRC) for each in again.infolist() if "RECORD" not in each.filename} == {
            (each.filename, each.CRC) for each in first.infolist() if "RECORD" not in each.filename
        }


def test_what_pages_load_is_in_the_wheel_with_its_licences_and_nothing_of_the_tests(dist: Path) -> None:
    inside = f"cloudpc/packaged/{WEB}/"
    with zipfile.ZipFile(_wheel(dist)) as archive:
        found = {name.removeprefix(inside) for name in archive.namelist() if name.startswith(inside)}
        manifests = [json.loads(archive.read(inside + name)) for name in found if name.endswith("package.json")]
    locked = json.loads((REPO / "tools/web/package.json").read_text())
    assert {each["name"]: each["version"] for each in manifests} == locked["dependencies"]
    assert all(each["license"] for each in manifests)
    assert {"htmx.org/LICENSE", "@novnc/novnc/LICENSE.txt", "@novnc/novnc/core/rfb.js"} <= found


def test_nothing_of_this_machine_or_of_the_tests_is_in_the_wheel(dist: Path) -> None:
    with zipfile.ZipFile(_wheel(dist)) as archive:
        texts = {name: archive.read(name) for name in archive.namelist()}
    assert not [name for name in texts if re.search(r"(^|/)(tests|benchmarks|\.venv|__pycache__|\.cloudpc)/", name)]
    assert not [name for name, text in texts.items() if str(REPO).encode() in text or b"encryptionsalt: v1" in text]


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pip installs it; our dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--target", folder, _wheel(dist)], check=True, capture_output=True)
    return folder


def _said(installed: Path, home: Path, script: str) -> str:
    env = {"PATH": f"{installed}/bin:/usr/bin:/bin", "PYTHONPATH": str(installed), "HOME": str(home)}
    ended = subprocess.run(["bash", "-c", script], env=env, cwd=home, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_man_page_has_every_command(installed: Path, tmp_path: Path) -> None:
    page = (installed / "share/man/man1/cloudpc.1").read_text("ascii")
    assert {".TH", ".SH", ".SS", ".PP", ".TP"} == {line.split()[0] for line in page.splitlines() if line[0] in ".'"}
    reference = (REPO / "docs/reference/commands.md").read_text()
    commands = re.findall(r"^## `(.+)`$", reference, re.MULTILINE)
    assert len(commands) > 20
    sections = [line.removeprefix('.SS "').removesuffix('"') for line in page.splitlines() if line.startswith(".SS")]
    assert [section.replace("\\-", "-") for section in sections] == commands
    assert _said(installed, tmp_path, "cloudpc --version").split()[1] in page.splitlines()[0]


def test_completion_is_of_the_installed_command(installed: Path, tmp_path: Path) -> None:
    complete = "COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )); _cloudpc_completion cloudpc; echo ${COMPREPLY[@]}"
    for script in (
        'eval "$(cloudpc --show-completion)"',
        "cloudpc --install-completion >/dev/null; . .bash_completions/cloudpc.sh",
    ):
        typed = f"{script}; COMP_WORDS=(cloudpc li); {complete}; COMP_WORDS=(cloudpc policy ''); {complete}"
        assert _said(installed, tmp_path, typed) == "list\nimport validate schema delete\n"
    assert sorted(_files(tmp_path)) == [".bash_completions/cloudpc.sh", ".bashrc"]
