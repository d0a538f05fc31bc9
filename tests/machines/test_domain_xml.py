"""Domain XML, checked against libvirt's own schema for everything that can vary."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from uuid import UUID
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from cloudpc.machines.libvirt import definitions
from cloudpc.machines.libvirt.accelerator import Accelerator
from cloudpc.machines.libvirt.domain_xml import (
    AttachedNetwork,
    DomainSpec,
    KernelBoot,
    UserNetwork,
    claim_xml,
    domain_xml,
    mac_addresses,
    probe_xml,
)
from cloudpc.machines.libvirt.metadata import Label, from_domain, to_element, to_xml
from cloudpc.machines.libvirt.storage import overlay_volume_xml, pool_xml, raw_volume_xml
from cloudpc.model.tags import Phase, Tag

SCHEMAS = Path("/usr/share/libvirt/schemas")

TAG = Tag("0123456789abcdef", "engineering", "u-alice", "plan", 1, "CPC-ALICE-1", "hash")
BOOTS = [
    KernelBoot("/pool/a.kernel", "/pool/a.initrd", "root=LABEL=x console=ttyS0 -- sleep 600"),
    KernelBoot("/pool/a.kernel", None, ""),
    "bios",
    "uefi",
]
NETWORKS = [
    UserNetwork(20022),
    UserNetwork(20022, restricted=True),
    AttachedNetwork("network", "default"),
    AttachedNetwork("bridge", "br0"),
]


@pytest.fixture(scope="module")
def schema() -> dict[str, etree.RelaxNG]:
    if not SCHEMAS.is_dir():
        pytest.skip("needs libvirt's schemas (package libvirt-daemon)")
    names = ("domain", "storagepool", "storagevol")
    return {name: etree.RelaxNG(etree.parse(SCHEMAS / f"{name}.rng")) for name in names}


def spec(**changes: object) -> DomainSpec:
    values: dict[str, object] = {
        "id": UUID(int=7),
        "name": "cloudpc-01234567-000000000000",
        "title": "Alice: CPC-ALICE-1",
        "label": Label(TAG, 8),
        "vcpus": 2,
        "memory_mib": 512,
        "accelerator": Accelerator.TCG,
        "boot": "bios",
        "disk": "/pool/a.qcow2",
        "seed": "/pool/a-seed.iso",
        "network": UserNetwork(20022),
        **changes,
    }
    return DomainSpec(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("boot", "network", "accelerator", "seed"),
    list(itertools.product(BOOTS, NETWORKS, Accelerator, ["/pool/a-seed.iso", None])),
)
def test_every_variant_is_valid(schema, boot, network, accelerator, seed) -> None:
    xml = domain_xml(spec(boot=boot, network=network, accelerator=accelerator, seed=seed))
    schema["domain"].assertValid(etree.fromstring(xml))


def test_one_with_a_socket_of_its_own_is_valid(schema) -> None:
    xml = domain_xml(spec(agent_socket="/home/a & b/.config/libvirt/qemu/channel/target/0123456789ab"))
    schema["domain"].assertValid(etree.fromstring(xml))


@pytest.mark.parametrize("kind", ["kvm", "qemu"])
def test_the_others_are_valid(schema, kind) -> None:
    schema["domain"].assertValid(etree.fromstring(probe_xml("cloudpc-probe-x", "/pool/x.rom", kind)))
    schema["domain"].assertValid(etree.fromstring(claim_xml(UUID(int=7), "n", "t", Label(TAG, 8), 2, 512)))
    schema["storagepool"].assertValid(etree.fromstring(pool_xml("cloudpc", "/srv/a b")))
    schema["storagevol"].assertValid(etree.fromstring(raw_volume_xml("a.iso", 0, "0600")))
    schema["storagevol"].assertValid(etree.fromstring(overlay_volume_xml("a.qcow2", 8 << 30, "/p/b.qcow2")))


@given(
    title=st.text(),
    name=st.from_regex(r"[a-z0-9-]{1,40}", fullmatch=True),
    source=st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1),
)
def test_no_value_breaks_out_of_its_place(title, name, source) -> None:
    xml = domain_xml(spec(title=title, name=name, network=AttachedNetwork("network", source)))
    domain = ElementTree.fromstring(xml)
    assert domain.findtext("name") == name
    assert domain.find("./devices/interface/source").get("network") == source
    assert len(domain.findall("title")) <= 1
    assert "\n" not in domain.findtext("title", "")


def test_tcg_guests_have_neither_mitigations_nor_the_check_of_their_timer_and_kvm_guests_keep_both() -> None:
    boot = KernelBoot("/k", None, "console=ttyS0 -- sleep 600")
    line = {
        kind: ElementTree.fromstring(domain_xml(spec(boot=boot, accelerator=kind))).findtext("./os/cmdline")
        for kind in Accelerator
    }
    assert line[Accelerator.TCG] == "mitigations=off no_timer_check console=tty0 console=ttyS0 -- sleep 600"
    assert line[Accelerator.KVM] == "console=tty0 console=ttyS0 -- sleep 600"
    own = KernelBoot("/k", None, "mitigations=auto")
    cmdline = ElementTree.fromstring(domain_xml(spec(boot=own))).findtext("./os/cmdline")
    assert cmdline == "no_timer_check mitigations=auto"


@pytest.mark.parametrize(
    ("own", "whole"),
    [
        ("quiet console=ttyS0", "console=tty0 quiet console=ttyS0"),
        ("console=tty0 console=ttyS0", "console=tty0 console=ttyS0"),
        ("quiet", "quiet"),  # the screen is what a kernel takes that is told of none
    ],
)
def test_a_kernel_says_on_the_screen_too_why_it_does_not_boot(own: str, whole: str) -> None:
    made = domain_xml(spec(boot=KernelBoot("/k", None, own), accelerator=Accelerator.KVM))
    assert ElementTree.fromstring(made).findtext("./os/cmdline") == whole


@given(st.integers(20000, 29999), st.integers(1, 512), st.integers(64, 1 << 20), st.integers(1, 4096))
def test_what_is_defined_is_read_back(port, vcpus, memory, disk) -> None:
    label = Label(TAG, disk)
    made = spec(id=TAG.machine_id, network=UserNetwork(port), vcpus=vcpus, memory_mib=memory, label=label)
    read = definitions.parse(domain_xml(made))
    assert read.forwarded_port == port
    assert read.disks == (made.disk,), "not its seed"
    assert (read.vcpus, read.memory_mib) == (vcpus, memory)
    assert read.label == label
    assert read.network is None


def test_foreign_domains_are_read_too() -> None:
    xml = """<domain type='kvm'><name>db</name><uuid>00000000-0000-0000-0000-000000000001</uuid>
    <memory unit='KiB'>1048577</memory><vcpu placement='static' current='2'>4</vcpu>
    <devices><interface type='bridge'><source bridge='br0'/></interface></devices></domain>"""
    read = definitions.parse(xml)
    assert (read.vcpus, read.memory_mib, read.label) == (4, 1025, None)
    assert read.network == ("bridge", "br0")


texts = st.text(st.characters())


@given(
    st.builds(Tag, texts, texts, texts, texts, st.integers(0, 10**6), texts, texts, st.sampled_from(Phase)),
    st.integers(0, 10**6),
)
def test_any_tag_survives_the_metadata(tag, disk) -> None:
    label = Label(tag, disk)
    assert _read(tag.machine_id, to_element(label).text) == label
    assert ElementTree.fromstring(to_xml(label)).text == to_element(label).text


def _read(identity: UUID, text: str | None) -> Label | None:
    """What is read from a domain's XML with this in its metadata."""
    domain = ElementTree.Element("domain")
    ElementTree.SubElement(domain, "uuid").text = str(identity)
    element = to_element(Label(TAG, 1))
    element.text = text
    ElementTree.SubElement(domain, "metadata").append(element)
    return from_domain(ElementTree.fromstring(ElementTree.tostring(domain)))


