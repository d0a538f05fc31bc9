"""A project of its own for each test, driven by the real Pulumi engine on the fake hypervisor."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cloudpc.images import store
from tests.support.project import PLAN, REPO, Project, user

__all__ = ["PLAN", "REPO", "Project", "user"]


@pytest.fixture(scope="session")
def tiny_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "tiny.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
    return path


@pytest.fixture
def new_project(tmp_path: Path, tiny_image: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Project]]:
    with ExitStack() as stack:

        def new(name: str) -> Project:
            made = Project(tmp_path / name, tiny_image)
            stack.callback(made.stop)
            if request.node.get_closest_marker("machine"):
                made.env["CLOUDPC_CACHE"] = str(store.cache_root())  # real guests boot what was built before
            return made

        yield new


@pytest.fixture
def project(new_project: Callable[[str], Project]) -> Project:
    """With a space in its name, two users, one policy, one host, one stack."""
    made = new_project("a project")
    made.directory(2)
    made.policy()
    made.init()
    return made
