"""When two names in cloudpc:hosts are one hypervisor."""

from __future__ import annotations

from typing import Any

import pytest

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Hypervisor
from cloudpc.operations import twins


class _Host:
    def __init__(self, name: str, is_: Hypervisor | Exception) -> None:
        self.name = name
        self._is = is_
        self.asked = 0

    def hypervisor(self) -> Hypervisor:
        self.asked += 1
        if isinstance(self._is, Exception):
            raise self._is
        return self._is


def _is(id_: str, *holds: str) -> Hypervisor:
    return Hypervisor(id_, frozenset(holds))


_AWAY = ProvisioningError(ErrorCode.HOST_UNREACHABLE, "no answer")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (_is("1", "pool", "net"), _is("1", "pool", "net"), True),
        (_is("1", "pool"), _is("1", "pool", "made just now"), True),
        (_is("1"), _is("1"), True),
        (_is("1", "pool"), _is("1", "another"), False),
        (_is("1", "pool"), _is("1"), False),
        (_is("1", "net of an image"), _is("2", "net of an image"), False),
    ],
)
def test_what_it_is_told_by(one: Hypervisor, other: Hypervisor, same: bool) -> None:
    assert one.is_one_with(other) is other.is_one_with(one) is same
    hosts: Any = [_Host("a", one), _Host("away", _AWAY), _Host("b", other)]
    found = twins.ask(hosts)
    assert twins.twins(found.answers) == ([("a", "b")] if same else [])
    assert found.silent == {"away": "no answer [hostUnreachable]"}
    if same:
        with pytest.raises(twins.TwinsError):
            twins.check(found)


def test_nobody_asks_a_single_host() -> None:
    host: Any = _Host("a", _is("1"))
    twins.check(twins.ask([host]))
    assert host.asked == 0
