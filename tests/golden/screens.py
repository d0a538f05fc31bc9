"""Pictures of what commands show at a terminal, for README and docs/: SVG, by rich."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from cloudpc.model.text import command_line
from tests.golden.conftest import Said
from tests.golden.normal import normal
from tests.support.project import REPO, Project
from tests.support.terminal import at_terminal

FOLDER = REPO / "docs" / "screenshots"
_PLACE = "/srv/cloud-pcs"
"""Where the project is in the pictures."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_SIGN_OF_LIFE = re.compile(r"^(?:\x1b\[[0-9;]*m)*@ .*\n", re.MULTILINE)

# rich's own has its fonts from a network
_SVG = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class Screens:
    """Takes pictures in a project, or tells which are out of date."""

    def __init__(self, project: Project, said: Said) -> None:
        self._project = project
        self._said = said

    def take(self, name: str, *arguments: str, columns: int) -> None:
        """Of a command of ours, at a terminal of so many columns.

        A picture is made anew when the form of what it shows has changed: times and the like never count.
        """
        command = [sys.executable, "-m", "cloudpc.cli.main", *arguments]
        shown = at_terminal(command, self._project.env, columns)
        typed = command_line("cloudpc", *arguments)
        plain = f"$ {typed}\n{normal(_COLOURS.sub('', shown), self._project.root)}"
        self._said.compare(name, plain)
        mark = f"<!-- form {hashlib.sha256(plain.encode()).hexdigest()[:16]} -->\n"
        picture = name.rpartition("/")[2]
        file = FOLDER / f"{picture}.svg"
        if file.is_file() and file.read_text().endswith(mark):
            return
        if self._said.is_writing:
            FOLDER.mkdir(exist_ok=True)
            file.write_text(_picture(picture, typed, self._shortened(shown)) + mark)
        else:
            self._said.differs.append(f"docs/screenshots/{picture}.svg shows another form of this: `make screenshots`")

    def _shortened(self, shown: str) -> str:
        shown = _SIGN_OF_LIFE.sub("", shown).strip("\n")
        for path in (str(self._project.root), quote(str(self._project.root))):
            shown = shown.replace(path, _PLACE)
        return shown


def _picture(name: str, typed: str, shown: str) -> str:
    prompt = Text.assemble(("$ ", "bold green"), (typed, "bold"))
    lines = Text.from_ansi(shown)
    width = max(len(line) for line in (*lines.plain.splitlines(), typed)) + 2
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=width, file=nowhere, force_terminal=True, color_system="standard")
        console.print(prompt, lines, sep="\n")
        svg = console.export_svg(title=typed, code_format=_SVG, unique_id=f"cloudpc-{name}")
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines() if line.strip())
