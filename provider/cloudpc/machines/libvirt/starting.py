"""Gives a claimed machine its full definition and starts it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import libvirt

from cloudpc.files import folders
from cloudpc.guests.linux import clone
from cloudpc.machines.libvirt import networks
from cloudpc.machines.libvirt.accelerator import Accelerator
from cloudpc.machines.libvirt.address import Address
from cloudpc.machines.libvirt.cards import CARDS
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.console import Console
from cloudpc.machines.libvirt.definitions import Definition, all_definitions
from cloudpc.machines.libvirt.domain_xml import AttachedNetwork, DomainSpec, KernelBoot, UserNetwork, domain_xml
from cloudpc.machines.libvirt.errors import classified
from cloudpc.machines.libvirt.images import ImageStore
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.metadata import Label
from cloudpc.machines.libvirt.volumes import MachineVolumes
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import DiskImage, Firmware
from cloudpc.model.machines import Order

Restore = Callable[[Any, str], None]
"""Restores a domain, given its definition; it is paused then."""

LOCK_TIMEOUT = 900.0
_PORT_TRIES = 20
_PORT_TAKEN = "host forwarding rule"
"""How QEMU says that it could not listen on a forwarded port; it does not translate its messages."""


class Starter:
    """Starts machines of one host."""

    def __init__(
        self, config: LibvirtHostConfig, images: ImageStore, volumes: MachineVolumes, locks: HostLocks
    ) -> None:
        self._config = config
        self._images = images
        self._volumes = volumes
        self._locks = locks

    def start(
        self, connection: Any, order: Order, label: Label, image: DiskImage, accelerator: Accelerator,
        restore: Restore | None = None,
    ) -> Console:  # fmt: skip
        """Define the complete machine again and start it; returns its console, read from the first character.

        Args:
            connection: to its host.
            order: which machine; its disk is there, and its seed if it boots.
            label: what it carries.
            image: that its disk was made of.
            accelerator: that it runs under.
            restore: puts it, paused, to where its template was saved; by default it boots.

        Raises:
            ProvisioningError: START_FAILED, NO_FREE_PORT, NO_CAPACITY: no port is left, NETWORK_NOT_FOUND.
        """
        disk, seed = self._volumes.paths(order.name, has_seed=restore is None)
        attached = networks.attachment(self._config, order.network)
        networks.check(connection, self._config, attached)
        spec = DomainSpec(
            id=order.id,
            name=order.name,
            title=order.title,
            label=label,
            vcpus=order.size.vcpus,
            memory_mib=order.size.memory_mib,
            accelerator=accelerator,
            boot=self._boot(image),
            disk=disk,
            seed=seed,
            network=attached or UserNetwork(None),
            agent_socket=_agent_socket(Address(self._config.uri), order.id),
        )

        def definition(network: UserNetwork | AttachedNetwork, mac: str) -> str:
            return domain_xml(replace(spec, network=network, mac=mac))

        def defined(mac: str) -> tuple[Any, str]:
            xml = definition(spec.network, mac)
            return self._define(connection, xml), xml

        def run(domain: Any, xml: str) -> Console:
            if restore is None:
                domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
            else:
                restore(domain, xml)
            return _resumed(connection, domain)

        if attached is not None:
            with classified(f"start {order.name}", ErrorCode.START_FAILED):
                self._all_definitions(connection)
                return run(*CARDS.settle(order.id, defined))
        refused: set[int] = set()
        for _try in range(_PORT_TRIES):
            with classified(f"start {order.name}", ErrorCode.START_FAILED):
                # Under the lock, so that no two machines started at once choose the same port.
                with self._locks.hold("host", timeout=LOCK_TIMEOUT):
                    port = self._free_port(connection, order, refused)
                    # a network of its own, in which it has no neighbours
                    xml = definition(UserNetwork(port, restricted=self._config.is_restricted), CARDS.give(order.id))
                    domain = self._define(connection, xml)
                try:
                    return run(domain, xml)
                except libvirt.libvirtError as error:
                    if _PORT_TAKEN not in str(error.get_error_message()).lower():
                        raise
                    refused.add(port)
        raise ProvisioningError(
            ErrorCode.NO_FREE_PORT,
            f"No free port for {order.name}: {len(refused)} from {networks.PORTS[0]} on were tried.",
            hint="See `ss -ltnp` on the host for what listens there.",
        )

    def template(self, order: Order, image: DiskImage, accelerator: Accelerator, machine_id: UUID) -> DomainSpec:
        """What a template for machines like this one is; its name and disk are still to be said.

        Nothing leads into it or out of it.
        """
        attached = networks.attachment(self._config, order.network)
        boot = self._boot(image)
        if isinstance(boot, KernelBoot):  # first: `--` may end the kernel's own
            boot = replace(boot, command_line=f"{clone.ARGUMENT} {boot.command_line}".strip())
        return DomainSpec(
            id=machine_id,
            name="",
            title=f"Template of {image.image_id}",
            label=None,
            vcpus=order.size.vcpus,
            memory_mib=order.size.memory_mib,
            accelerator=accelerator,
            boot=boot,
            disk="",
            seed=None,
            network=replace(attached, is_up=False) if attached else UserNetwork(None, restricted=True),
            agent_socket=_agent_socket(Address(self._config.uri), machine_id),
        )

    def _boot(self, image: DiskImage) -> KernelBoot | Firmware:
        base = self._images.locate(image)
        return KernelBoot(base.kernel, base.initrd, image.command_line) if base.kernel else image.firmware

    def _free_port(self, connection: Any, order: Order, refused: set[int]) -> int:
        defined = self._all_definitions(connection)
        taken = {d.forwarded_port for d in defined if d.id != order.id and d.forwarded_port is not None}
        candidates = networks.candidate_ports(order.id, taken | refused)
        if not candidates:
            message = (
                f"The host {self._config.name} has no place for it: all {len(networks.PORTS)} ports of its loopback "
                "that guests are reached through are in use."
            )
            hint = "Give the host a libvirt network (hostedNetwork), where guests have addresses of their own."
            raise ProvisioningError(ErrorCode.NO_CAPACITY, message, hint=hint)
        return candidates[0]

    def _all_definitions(self, connection: Any) -> list[Definition]:
        """All definitions; the cards in them are known from now on."""
        definitions = all_definitions(connection)
        CARDS.saw(self._config.uri, definitions)
        return definitions

    def _define(self, connection: Any, xml: str) -> Any:
        domain = connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        domain.setAutostart(1)
        return domain


def _agent_socket(address: Address, machine_id: UUID) -> str | None:
    """Where the guest agent's socket goes; None: where libvirt puts it.

    For a user's own session that is below the home, under the names of the domain and of the channel: longer than a
    socket's path may be (107 bytes) where the home has more than 16 letters. Under a number of its own, 57 will do.
    """
    if not (address.is_session and address.is_local):
        return None
    folder = folders.config("libvirt") / "qemu" / "channel" / "target"
    return str(folder / machine_id.hex[:12]) if folder.is_dir() else None


def _resumed(connection: Any, domain: Any) -> Console:
    """Resume a paused domain, with its console read before it says anything."""
    console = Console(connection, domain)
    try:
        domain.resume()
    except BaseException:
        console.close()
        raise
    return console
