"""`.cloudpc`, a project's own folder: what set-up makes stays with the project, the rest with its stacks."""

from __future__ import annotations

import shutil
from pathlib import Path


def forget_state(folder: Path) -> None:
    """Remove what belonged to stacks that are all gone: state, with its history and its secrets, and the installation.

    What set-up has made stays: `env`, the passphrase, which may seal values in policies' files, and Pulumi's home.

    Args:
        folder: the project's `.cloudpc`.
    """
    shutil.rmtree(folder / "state" / ".pulumi", ignore_errors=True)
    shutil.rmtree(folder / "pulumi" / "logs", ignore_errors=True)  # a file there says that none are kept
    (folder / "installation").unlink(missing_ok=True)
