"""The cloud of tests/clouds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import pytest

from cloudpc.model.machines import Network, Order
from tests.clouds.cloudy.driver import DRIVER, CloudyHostConfig
from tests.clouds.cloudy.names import name_of
from tests.clouds.cloudy.service import CloudService
from tests.support.orders import IMAGE

from .subject import Subject

_CHPASSWD = """#!/bin/sh
grep -q '^nobody-of-this-name:' && exit 1
exit 0
"""


class CloudySubject(Subject):
    """An account of its own, where all takes a few hundredths of a second."""

    driver = DRIVER
    cloud: CloudService
    """Beside the driver."""

    @classmethod
    def opened(cls, request: pytest.FixtureRequest) -> Iterator[Self]:
        folder = request.getfixturevalue("tmp_path_factory").mktemp("cloud")
        account = {"account": str(folder), "patienceInSeconds": 0.3, "youngInSeconds": 0}
        subject = cls(CloudyHostConfig.model_validate({"name": "cloud", "kind": "cloudy", **account}), IMAGE)
        subject.cloud = CloudService(folder)
        subject.configure()
        (folder / "bin").mkdir()
        program = folder / "bin" / "chpasswd"  # scripts run on this machine, whose users are nobody's here
        program.write_text(_CHPASSWD)
        program.chmod(0o700)
        yield subject
        subject.configure()
        subject.clear()

    def configure(self, **more: object) -> None:
        """Its settings, from now on."""
        settings = {
            "quota": {"vcpus": 8}, "subnets": {"default": 50, "lan": 50}, "guest": {"shell": True},
            "commands": {"bucket": 12, "refill": 0.05}, **more,
        }  # fmt: skip
        (self.cloud.folder / "cloud.json").write_text(json.dumps(settings))

    def things(self) -> list[str]:
        parts = self.cloud.list_parts()
        return sorted(each["name"] for each in [*self.cloud.list_machines(), *parts["cards"], *parts["disks"]])

    def take_tag_away(self, order: Order) -> None:
        machine = self.cloud.get_machine(name_of(order.id))
        assert machine is not None
        self.cloud.merge_tags(machine["name"], dict.fromkeys(machine["tags"]))

    def add_to_tag(self, order: Order) -> None:
        self.cloud.merge_tags(name_of(order.id), {"cloudpc-from_a_later_version": "1", "costCenter": "4711"})

    def lose(self, order: Order) -> list[str]:
        return self._lose(order, reserved=0)

    @contextmanager
    def lose_reserved(self, order: Order) -> Iterator[list[str]]:
        yield self._lose(order, reserved=600)
        self.cloud.end_reservations()

    def _lose(self, order: Order, *, reserved: float) -> list[str]:
        self.configure(keeps_parts=True, seconds={"delete": 0, "reserved": reserved})
        machine = self.cloud.get_machine(name_of(order.id))
        assert machine is not None
        self.cloud.delete_machine(machine["name"])
        self.wait_until(lambda: self.cloud.get_machine(machine["name"]) is None, "it is still there")
        self.configure()
        return [machine["card"], machine["disk"]]

    def turn_off(self, order: Order) -> None:
        self.cloud.stop_machine(name_of(order.id))

    @contextmanager
    def away(self) -> Iterator[None]:
        self.configure(away=True)
        yield
        self.configure()

    @contextmanager
    def deletes_slowly(self) -> Iterator[None]:
        self.configure(seconds={"delete": 600})
        yield
        self.configure()
        self.cloud.finish_deletions()

    @contextmanager
    def refuses_late(self) -> Iterator[None]:
        self.configure(faults=[{"call": "allocate", "code": "AllocationFailed"}])
        yield
        self.configure()

    def never_ready(self) -> Order:
        self.configure(seconds={"boot": 600})
        return super().never_ready()

    @property
    def another_network(self) -> Network:
        return Network("subnet", "lan")
