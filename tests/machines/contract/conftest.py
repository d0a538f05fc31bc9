"""Each rule of the contract is tried on each driver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import Processes
from .subject import Ready, Subject
from .subjects import SUBJECTS

_EACH = [pytest.param(name, marks=kind.marks) for name, kind in SUBJECTS.items()]


@pytest.fixture(params=_EACH)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """A host for what the test makes and breaks."""
    yield from SUBJECTS[request.param].opened(request)


@pytest.fixture(params=_EACH, scope="package")  # other tests of the same daemon count what is on it
def ready(request: pytest.FixtureRequest) -> Iterator[Ready]:
    """A machine that is ready, the same for all tests that leave it as it is: to make one may take a minute."""
    for opened in SUBJECTS[request.param].opened(request):
        yield Ready(opened, *opened.made())


@pytest.fixture(scope="session")
def processes(cache: Path) -> Iterator[Processes]:
    """Other processes of the same user."""
    theirs = {name: value for kind in SUBJECTS.values() for name, value in kind.environment.items()}
    started = Processes({"CLOUDPC_CACHE": str(cache), **theirs})
    yield started
    started.close()
