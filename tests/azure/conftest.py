from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.azure.arm import FakeArm
from tests.azure.client import Http
from tests.azure.fixtures import arm

__all__ = ["arm"]


@pytest.fixture
def http(arm: FakeArm) -> Iterator[Http]:
    """A client with a good token."""
    with Http(arm) as client:
        yield client
