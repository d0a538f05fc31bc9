"""The code itself: style, types, the direction of imports, and documentation that keeps up."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cloudpc.model.errors import ErrorCode
from cloudpc.rules.entitlement import NotOwed

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "libvirt", "msgraph", "azure", "kiota_abstractions", "ldap3", "pycdlib",
    "starlette", "uvicorn", "jinja2", "websockets",
)  # fmt: skip
"""What starts slowly or is not there for everybody: imported where it is used, never before."""
CORE = [
    "cloudpc.configuration.installation", "cloudpc.configuration.parsing", "cloudpc.directory.local",
    "cloudpc.model.machines", "cloudpc.model.naming", "cloudpc.model.policy",
    "cloudpc.provisioning.pipeline", "cloudpc.rules.entitlement",
    "cloudpc.rules.lifecycle",
]  # fmt: skip


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["importlinter.cli", "lint"],
    ],
    ids=" ".join,
)
def test_style_types_and_import_rules(command: list[str]) -> None:
    # as modules of this interpreter, so that the tools are those of requirements.lock
    program = ["-c", "import sys; from importlinter.cli import lint_imports_command as run; run()"]
    arguments = program if command[0].startswith("importlinter") else ["-m", *command]
    done = _run(sys.executable, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def _imported_by(code: str) -> set[str]:
    """Top-level modules that an interpreter of its own has after running this."""
    done = _run(sys.executable, "-c", f"{code}\nimport sys\nprint(*{{m.partition('.')[0] for m in sys.modules}})")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("module", CORE)
def test_the_core_runs_without_the_rim(module: str) -> None:
    rim = {*HEAVY, "pulumi", "typer", "rich", "grpc"}
    assert not rim & _imported_by(f"import {module}")


@pytest.mark.parametrize(
    "code",
    [
        "import cloudpc.iac.stack_program",
        "import cloudpc.iac.provider",
        "import cloudpc.cli.main as cli; cli._mount()",
    ],
)
def test_starting_up_imports_nothing_heavy(code: str) -> None:
    assert not set(HEAVY) & _imported_by(code)


def _sections() -> dict[str, tuple[str, str]]:
    """Of docs/errors.md, by code: the chapter it is in, and its text."""
    found: dict[str, tuple[str, str]] = {}
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for chapter in re.split(r"^# ", text, flags=re.MULTILINE):
        title, *sections = re.split(r"^## ", chapter, flags=re.MULTILINE)
        for heading, _, body in (section.partition("\n") for section in sections):
            if re.fullmatch(r"[a-z]+[A-Z]\w*", heading):
                assert heading not in found
                found[heading] = (title.strip().partition("\n")[0], body)
    return found


def test_every_code_has_its_section() -> None:
    sections = _sections()
    assert {code.value for code in (*ErrorCode, *NotOwed)} == set(sections)
    for code, (chapter, body) in sections.items():
        assert len(body.split()) > 8, f"{code} says too little"
        assert chapter == _chapter(code), code


def _chapter(code: str) -> str:
    if code in set(NotOwed):
        return "Nobody to provision for"
    if stage := ErrorCode(code).meaning.stage:
        return stage.capitalize()
    seen = (ErrorCode.MACHINE_LOST, ErrorCode.MACHINE_CHANGED)
    return "Seen by a run or a refresh" if code in seen else "Anywhere"


def test_what_waits_is_said_to() -> None:
    sections = _sections()
    told = {code for code in ErrorCode if sections[code][1].strip().startswith("`pendingProvision`")}
    assert told == {code for code in ErrorCode if code.meaning.waits}


def test_every_code_is_used() -> None:
    used = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "provider").rglob("*.py")
        if path.name != "errors.py" or path.parent.name != "model"
    )
    assert not [code.name for code in ErrorCode if f"ErrorCode.{code.name}" not in used]


def test_contributing_has_each_folder_in_the_order_of_the_layers() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    folders = [folder for layer in contracts[0]["layers"] for folder in layer.split(" | ")]
    package = ROOT / "provider" / "cloudpc"
    assert set(folders) == {path.parent.name for path in package.glob("*/__init__.py")}
    said = [ast.get_docstring(ast.parse((package / name / "__init__.py").read_text("utf-8"))) for name in folders]
    tree = re.findall(r"^  ([a-z]+)/ +(.+)$", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    assert tree == list(zip(folders, said, strict=True))


def test_no_import_up_is_excused() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    assert contracts[0]["type"] == "layers"
    assert not contracts[0].get("ignore_imports")


def test_rules_that_code_names_are_in_docs() -> None:
    rules = re.findall(r"^(\d+)\. ", (ROOT / "docs" / "rules.md").read_text("utf-8"), re.MULTILINE)
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "provider").rglob("*.py"))
    assert rules == [str(number) for number in range(1, len(rules) + 1)]
    assert set(re.findall(r"\(rule (\d+)\)", code)) <= set(rules)


def test_every_test_that_documentation_names_exists() -> None:
    """docs/windows-365.md has a test for each statement that it does not call "not yet" or "no such thing"."""
    text = (ROOT / "docs" / "windows-365.md").read_text(encoding="utf-8")
    rows = [row.split(" | ") for row in text.replace("\\|", "").splitlines() if row.startswith("| ")]
    rows = [row for row in rows if row[0] != "| Windows 365"]
    assert len(rows) > 50
    for statement, here, tests in rows:
        named = re.findall(r"`([^`]+)`", tests)
        assert named or "not yet" in here or here.startswith(("no such", "not here")), statement
        for name in named:
            path, _, function = name.partition("::")
            file = ROOT / "tests" / path
            assert file.is_file(), name
            if function:
                assert re.search(rf"^ *def {function}\(", file.read_text(encoding="utf-8"), re.MULTILINE), name


def test_no_merge_is_left_half_done() -> None:
    """In a text that no program reads, nothing else would notice."""
    texts = [
        *ROOT.glob("*.md"),
        *(path for folder in ("docs", "vm-images", "tests") for path in (ROOT / folder).rglob("*.md")),
    ]
    assert not [path for path in texts if re.search("^(<{7}|>{7}) ", path.read_text("utf-8"), re.MULTILINE)]
