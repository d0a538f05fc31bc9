"""Power: what stands still is reported, and works again when asked."""

from __future__ import annotations

import pytest

from cloudpc.model.abilities import ShutsDown
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.guests import Script
from cloudpc.model.machines import PowerState

from .subject import Ready, Subject, cannot
from .watching import Watched


def test_what_was_off_is_ready_when_it_was_turned_on(subject: Subject) -> None:
    order, _watch = subject.made()
    subject.turn_off(order)
    machine = subject.host.describe(order.id)
    assert machine is not None
    assert (machine.power, machine.has_disk) == (PowerState.STOPPED, True)
    subject.host.power_on(order.id, Watched())
    machine = subject.host.describe(order.id)
    assert machine is not None
    assert (machine.power, machine.tag) == (PowerState.RUNNING, order.tag)
    [done] = subject.host.guest(order.id).run([Script("echo up", timeout=30)], Watched())
    assert done.output.strip() == "up"


def test_what_runs_is_left_alone(ready: Ready) -> None:
    host, machine_id = ready.subject.host, ready.order.id
    before = host.describe(machine_id)
    host.power_on(machine_id, Watched())
    assert host.describe(machine_id) == before


def test_what_is_gone_is_not_started(subject: Subject) -> None:
    with pytest.raises(ProvisioningError):
        subject.host.power_on(subject.order().id, Watched())
    assert subject.things() == []


def test_what_is_shut_down_is_off_until_it_is_turned_on(subject: Subject) -> None:
    order, _watch = subject.made()
    host = subject.host
    if not isinstance(host, ShutsDown):
        cannot("it can't turn machines off")
    assert host.shut_down(order.id, Watched(), stays_off=True)
    machine = host.describe(order.id)
    assert machine is not None
    assert (machine.power, machine.tag, machine.has_disk) == (PowerState.STOPPED, order.tag, True)
    assert host.shut_down(order.id, Watched(), stays_off=False), "once more does no harm"
    host.power_on(order.id, Watched())
    [done] = host.guest(order.id).run([Script("echo up", timeout=30)], Watched())
    assert done.output.strip() == "up"
