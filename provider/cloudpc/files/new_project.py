"""A project of one's own: the files that `cloudpc init` writes, and the folder that `pulumi new` takes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from cloudpc.files import packaged
from cloudpc.files.origin import WHEELS
from cloudpc.model.errors import CloudPCError
from cloudpc.model.text import some_of

_TEMPLATE = "template"
"""Files with Pulumi's placeholders, such as ${PROJECT}; beside them come some of the checkout's own."""
_RENAMED = {"gitignore": ".gitignore"}
"""Names that would have a meaning in this project's own checkout."""
_FROM_CHECKOUT = (
    "stacks/__main__.py", "stacks/Pulumi.demo.yaml", "stacks/directory.yaml", "stacks/schemas", "provider/plugin",
)  # fmt: skip
"""A clone may have policies of its own beside these."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}", re.ASCII)
DESCRIPTION = "Cloud PC provisioning as code; each stack is one provisioning policy"


class ProjectExistsError(CloudPCError):
    """Files that would be written are there; nothing was."""

    is_bad_input = True


class BadNameError(CloudPCError):
    """Pulumi takes no such name for a project."""

    is_bad_input = True


def name_of(folder: Path) -> str:
    """A project's name, made of that of its folder."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.resolve().name).strip("-.") or "cloud-pcs"


def create(folder: Path, values: Mapping[str, str], wheel: Path | None = None) -> list[Path]:
    """Write the project's files.

    Args:
        folder: made if it is not there.
        values: what stands for placeholders; those without a value stay, for `pulumi new`.
        wheel: this package's, which the project brings along for CI.

    Returns:
        What was written, relative to the folder.

    Raises:
        BadNameError: `PROJECT` is no name that Pulumi takes.
        ProjectExistsError: one of the files is there already; nothing was written.
        OSError: it can't be written.
    """
    name = values.get("PROJECT")
    if name is not None and not _NAME.fullmatch(name):
        raise BadNameError(f"{name!r} can't be a project's name; use up to 100 letters, digits, `-`, `_` and `.`")
    sources = _sources()
    wheels = {Path(WHEELS) / wheel.name: wheel} if wheel else {}
    if there := [str(path) for path in (*sources, *wheels) if (folder / path).exists()]:
        raise ProjectExistsError(f"{folder} has {some_of(there)} already, and nothing was written; name another folder")
    for path, source in sources.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_filled(source.read_text(encoding="utf-8"), values), encoding="utf-8")
        shutil.copymode(source, target)
    for path, source in wheels.items():
        (folder / path).parent.mkdir(exist_ok=True)
        shutil.copyfile(source, folder / path)
    return [*sources, *wheels]


def _sources() -> dict[Path, Path]:
    """Where each file of a project comes from."""
    root = packaged.root()
    found: dict[Path, Path] = {}
    for base, below in ((root / _TEMPLATE, "."), *((root, name) for name in _FROM_CHECKOUT)):
        for source in sorted((base / below).rglob("*")) or [base / below]:
            if source.is_file() and "__pycache__" not in source.parts:
                name = source.relative_to(base)
                found[name.with_name(_RENAMED.get(name.name, name.name))] = source
    return found


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Without what a run of the demo has added to its file: it seals that checkout's secrets."""
    text = re.sub(r"^encryptionsalt: .*\n?", "", text, flags=re.MULTILINE)
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    return text
