"""Makes a template: boots it as nobody's machine, waits until it waits, and saves its memory.

Its domain is transient and goes with this process's connection to libvirt, whatever becomes of the process. It has no
seed, no account and no way into any network.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import Any

import libvirt

from cloudpc.guests.linux import clone
from cloudpc.machines.libvirt import power, removal
from cloudpc.machines.libvirt.agent import Agent, AgentUnavailable
from cloudpc.machines.libvirt.answers import AgentRefused
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.console import Console
from cloudpc.machines.libvirt.definitions import agent_is_connected, is_running
from cloudpc.machines.libvirt.domain_xml import DomainSpec, domain_xml
from cloudpc.machines.libvirt.errors import classified
from cloudpc.machines.libvirt.images import ImageStore
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.storage import GIB
from cloudpc.machines.libvirt.template_store import Template, TemplateKey, TemplateStore
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import DiskImage
from cloudpc.model.machines import Amount, Order, PowerState
from cloudpc.model.watch import Watch

_LOCK_TIMEOUT = 900.0
_LOOK_EVERY = 0.2


@dataclass(frozen=True)
class TemplateMaker:
    """Of one host.

    Args:
        connection: to it.
        store: in its pool.
        images: there, too.
        locks: of this user's processes.
        slot: waits until the host may boot one more.
        missing: what the host has not enough of for a machine of this size, in words.
    """

    connection: Connection
    store: TemplateStore
    images: ImageStore
    locks: HostLocks
    slot: Callable[[Watch], AbstractContextManager[None]]
    missing: Callable[[Amount], str]

    def make(self, key: TemplateKey, spec: DomainSpec, order: Order, image: DiskImage, watch: Watch) -> None:
        """Make it, unless another process has made it meanwhile.

        Raises:
            ProvisioningError: NO_CAPACITY; others as of a boot.
        """
        # One at a time: what is incomplete and not another user's was then left by somebody who was interrupted.
        with self.locks.hold("template", timeout=_LOCK_TIMEOUT, cancel=watch.cancel):
            self.store.tidy()
            if self.store.find(key) is not None:
                return
            with self.slot(watch):
                template = self.store.begin(key, self.images.locate(image).disk, order.size.disk_gib * GIB)
                try:
                    booting = watch.within(order.first_boot_in_seconds)
                    self._save(replace(spec, name=template.name, disk=template.disk), template, order.size, booting)
                    self.store.complete(template)
                except BaseException:
                    self.store.retire(template)
                    raise
            self.store.tidy(key)
            self.images.tidy(image)  # what former templates lay on

    def _save(self, spec: DomainSpec, template: Template, size: Amount, watch: Watch) -> None:
        connection = self.connection.get()
        with classified("start a template", ErrorCode.START_FAILED):
            with self.locks.hold("host", timeout=_LOCK_TIMEOUT, cancel=watch.cancel):
                if missing := self.missing(size):
                    raise ProvisioningError(ErrorCode.NO_CAPACITY, f"There is no room for one: {missing}.")
                flags = libvirt.VIR_DOMAIN_START_PAUSED | libvirt.VIR_DOMAIN_START_AUTODESTROY
                domain = connection.createXML(domain_xml(spec), flags)
            console = Console(connection, domain)
        try:
            with classified("boot a template", ErrorCode.START_FAILED):
                domain.resume()
            with classified("wait for a template", ErrorCode.START_FAILED, takes_its_time=True):
                self._await(domain, console, watch)
            with classified("save a template", ErrorCode.START_FAILED):
                domain.save(template.save)
        finally:
            console.close()
            with suppress(ProvisioningError):  # it goes with the connection
                removal.stop(domain)

    def _await(self, domain: Any, console: Console, watch: Watch) -> None:
        agent = Agent(domain, answer_within=2, patience=0)
        while not (agent_is_connected(domain.XMLDesc(0)) and _waits(agent)):
            watch.wait(_LOOK_EVERY)
            if power.power(domain) == (PowerState.PAUSED, power.NO_ROOM):  # which waits for ever
                raise ProvisioningError(ErrorCode.STORAGE_FULL, "A template had no room for its disk.")
            if console.panicked or not is_running(domain):
                raise ProvisioningError(ErrorCode.GUEST_DIED, "A template did not boot.", console=console.tail())
            if watch.remaining == 0:
                message = "A template was not ready to be saved in time."
                raise ProvisioningError(ErrorCode.BOOT_TIMEOUT, message, console=console.tail())


def _waits(agent: Agent) -> bool:
    try:
        agent.read_file(clone.WAITING)
    except (AgentUnavailable, AgentRefused, FileNotFoundError, TimeoutError):
        return False
    return True
