"""What people read, as files in `said/`: a change of a word shows as a change of a file, to be reviewed as such.

`make golden` writes them anew. All comes from the real commands and the real engine, on the fake hypervisor.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloudpc.model.text import command_line
from tests.engine.conftest import new_project, tiny_image
from tests.golden.normal import normal
from tests.support.project import Project, Ran

__all__ = ["new_project", "tiny_image"]

SAID = Path(__file__).parent / "said"
INSTALLATION = "golden0000000000"
"""Names, identities and ports come from it, so that they need no masking."""


class Said:
    """Compares with the files, or writes them; what differs is reported at the end, all at once."""

    def __init__(self, *, write: bool) -> None:
        self.differs: list[str] = []
        self.is_writing = write

    def compare(self, name: str, text: str) -> None:
        """With the file of this name below `said/`."""
        file = SAID / f"{name}.txt"
        before = file.read_text() if file.exists() else ""
        if text == before:
            return
        if self.is_writing:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            return
        shown = f"said/{name}.txt"
        lines = difflib.unified_diff(before.splitlines(), text.splitlines(), shown, "what was said", lineterm="", n=1)
        self.differs.append("\n".join(lines))


class Golden:
    """Runs commands in a project, and compares what they say."""

    def __init__(self, project: Project, said: Said) -> None:
        self.project = project
        self._said = said

    def pulumi(self, name: str, *arguments: str, progress: bool = False, **env: str) -> Ran:
        """Run plain pulumi, and compare what it says with the file of this name."""
        return self._compare(name, ("pulumi", *arguments), self.project.pulumi(*arguments, **env), progress)

    def preview(self, name: str, stack: str = "demo") -> Ran:
        """Compare what a preview says; it touches nothing."""
        calls = self.project.calls()
        ran = self.pulumi(name, "preview", "--stack", stack)
        assert self.project.calls() == calls
        return ran

    def cloudpc(self, name: str, *arguments: str, answer: str | None = None, progress: bool = False) -> Ran:
        """Run a command of ours, perhaps with somebody there who answers, and compare what it says."""
        ran = self.project.cloudpc(*arguments) if answer is None else self.project.answered(answer, *arguments)
        return self._compare(name, ("cloudpc", *arguments), ran, progress)

    def _compare(self, name: str, command: tuple[str, ...], ran: Ran, progress: bool) -> Ran:
        assert "Traceback" not in ran.output, ran
        end = f"[exit code {ran.code}]\n" if ran.code else ""
        said = normal(ran.output, self.project.root, progress=progress)
        self._said.compare(name, f"$ {command_line(*command)}\n{said}{end}")
        return ran


@pytest.fixture
def project(new_project: Callable[[str], Project]) -> Project:
    """As the engine's tests have it, of an installation that is always the same."""
    made = new_project("a project")
    (made.root / ".cloudpc").mkdir()
    (made.root / ".cloudpc" / "installation").write_text(f"{INSTALLATION}\n")
    for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TERMINAL_WIDTH", "PYTHONUNBUFFERED"):
        made.env.pop(name, None)
    made.env["COLUMNS"] = "120"
    made.env["LOGNAME"] = "dana"  # who asks
    made.policy()
    return made


@pytest.fixture
def said() -> Iterator[Said]:
    made = Said(write=bool(os.environ.get("CLOUDPC_UPDATE_GOLDEN")))
    yield made
    if made.differs:
        pytest.fail(
            "\n\n".join([*made.differs, "If that is what people are to read: `make golden`, and review its diff"]),
            pytrace=False,
        )


@pytest.fixture
def golden(project: Project, said: Said) -> Golden:
    return Golden(project, said)
