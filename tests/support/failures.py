"""What a driver or a stage refuses, by its code; wording is for tests/golden."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cloudpc.model.errors import ErrorCode, ProvisioningError


@contextmanager
def fails_with(code: ErrorCode, *facts: str) -> Iterator[pytest.ExceptionInfo[ProvisioningError]]:
    """It ends in an error of this code, which names these: hosts, networks, amounts, permissions, never a sentence."""
    with pytest.raises(ProvisioningError) as caught:
        yield caught
    assert caught.value.code is code, caught.value.whole()
    assert [fact for fact in facts if fact not in caught.value.message] == [], caught.value.message
