"""The console: a machine's screen, for whoever looks after it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from cloudpc.model.abilities import HasConsole, NoConsole
from cloudpc.model.errors import ProvisioningError

from .subject import Ready, Subject, cannot


def test_the_screen_of_a_machine_that_runs_is_shown_to_several(ready: Ready) -> None:
    machine_id = ready.order.id
    with (
        _with_console(ready.subject) as host,
        host.open_console(machine_id) as first,
        host.open_console(machine_id) as second,
    ):
        for connected in (first, second):
            connected.settimeout(30)
            assert connected.recv(12).startswith(b"RFB 003.")


def test_what_is_off_says_so_and_what_is_not_there_too(subject: Subject) -> None:
    with _with_console(subject) as host:
        order = subject.claimed()
        with pytest.raises(NoConsole):
            host.open_console(order.id)
        with pytest.raises(ProvisioningError):
            host.open_console(subject.order("u-2").id)


@contextlib.contextmanager
def _with_console(subject: Subject) -> Iterator[HasConsole]:
    host = subject.open_here()
    try:
        if not isinstance(host, HasConsole):
            cannot("it shows no screens")
        yield host
    finally:
        host.close()
