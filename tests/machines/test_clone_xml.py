"""A clone's XML: the template's, with all that is the machine's own and nothing of the template's."""

from __future__ import annotations

from uuid import UUID
from xml.etree import ElementTree

import pytest

from cloudpc.machines.libvirt.clone_xml import UnlikeTemplateError, card_address, clone_xml
from cloudpc.machines.libvirt.domain_xml import (
    AttachedNetwork,
    DomainSpec,
    KernelBoot,
    UserNetwork,
    domain_xml,
    mac_address,
)
from cloudpc.machines.libvirt.metadata import Label

from .test_domain_xml import TAG, spec

TEMPLATE = UUID(int=7)


def saved(network: UserNetwork | AttachedNetwork) -> str:
    """A template as libvirt saves it: with addresses that it has chosen, and with what it knows of its disk."""
    boot = KernelBoot("/pool/kernel", "/pool/initrd", "cloudpc.template quiet")
    made = domain_xml(
        spec(id=TEMPLATE, name="cloudpc-template-x", title="Template", label=None, boot=boot, network=network,
             disk="/pool/template.qcow2", seed=None, agent_socket="/run/template")
    )  # fmt: skip
    domain = ElementTree.fromstring(made)
    for number, device in enumerate(domain.findall("./devices/*")):
        ElementTree.SubElement(device, "address", type="pci", slot=f"{number}")
    disk = domain.find("./devices/disk")
    assert disk is not None
    ElementTree.SubElement(ElementTree.SubElement(disk, "backingStore"), "source", file="/pool/base.qcow2")
    return ElementTree.tostring(domain, encoding="unicode")


def own(network: UserNetwork | AttachedNetwork) -> DomainSpec:
    boot = KernelBoot("/pool/kernel", "/pool/initrd", "quiet")
    return spec(
        id=TAG.machine_id, name="cloudpc-mine", title="CPC-1", label=Label(TAG, 8), boot=boot, network=network,
        disk="/pool/mine.qcow2", seed=None, agent_socket="/run/mine",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("template", "network"),
    [
        (UserNetwork(None, restricted=True), UserNetwork(20022)),
        (AttachedNetwork("network", "hq", is_up=False), AttachedNetwork("network", "hq")),
    ],
)
def test_nothing_of_the_templates_identity_is_left(
    template: UserNetwork | AttachedNetwork, network: UserNetwork | AttachedNetwork
) -> None:
    wanted = domain_xml(own(network))
    made = clone_xml(saved(template), wanted)
    for trace in (str(TEMPLATE), mac_address(TEMPLATE), "template", "Template", "restrict=on", "base.qcow2"):
        assert trace not in made, trace
    domain = ElementTree.fromstring(made)
    assert (domain.findtext("name"), domain.findtext("uuid")) == ("cloudpc-mine", str(TAG.machine_id))
    assert domain.findtext("./os/cmdline") == ElementTree.fromstring(wanted).findtext("./os/cmdline")
    assert card_address(made) == card_address(wanted) == mac_address(TAG.machine_id)
    assert [each.get("slot") for each in domain.findall("./devices/*/address")] == [
        str(n) for n in range(len(domain.findall("./devices/*")))
    ]


def test_a_card_that_libvirt_knows_is_unplugged_until_it_has_its_address() -> None:
    made = clone_xml(
        saved(AttachedNetwork("bridge", "br0", is_up=False)), domain_xml(own(AttachedNetwork("bridge", "br0")))
    )
    assert [link.get("state") for link in ElementTree.fromstring(made).findall("./devices/interface/link")] == ["down"]


def test_what_has_other_parts_is_refused() -> None:
    with pytest.raises(UnlikeTemplateError):
        clone_xml(saved(UserNetwork(None)), domain_xml(own(AttachedNetwork("bridge", "br0"))))
    with pytest.raises(UnlikeTemplateError):
        card_address("<domain/>")
