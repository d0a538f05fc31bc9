"""The fixture `arm`, for all folders of tests: `from tests.azure.fixtures import arm`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.azure.arm import FakeArm


@pytest.fixture
def arm() -> Iterator[FakeArm]:
    """A subscription on loopback. Fails the test if the fake broke a contract, or was asked for what none has."""
    with FakeArm() as running:
        yield running
    assert not running.violations
