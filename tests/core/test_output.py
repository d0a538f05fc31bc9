"""How commands ask."""

from __future__ import annotations

import io
import sys

import pytest

from cloudpc.cli.output import CommandError, Exit, confirm


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_question_says_what_may_be_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", _Terminal("n\ny\n"))
    with pytest.raises(CommandError) as refused:
        confirm("Delete [it]?", yes=False)
    assert refused.value.code is Exit.NOT_CONFIRMED
    confirm("Delete [it]?", yes=False)
    assert capsys.readouterr().err.count("Delete [it]? [y/N] ") == 2
