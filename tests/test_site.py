"""The documents as a site: each page has its place, and nothing needs a network. `make site` checks the rest."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.support.project import REPO

NAME = "cloud-pcs.yaml"
PAGES = sorted((REPO / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", REPO / "tools/site/hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((REPO / "mkdocs.yml").read_text())
    return content


def _leaves(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for each in nav if isinstance(nav, list) else nav.values() if isinstance(nav, dict) else ():
        yield from _leaves(each)


def test_each_page_is_in_the_navigation_once_and_the_readme_comes_first(
    hooks: ModuleType, settings: dict[str, Any]
) -> None:
    named = list(_leaves(settings["nav"]))
    assert named[0] == hooks.FRONT == "README.md"
    assert len(named) == len(set(named))
    assert set(named) == {str(page.relative_to(REPO / "docs")) for page in PAGES} | set(hooks.OUTSIDE)
    assert all((REPO / page).is_file() for page in hooks.OUTSIDE)


def test_nothing_of_it_needs_a_network(settings: dict[str, Any]) -> None:
    assert settings["theme"]["font"] is False
    assert settings["plugins"] == ["search"]
    assert settings["strict"] is True
    assert not [name for name in settings if name.startswith("extra")]


def test_its_builder_is_pinned_by_the_group_and_the_lock() -> None:
    groups = tomllib.loads((REPO / "pyproject.toml").read_text())["dependency-groups"]
    [pinned] = groups["site"]
    assert re.match(rf"(.*\n)*{re.escape(pinned)} \\\n +--hash=", (REPO / "tools/site/requirements.txt").read_text())


@pytest.mark.parametrize(
    ("page", "text", "becomes"),
    [
        ("README.md", "[a](docs/hosts.md#b)", "[a](hosts.md#b)"),
        ("README.md", "[a](LICENSE)", "[a](files/LICENSE.txt)"),
        ("README.md", "![a](docs/reference/commands.md)", "![a](reference/commands.md)"),
        ("README.md", "[a](docs/reference)", "a"),
        ("ci.md", "[a](../template/Pulumi.yaml)", "[a](files/template/Pulumi.yaml.txt)"),
        ("ci.md", f"[](../template/.github/workflows/{NAME})", f"[](files/template/github/workflows/{NAME}.txt)"),
        ("reference/errors.md", "[a](../errors.md#x)", "[a](../errors.md#x)"),
        ("vm-images/README.md", "[a](../docs/images.md)", "[a](../images.md)"),
        ("images.md", "[a](../vm-images/README.md)", "[a](vm-images/README.md)"),
        ("images.md", "[a](#here), [b](https://b.example/c)", "[a](#here), [b](https://b.example/c)"),
        ("README.md", "    [a](docs/hosts.md)", "    [a](docs/hosts.md)"),
        ("README.md", "```\n[a](docs/hosts.md)\n```", "```\n[a](docs/hosts.md)\n```"),
    ],
)  # fmt: skip
def test_links_lead_to_the_same_in_both(hooks: ModuleType, page: str, text: str, becomes: str) -> None:
    assert hooks.linked(text, page) == becomes


def test_a_link_to_nothing_ends_the_build(hooks: ModuleType) -> None:
    with pytest.raises(hooks.UnknownTargetError, match="template/nothing"):
        hooks.linked("[a](template/nothing)", "README.md")


@pytest.mark.parametrize("page", [*PAGES, *REPO.glob("*.md")], ids=lambda page: str(page.relative_to(REPO)))
def test_lists_and_tables_begin_after_an_empty_line(page: Path) -> None:
    """GitHub needs none, mkdocs does; else they are a paragraph."""
    before, is_code = "", False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        is_code ^= line.startswith("```")
        for begins in () if is_code else (r"([-*]|\d+\.) ", r"\|"):
            if re.match(begins, line) and before and not before.startswith((" ", "#")):
                assert re.match(begins, before), f"line {number}"
        before = line
