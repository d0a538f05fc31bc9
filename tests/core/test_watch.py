"""What a long call is given: it is told where it is, ended, and knows its time."""

from __future__ import annotations

import pytest

from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import Cancelled
from cloudpc.model.stages import Stage
from cloudpc.model.watch import Watch


def test_lines_say_the_stage_and_the_attempt() -> None:
    lines: list[str] = []
    watch = Watch(tell=lines.append, mark=" (attempt 2 of 3)")
    watch.stage(Stage.IMAGE)
    watch.note("uploading debian-12 40 %")
    watch.within(10).stage(Stage.STARTING, "on local")
    watch.say("waiting for local")
    assert watch.now is Stage.STARTING, "an error belongs to the stage that a part of the call is in"
    assert lines == [
        "image (attempt 2 of 3)",
        "image: uploading debian-12 40 % (attempt 2 of 3)",
        "starting: on local (attempt 2 of 3)",
        "starting: waiting for local (attempt 2 of 3)",
    ]


def test_who_is_to_stop_begins_nothing_and_waits_for_nothing() -> None:
    cancel, lines = Cancellation(), list[str]()
    watch = Watch(cancel, lines.append)
    cancel.cancel()
    for call in (watch.check, lambda: watch.note("more"), lambda: watch.stage(Stage.DISK), lambda: watch.wait(60)):
        with pytest.raises(Cancelled):
            call()
    watch.say("removing")
    assert lines == ["placing: removing"]


def test_the_earlier_deadline_counts() -> None:
    assert Watch().remaining == float("inf")
    short = Watch().within(5)
    assert 4 < short.within(60).remaining <= 5
    over = short.within(0)
    assert over.remaining == 0
    over.wait(60)