def _with(**changes: object) -> str:
    values = json.loads(to_element(Label(TAG, 1)).text or "")
    return json.dumps({**values, "tag": {**values["tag"], **changes}})


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", "nonsense", '{"tag": {"phase": "unheard of"}, "disk_gib": 1}',
        _with(phase="unheard of"), _with(generation="many"), _with(user_id=None), _with(user_id=["u"]),
        '{"tag": ' * 5000,
    ],
)  # fmt: skip
def test_a_label_of_nobody_s_is_no_label(text) -> None:
    assert _read(TAG.machine_id, text) is None


def test_what_a_later_version_says_besides_is_passed_over() -> None:
    assert _read(TAG.machine_id, _with(kernel="6.12", nested={"a": [1]})) == Label(TAG, 1)


def test_a_copy_with_another_s_tag_is_nobody_s() -> None:
    """virt-clone copies the metadata, and gives the copy an identity of its own."""
    assert _read(UUID(int=7), _with()) is None


def test_disks_are_what_a_domain_alone_writes_to() -> None:
    xml = """<domain><name>n</name><uuid>00000000-0000-0000-0000-000000000001</uuid><devices>
    <disk type='file' device='disk'><source file='/pool/other.snap'/></disk>
    <disk type='block' device='disk'><source dev='/dev/vg/lv'/></disk>
    <disk type='file' device='disk'><source file='/pool/seed.iso'/><readonly/></disk>
    <disk type='file' device='disk'><source file='/pool/shared.raw'/><shareable/></disk>
    <disk type='file' device='cdrom'><source file='/iso/debian.iso'/></disk>
    <disk type='file' device='cdrom'/><disk type='network' device='disk'><source protocol='rbd' name='p/v'/></disk>
    <disk type='volume' device='disk'><source pool='pool' volume='theirs.raw'/></disk>
    </devices></domain>"""
    assert definitions.parse(xml).disks == ("/pool/other.snap", "/dev/vg/lv")
    assert definitions.parse(xml).pool_volumes == (("pool", "theirs.raw"),)


@given(st.uuids())
def test_mac_addresses_are_unicast_and_qemu_s(identity) -> None:
    first, second = itertools.islice(mac_addresses(identity), 2)
    assert first.startswith("52:54:00:")
    assert first == next(mac_addresses(identity))
    assert (len(first), len(second)) == (17, 17)
