"""A service account may have no home: what needs one says so in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import REPO

_NOBODY = 45_678
"""A number that no user has."""


def _run(command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    become = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    return subprocess.run(
        [*become, *command], env={"PATH": os.defpath, **env}, cwd=REPO, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user that is not there")
def test_an_account_without_a_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    cloudpc = [sys.executable, "-m", "cloudpc.cli.main"]
    refused = _run([*cloudpc, "image", "list"])
    assert refused.returncode == 2
    assert refused.stderr == (
        "cloudpc: this account has no home folder; set HOME, or CLOUDPC_CACHE to a folder for caches\n"
    )
    with_cache = _run([*cloudpc, "image", "list"], CLOUDPC_CACHE="/nonexistent/cache")
    assert with_cache.returncode == 0, with_cache.stderr
    assert "micro" in with_cache.stdout


@pytest.mark.parametrize("name", ["ODD", "LANG"])
def test_a_variable_that_is_no_text_stops_no_command(name: str, tmp_path: Path) -> None:
    env = {"PATH": os.defpath, "HOME": str(tmp_path), name: os.fsdecode(b"a\xff")}
    ran = subprocess.run(
        [sys.executable, "-m", "cloudpc.cli.main", "image", "list"],
        env=env, cwd=REPO, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
