"""Azure: the driver over the fake Resource Manager of tests/azure, whose guests' scripts run on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Self

import pytest

from cloudpc.machines.azure import removal
from cloudpc.machines.azure.driver import DRIVER
from cloudpc.machines.azure.names import name_of
from cloudpc.machines.azure.tags import made_now
from cloudpc.model.machines import Network, Order
from tests.azure import tokens
from tests.azure.account import Account
from tests.azure.arm import FakeArm
from tests.azure.back_ends import GuestStatus
from tests.azure.hosts import DEBIAN, SMALL, host_config
from tests.azure.linux_answers import LinuxAnswers
from tests.azure.machine import DISK, INTERFACE, KIND, end, machine_of
from tests.azure.resources import Resource
from tests.azure.shell import Shell

from .subject import Subject

_CHPASSWD = """#!/bin/sh
grep -q '^nobody-of-this-name:' && exit 1
exit 0
"""
_LONG_AGO = dict.fromkeys(made_now(), "2026-01-01T00:00:00+00:00")


class AzureSubject(Subject):
    """A subscription of its own, where nothing takes long."""

    driver = DRIVER
    size = SMALL
    environment: ClassVar = {"CLOUDPC_AZURE_TOKEN": tokens.issue(Account().tenant, time.time(), 86_400)}
    arm: FakeArm
    """Beside the driver."""
    shell: Shell

    @classmethod
    def opened(cls, request: pytest.FixtureRequest) -> Iterator[Self]:
        shell = Shell(request.getfixturevalue("tmp_path_factory").mktemp("azure"))
        (shell.folder / "bin").mkdir()
        program = shell.folder / "bin" / "chpasswd"  # scripts run on this machine, whose users are nobody's here
        program.write_text(_CHPASSWD)
        program.chmod(0o700)
        shell.answer("result.json", LinuxAnswers())  # this machine has no first boot
        with FakeArm(back_end=shell) as arm, pytest.MonkeyPatch.context() as patch:
            for name, value in cls.environment.items():
                patch.setenv(name, value)
            arm.buckets.on = False  # rules are tried on the same machine again and again
            arm.quotas["cores"] = 6  # of which more than half is a size that there is
            arm.marketplace["debian", "debian-12", "12-gen2"].disk_gb = 4  # tests of provisioning have small plans
            arm.add_network(f"{arm.account.network_id}-2", {"lan": "10.1.0.0/24"})
            subject = cls(host_config(arm), DEBIAN)
            subject.arm, subject.shell = arm, shell
            yield subject
            shell.states.clear()
            subject.clear()
            assert not arm.violations

    def things(self) -> list[str]:
        return sorted(name for names in self.arm.left.values() for name in names)

    def take_tag_away(self, order: Order) -> None:
        self._machine(order).body["tags"] = {}

    def add_to_tag(self, order: Order) -> None:
        more = {"cloudpc-from_a_later_version": "1", "costCenter": "4711"}
        self._machine(order).body["tags"] = {**self._machine(order).tags, **more}

    def lose(self, order: Order) -> list[str]:
        return [each.name for each in self._lose(order)]

    @contextmanager
    def lose_reserved(self, order: Order) -> Iterator[list[str]]:
        """Azure reserves only cards."""
        card, disk = self._lose(order)
        self.arm.resources.remove(disk)
        card.runtime = self.arm.clock.now() + 180
        yield [card.name]
        self.arm.clock.advance(181)

    def _lose(self, order: Order) -> list[Resource]:
        """As where its options say that its card and its disk stay; a quarter of an hour ago."""
        resource = self._machine(order)
        for name in ("networkProfile", "storageProfile"):
            _keep_all(resource.properties[name])
        with self.arm.lock:
            end(self.arm, resource)
        left = [*self.arm.resources.of(INTERFACE), *self.arm.resources.of(DISK)]
        its = [each for each in left if each.name.startswith(f"{name_of(order.id)}-")]
        for each in its:
            each.body["tags"] = {**each.tags, **_LONG_AGO}
        return its

    def turn_off(self, order: Order) -> None:
        machine_of(self._machine(order)).power = "stopped"

    @contextmanager
    def away(self) -> Iterator[None]:
        self.arm.drop(times=None, when="before")
        yield
        self.arm.faults.clear()

    @contextmanager
    def deletes_slowly(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(removal, "PATIENCE", 0.3)
            self.arm.delays = replace(self.arm.delays, deletion=600)
            yield
        self.arm.delays = replace(self.arm.delays, deletion=0)
        self.arm.clock.advance(600)

    @contextmanager
    def refuses_late(self) -> Iterator[None]:
        """Azure keeps the card for a while for the machine that failed: it is left to a later run."""
        self.arm.fail("VirtualMachines_CreateOrUpdate", "AllocationFailed", times=None, asynchronous=True)
        yield
        self.arm.faults.clear()
        self.arm.clock.advance(181)
        for card in self.arm.resources.of(INTERFACE):
            card.body["tags"] = {**card.tags, **_LONG_AGO}
        self.host.discard(self.host.remnants(self.installation))

    def never_ready(self) -> Order:
        self.shell.states["*"] = GuestStatus(provisioned=False, agent=False)
        return super().never_ready()

    @property
    def another_network(self) -> Network:
        return Network("subnet", f"{self.arm.account.network_id}-2/subnets/lan")

    def _machine(self, order: Order) -> Resource:
        return self.arm.resources.get(self.arm.account.id(KIND.rpartition("/")[2], name_of(order.id)))


def _keep_all(profile: dict[str, Any]) -> None:
    for each in profile.get("networkInterfaces", []):
        each["properties"]["deleteOption"] = "Detach"
    if disk := profile.get("osDisk"):
        disk["deleteOption"] = "Detach"
