"""Questions to several hosts at once: who is silent, or has trouble of its own, holds up nobody."""

from __future__ import annotations

import threading

import pytest

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.operations import asked
from cloudpc.operations.asked import Asked


def _away() -> int:
    raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, "no route")


def _crash() -> int:
    raise ZeroDivisionError("oh")


def test_each_answers_for_itself_and_what_comes_late_is_not_for_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "WITHIN", 2.0)  # enough for a thread to be heard on a busy machine
    end, ended = threading.Event(), threading.Event()

    def late() -> int:
        assert end.wait(60)
        ended.set()
        return 7

    found = Asked("asking", {"well": lambda: 1, "away": _away, "broken": _crash, "late": late})
    assert found.answers == {"well": 1}
    end.set()
    assert ended.wait(60)
    assert found.answers == {"well": 1}
    assert found.silent == {
        "away": "no route [hostUnreachable]",
        "broken": "unexpected ZeroDivisionError: oh [internalError]",
        "late": "no answer within 2 s",
    }


def test_all_are_asked_at_once() -> None:
    together = threading.Barrier(3, timeout=60)
    found = Asked("asking", dict.fromkeys("abc", together.wait))
    assert sorted(found.answers.values()) == [0, 1, 2]
    assert found.silent == {}
