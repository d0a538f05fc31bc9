"""What mkdocs is told beyond mkdocs.yml: pages from outside docs/ as part of the site, under the names they have here.

Nothing is written twice: README.md is the front page. Pages are linked as on GitHub, relative to where they lie in the
repository; here these links become the site's.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FRONT = "README.md"
OUTSIDE = (
    FRONT, "CONTRIBUTING.md", "STYLE.md", "CHANGELOG.md", "vm-images/README.md", "tests/machines/contract/README.md",
)  # fmt: skip
"""Pages that lie outside docs/."""
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```$|^(?: {4}|\t).*?$)", re.MULTILINE | re.DOTALL)
_PLAIN = "files"
"""Where other files that a page links to are in the site, as text."""


class UnknownTargetError(Exception):
    """A link whose target is not there."""


def in_site(path: str) -> str:
    """Where a file of the repository is in the site's sources.

    Args:
        path: relative to the repository.

    Raises:
        UnknownTargetError: it is no file.
    """
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path in OUTSIDE:
        return path
    if not (ROOT / path).is_file():
        raise UnknownTargetError(path)
    return f"{_PLAIN}/{path}.txt".replace("/.", "/")  # mkdocs leaves out what begins with a dot


def in_repository(path: str) -> str:
    """The other way round: of a page of the site."""
    return path if path in OUTSIDE else f"docs/{path}"


def linked(text: str, page: str, seen: Callable[[str], None] = lambda _: None) -> str:
    """A page's text with the site's links for the repository's; of a link to a folder, its words.

    Args:
        text: as it is in the repository; code is left as it is.
        page: its name in the site.
        seen: is told of each file that is linked to, as the repository names it.

    Raises:
        UnknownTargetError: it links to what is not there.
    """
    here = posixpath.dirname(in_repository(page))

    def link(found: re.Match[str]) -> str:
        words, name, anchor = found.groups(default="")
        target = posixpath.normpath(posixpath.join(here, name))
        if (ROOT / target).is_dir():
            return words
        seen(target)
        return f"[{words}]({os.path.relpath(in_site(target), posixpath.dirname(page) or '.')}{anchor})"

    pieces = _CODE.split(text)
    return "".join(piece if i % 2 else LINK.sub(link, piece) for i, piece in enumerate(pieces))


def on_config(config: Any, **_: Any) -> Any:
    """Anchors as GitHub makes them."""
    from pymdownx.slugs import slugify

    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add what lies outside docs/, and what pages there link to."""
    from mkdocs.structure.files import File

    for page in OUTSIDE:
        files.append(File.generated(config, page, abs_src_path=str(ROOT / page)))
    targets: set[str] = set()
    for file in list(files.documentation_pages()):
        linked(file.content_string, file.src_uri, targets.add)
    for target in sorted(targets):
        name = in_site(target)
        if name.startswith(f"{_PLAIN}/"):
            files.append(File.generated(config, name, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links into the site's."""
    return linked(markdown, page.file.src_uri)
