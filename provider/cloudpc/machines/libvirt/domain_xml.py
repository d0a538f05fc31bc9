"""Builds domain XML. Every element comes from a library, so no value can break out of its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal
from uuid import UUID
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from cloudpc.machines.libvirt.accelerator import Accelerator
from cloudpc.machines.libvirt.metadata import Label, to_element
from cloudpc.machines.libvirt.xml import parsed
from cloudpc.model.digest import digest
from cloudpc.model.image import Firmware

SEED_ALIAS = "ua-seed"
"""libvirt keeps aliases that begin with ua-: by this one the seed is found again and detached."""

AGENT_CHANNEL = "org.qemu.guest_agent.0"
"""By this name the guest agent finds its channel, in every guest."""

_QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
COMMAND_LINE = f"{{{_QEMU_NAMESPACE}}}commandline"
"""Name of the element with arguments for QEMU that libvirt knows nothing of."""
_VIDEO_KIB = "8192"
"""Memory of a screen for text and firmware; QEMU takes it when it is drawn on."""
_UNDER_EMULATION = {"mitigations=": "mitigations=off", "no_timer_check": "no_timer_check"}
"""What a kernel is told where QEMU emulates its processor, unless it is told of that already.

Mitigations protect nothing there, and cost seconds of every boot. The timer's check counts ticks while it spins: on a
host under load they may come too late, and the kernel panics (*IO-APIC + timer doesn't work*).
"""
_ON_SCREEN = "console=tty0"
"""Where a kernel that has its words elsewhere says them, too: whoever looks at the screen sees why it does not boot.

Before the others: the last one stays `/dev/console`.
"""
_USER_NETWORK_SLOT = "0x18"
"""PCI slot of the card that libvirt does not know of. It numbers its own from 1 on; the chipset has the last ones."""

ElementTree.register_namespace("qemu", _QEMU_NAMESPACE)


@dataclass(frozen=True)
class UserNetwork:
    """User-mode networking, with the guest's ssh forwarded from this port of the host's loopback."""

    port: int | None
    """None: nothing leads into the guest."""
    restricted: bool = False
    """Whether that is all: nothing that the guest sends goes anywhere."""


@dataclass(frozen=True)
class AttachedNetwork:
    """A card in a libvirt network or on a bridge of the host."""

    kind: Literal["network", "bridge"]
    source: str
    is_up: bool = True
    """Whether the card is plugged in."""


@dataclass(frozen=True)
class KernelBoot:
    """Direct boot of a kernel that lies on the host."""

    kernel: str
    initrd: str | None
    command_line: str


@dataclass(frozen=True)
class DomainSpec:
    """All that the full definition of a machine's domain depends on. Paths are the host's."""

    id: UUID
    name: str
    title: str
    label: Label | None
    """None: it is nobody's machine."""
    vcpus: int
    memory_mib: int
    accelerator: Accelerator
    boot: KernelBoot | Firmware
    disk: str
    seed: str | None
    network: UserNetwork | AttachedNetwork
    agent_socket: str | None = None
    """Where the host reaches the guest agent; None: where libvirt puts it."""
    mac: str = ""
    """Of its card; its first choice, without."""


def claim_xml(machine_id: UUID, name: str, title: str, label: Label, vcpus: int, memory_mib: int) -> str:
    """A domain that only holds the place: identity, owner, cores and memory, nothing to start yet."""
    domain = _identity("qemu", machine_id, name, title, label, vcpus, memory_mib)
    SubElement(SubElement(domain, "os"), "type", arch="x86_64", machine="q35").text = "hvm"
    return ElementTree.tostring(domain, encoding="unicode")


def domain_xml(spec: DomainSpec) -> str:
    """The machine's full definition."""
    kvm = spec.accelerator is Accelerator.KVM
    domain = _identity(
        "kvm" if kvm else "qemu", spec.id, spec.name, spec.title, spec.label, spec.vcpus, spec.memory_mib
    )
    _boot(domain, spec)
    features = SubElement(domain, "features")
    SubElement(features, "acpi")
    SubElement(features, "apic")
    if not kvm:
        # Translated code beyond this is thrown away; more than a small guest's kernel and tools need is waste.
        size = "64" if spec.memory_mib <= 512 else "128"
        SubElement(SubElement(features, "tcg"), "tb-cache", unit="MiB").text = size
    SubElement(domain, "cpu", mode="host-passthrough" if kvm else "maximum")
    SubElement(domain, "clock", offset="utc")
    SubElement(domain, "on_poweroff").text = "destroy"
    SubElement(domain, "on_reboot").text = "restart"
    SubElement(domain, "on_crash").text = "restart"
    _devices(domain, spec)
    if isinstance(spec.network, UserNetwork):
        _user_network(domain, spec.network, spec.mac or mac_address(spec.id))
    return ElementTree.tostring(domain, encoding="unicode")


def probe_xml(name: str, rom: str, kind: str) -> str:
    """A domain that runs the ROM at this path of the host, and ends rather than start over if it is reset."""
    domain = Element("domain", type=kind)
    SubElement(domain, "name").text = name
    SubElement(domain, "memory", unit="MiB").text = "16"
    SubElement(domain, "vcpu").text = "1"
    os = SubElement(domain, "os")
    SubElement(os, "type", arch="x86_64", machine="q35").text = "hvm"
    SubElement(os, "loader", readonly="yes", type="rom").text = rom
    SubElement(domain, "cpu", mode="host-passthrough" if kind == "kvm" else "maximum")
    for event in ("on_poweroff", "on_reboot", "on_crash"):
        SubElement(domain, event).text = "destroy"
    devices = SubElement(domain, "devices")
    SubElement(devices, "controller", type="usb", model="none")
    SubElement(SubElement(devices, "serial", type="pty"), "target", port="0")
    SubElement(SubElement(devices, "console", type="pty"), "target", type="serial", port="0")
    SubElement(SubElement(devices, "video"), "model", type="none")
    SubElement(devices, "memballoon", model="none")
    return ElementTree.tostring(domain, encoding="unicode")


def mac_addresses(machine_id: UUID) -> Iterator[str]:
    """Those that a machine may have, its first choice first; those after it are for where another has that."""
    for number in count():
        tail = digest("mac", str(machine_id), *([str(number)] if number else []))[:3]
        # what QEMU's cards begin with: people's rules for DHCP and switches go by it
        yield ":".join(f"{byte:02x}" for byte in (0x52, 0x54, 0x00, *tail))


def mac_address(machine_id: UUID) -> str:
    """Its first choice: the same each time that it is made, so that a DHCP server gives it the same address again."""
    return next(mac_addresses(machine_id))


def _identity(
    kind: str, machine_id: UUID, name: str, title: str, label: Label | None, vcpus: int, memory_mib: int
) -> Element:
    domain = Element("domain", type=kind)
    SubElement(domain, "name").text = name
    SubElement(domain, "uuid").text = str(machine_id)
    if words := title_text(title):
        SubElement(domain, "title").text = words
    if label is not None:
        SubElement(domain, "metadata").append(to_element(label))
    SubElement(domain, "memory", unit="MiB").text = str(memory_mib)
    SubElement(domain, "vcpu").text = str(vcpus)
    return domain


def title_text(title: str) -> str:
    """A title as libvirt takes it: one line, without characters XML can't carry."""
    return " ".join("".join(c if c.isprintable() else " " for c in title).split())


def _boot(domain: Element, spec: DomainSpec) -> None:
    boot = spec.boot
    os = SubElement(domain, "os")
    if boot == "uefi":
        os.set("firmware", "efi")
    SubElement(os, "type", arch="x86_64", machine="q35").text = "hvm"
    if boot == "uefi":
        # Cloud images need not be signed by Microsoft to be trusted: their checksum is in the policy.
        SubElement(SubElement(os, "firmware"), "feature", enabled="no", name="secure-boot")
    if isinstance(boot, KernelBoot):
        _kernel(os, boot, emulated=spec.accelerator is Accelerator.TCG)
    else:
        SubElement(os, "boot", dev="hd")


def _kernel(os: Element, boot: KernelBoot, *, emulated: bool) -> None:
    SubElement(os, "kernel").text = boot.kernel
    if boot.initrd is not None:
        SubElement(os, "initrd").text = boot.initrd
    if command_line := kernel_command_line(boot.command_line, emulated=emulated):
        SubElement(os, "cmdline").text = command_line


def kernel_command_line(own: str, *, emulated: bool) -> str:
    """An image's own, with what its kernel is to know besides where QEMU emulates its processor, or has a screen."""
    words = [word for name, word in _UNDER_EMULATION.items() if emulated and name not in own]
    words += [_ON_SCREEN] if "console=" in own and _ON_SCREEN not in own else []
    # first: `--` may end the kernel's own
    return " ".join(filter(None, (*words, own)))


def with_kernel(xml: str, boot: KernelBoot) -> str:
    """A domain's XML, as libvirt gives it, with another kernel; all else stays as it is."""
    domain = parsed(xml)
    os = domain.find("os")
    assert os is not None  # noqa: S101 - each domain has it
    for name in ("kernel", "initrd", "cmdline"):
        for element in os.findall(name):
            os.remove(element)
    _kernel(os, boot, emulated=domain.get("type") == "qemu")
    return ElementTree.tostring(domain, encoding="unicode")


def extra_disk_xml(path: str, target: str, alias: str, serial: str) -> str:
    """A qcow2 that is shown to a running guest for a while, read-only."""
    disk = _disk(Element("devices"), target, path, "qcow2")
    SubElement(disk, "serial").text = serial
    SubElement(disk, "readonly")
    SubElement(disk, "alias", name=alias)
    return ElementTree.tostring(disk, encoding="unicode")


def _devices(domain: Element, spec: DomainSpec) -> None:
    devices = SubElement(domain, "devices")
    # By path and not as a volume: AppArmor's helper allows only what it finds as a path.
    _disk(devices, "vda", spec.disk, "qcow2")
    if spec.seed is not None:
        seed = _disk(devices, "vdb", spec.seed, "raw")
        SubElement(seed, "readonly")
        SubElement(seed, "alias", name=SEED_ALIAS)
    SubElement(devices, "controller", type="usb", model="none")
    if isinstance(spec.network, AttachedNetwork):
        interface = SubElement(devices, "interface", type=spec.network.kind)
        SubElement(interface, "mac", address=spec.mac or mac_address(spec.id))
        SubElement(interface, "source", {spec.network.kind: spec.network.source})
        SubElement(interface, "model", type="virtio")
        SubElement(interface, "rom", enabled="no")
        if not spec.network.is_up:
            SubElement(interface, "link", state="down")
    serial = SubElement(devices, "serial", type="pty")
    SubElement(serial, "target", port="0")
    console = SubElement(devices, "console", type="pty")
    SubElement(console, "target", type="serial", port="0")
    agent = SubElement(devices, "channel", type="unix")
    if spec.agent_socket is not None:
        SubElement(agent, "source", mode="bind", path=spec.agent_socket)
    SubElement(agent, "target", type="virtio", name=AGENT_CHANNEL)
    random = SubElement(devices, "rng", model="virtio")
    SubElement(random, "backend", model="random").text = "/dev/urandom"
    # A screen for whoever looks after the machine, which nothing listens for: QEMU is handed each connection to it.
    SubElement(SubElement(devices, "graphics", type="vnc"), "listen", type="none")
    SubElement(SubElement(devices, "video"), "model", type="vga", vram=_VIDEO_KIB)
    SubElement(devices, "memballoon", model="none")
    # A guest that has the driver reports its panic, and the host notices it at once.
    SubElement(devices, "panic", model="isa")


def _disk(devices: Element, target: str, path: str, kind: str) -> Element:
    disk = SubElement(devices, "disk", type="file", device="disk")
    SubElement(disk, "driver", name="qemu", type=kind, discard="unmap")
    SubElement(disk, "source", file=path)
    SubElement(disk, "target", dev=target, bus="virtio")
    return disk


def _user_network(domain: Element, network: UserNetwork, mac: str) -> None:
    """As arguments to QEMU: this way the forwarded port is part of the definition and outlives each restart."""
    command_line = SubElement(domain, COMMAND_LINE)
    forward = "" if network.port is None else f",hostfwd=tcp:127.0.0.1:{network.port}-:22"
    card = f"virtio-net-pci,netdev=cloudpc0,mac={mac},romfile=,bus=pcie.0,addr={_USER_NETWORK_SLOT}"
    restricted = ",restrict=on" if network.restricted else ""
    for argument in ("-netdev", f"user,id=cloudpc0{restricted}{forward}", "-device", card):
        SubElement(command_line, f"{{{_QEMU_NAMESPACE}}}arg", value=argument)
