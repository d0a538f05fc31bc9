"""A template's domain under another identity: the XML that its saved memory is restored with."""

from __future__ import annotations

import re
from copy import deepcopy
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from cloudpc.machines.libvirt.domain_xml import COMMAND_LINE

_OWN = ("name", "uuid", "title", "metadata", COMMAND_LINE)
"""What a domain has of its own; all else is what its memory was saved with, addresses of devices included."""


_CARD_ADDRESS = re.compile(r"^virtio-net-pci,.*\bmac=([0-9a-f:]{17})(,|$)")


class UnlikeTemplateError(Exception):
    """The machine is not made of the same parts as the template."""


def clone_xml(saved: str, own: str) -> str:
    """The saved definition with the identity, disk and card of the machine whose definition is `own`.

    Its card is unplugged where libvirt knows of it: until it has its own address in the guest, too.

    Raises:
        UnlikeTemplateError: they differ in what their guests see.
    """
    domain, wanted = (ElementTree.fromstring(xml) for xml in (saved, own))  # noqa: S314 - from the hypervisor and us
    for name in _OWN:
        _replace(domain, wanted, name)
    os, own_os = domain.find("os"), wanted.find("os")
    if os is None or own_os is None:
        raise UnlikeTemplateError("one has no <os>")
    _replace(os, own_os, "cmdline")  # what it starts with next time: a guest that is reset is no longer a template
    for path in ("./devices/disk", "./devices/interface", "./devices/channel"):
        for its, own_part in _pairs(domain, wanted, path):
            _take_over(its, own_part)
    return ElementTree.tostring(domain, encoding="unicode")


def card_address(own: str) -> str:
    """The MAC address of the one card that a definition of ours has. Raises UnlikeTemplateError: it has none."""
    domain = ElementTree.fromstring(own)  # noqa: S314 - ours
    addresses = [mac.get("address", "") for mac in domain.iterfind("./devices/interface/mac")]
    for argument in domain.iterfind(f"./{COMMAND_LINE}/*"):
        if found := _CARD_ADDRESS.match(argument.get("value", "")):
            addresses.append(found[1])
    if len(addresses) != 1:
        raise UnlikeTemplateError(f"{len(addresses)} cards are wanted, not one")
    return addresses[0]


def _replace(domain: Element, wanted: Element, name: str) -> None:
    for old in domain.findall(name):
        domain.remove(old)
    for new in wanted.findall(name):
        domain.append(deepcopy(new))


def _pairs(domain: Element, wanted: Element, path: str) -> list[tuple[Element, Element]]:
    its, own = domain.findall(path), wanted.findall(path)
    if len(its) != len(own):
        raise UnlikeTemplateError(f"{len(its)} of {path} were saved, {len(own)} are wanted")
    return list(zip(its, own, strict=True))


def _take_over(its: Element, own: Element) -> None:
    for old in its.findall("backingStore"):
        its.remove(old)
    for name in ("source", "mac"):
        for old in its.findall(name):
            its.remove(old)
        for new in own.findall(name):
            its.append(deepcopy(new))
    if its.tag == "interface" and its.find("link") is None:
        SubElement(its, "link", state="down")
