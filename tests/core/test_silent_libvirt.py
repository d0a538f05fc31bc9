"""A host whose libvirt takes connections and never answers: it costs a run what it takes to find out, once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from uuid import UUID

import pytest

from cloudpc.machines.libvirt import connection
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.model.cloud_pc import Status
from cloudpc.model.errors import ErrorCode
from cloudpc.model.outcome import Outcome
from cloudpc.provisioning.ledger import Ledger
from cloudpc.provisioning.looks import Looks
from tests.support.failures import fails_with

from .fake_rim import Run, ScriptedHost, desired

_TIMEOUT = 1.0
_MANY = 20
"""Each that tries it again would cost as many seconds more."""


class _Silence:
    """A socket that takes every connection, reads nothing and says nothing."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._socket.getsockname()[1]
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with suppress(OSError):
            while True:
                self.taken.append(self._socket.accept()[0])

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for each in self.taken:
            each.close()


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Silence]:
    monkeypatch.setattr(connection, "OPEN_TIMEOUT", _TIMEOUT)
    with closing(_Silence()) as silence:
        yield silence


@pytest.fixture
def host(silence: _Silence, tmp_path: Path) -> Iterator[LibvirtHost]:
    config = LibvirtHostConfig(name="kvm1", uri=f"qemu+tcp://127.0.0.1:{silence.port}/system")
    with closing(LibvirtHost(config, tmp_path / "cache")) as host:
        yield host


def _provisioned(looks: Looks) -> list[Outcome]:
    outcomes = []
    for number in range(_MANY):
        run = Run(*looks.ledger.hosts)  # type: ignore[arg-type]
        run.looks = looks
        outcomes.append(run.provision(desired(user_id=f"u{number}")))
    return outcomes


def test_who_was_waited_for_in_vain_is_not_waited_for_again(host: LibvirtHost, silence: _Silence) -> None:
    for number in range(_MANY):
        with fails_with(ErrorCode.HOST_UNREACHABLE, "1 s") as raised:
            host.describe(UUID(int=number))
        assert raised.value.code is ErrorCode.HOST_UNREACHABLE
    assert len(silence.taken) == 1


def test_placement_goes_on_elsewhere(host: LibvirtHost, silence: _Silence, tmp_path: Path) -> None:
    told: list[str] = []
    outcomes = _provisioned(Looks(Ledger([host, ScriptedHost(tmp_path, "well")], told.append)))
    assert {(o.status, o.host, o.attempts) for o in outcomes} == {(Status.PROVISIONED, "well", 1)}
    assert len(silence.taken) == 1
    assert [line.split(":")[0] for line in told] == ["nobody is placed on kvm1 for now"]


def test_alone_it_keeps_all_waiting_at_the_cost_of_one(host: LibvirtHost, silence: _Silence) -> None:
    began = time.monotonic()
    outcomes = _provisioned(Looks(Ledger([host])))
    assert {(o.status, o.error and o.error.code) for o in outcomes} == {
        (Status.PENDING_PROVISION, ErrorCode.HOST_UNREACHABLE)
    }
    assert time.monotonic() - began < _MANY * _TIMEOUT / 2
    assert len(silence.taken) == 1
