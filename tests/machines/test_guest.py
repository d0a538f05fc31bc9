"""What a guest is asked through its agent: scripts one by one, told, none longer than its time or all of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from cloudpc.machines.libvirt.guest import LibvirtGuest
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import Cancelled, ErrorCode
from cloudpc.model.guests import Completed, Script
from cloudpc.model.stages import Stage
from cloudpc.model.watch import Watch

ONE = Script("true", timeout=60, title="one")
TWO = Script("false", timeout=60, secrets={"A_SECRET": "hidden"})


class Asked:
    """An agent that says yes, and what it was asked for."""

    def __init__(self, *answers: Completed | Exception) -> None:
        self.doing: list[str] = []
        self.ran: list[dict[str, Any]] = []
        self._answers = list(answers)

    @contextmanager
    def __call__(self, doing: str, refused: ErrorCode, cancel: Cancellation) -> Iterator[Any]:
        self.doing.append(doing)
        yield SimpleNamespace(run=self._run)

    def _run(self, argv: tuple[str, ...], **how: Any) -> Completed:
        self.ran.append({"argv": argv, **how})
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_each_is_told_and_runs_whatever_became_of_the_one_before() -> None:
    asked, lines = Asked(TimeoutError("took longer than 60 s"), Completed(1, "no")), list[str]()
    watch = Watch(tell=lines.append, stage=Stage.SET_UP)
    done = LibvirtGuest("local", asked).run([ONE, TWO], watch)
    assert done == [Completed(124, "took longer than 60 s", timed_out=True), Completed(1, "no")]
    assert lines == ["set-up: one"]
    assert asked.doing == ["run one", "run script"]
    assert [each["timeout"] for each in asked.ran] == [60, 60]
    assert "hidden" not in str([each["argv"] for each in asked.ran])


def test_all_together_take_no_longer_than_the_watch_allows() -> None:
    asked = Asked(Completed(0, ""))
    LibvirtGuest("local", asked).run([ONE], Watch().within(5))
    assert asked.ran[0]["timeout"] <= 5


def test_nothing_more_is_begun_once_the_run_is_to_stop() -> None:
    cancel, asked = Cancellation(), Asked()
    cancel.cancel()
    with pytest.raises(Cancelled):
        LibvirtGuest("local", asked).run([TWO], Watch(cancel))
    assert asked.doing == []
