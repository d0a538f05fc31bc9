"""A domain whose tag somebody took away is neither there nor gone: every call that would change it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import libvirt
import pytest

from cloudpc.machines.libvirt.metadata import NAMESPACE
from cloudpc.model.errors import TagUnreadable
from cloudpc.model.remnants import Kind, Remnant
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch

from .desk import Desk

pytestmark = pytest.mark.machine


def _take_tag_away(domain: Any, flags: int = libvirt.VIR_DOMAIN_AFFECT_CONFIG) -> None:
    if domain.isActive():
        flags |= libvirt.VIR_DOMAIN_AFFECT_LIVE
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, None, None, NAMESPACE, flags)


def test_nothing_of_it_is_touched_until_its_tag_is_written_again(desk: Desk, connection: Any) -> None:
    spec, host = desk.claim(), desk.host
    host.making.start(spec, desk.image)
    domain = connection.lookupByUUID(spec.id.bytes)
    _take_tag_away(domain)
    calls: list[Callable[[], object]] = [
        lambda: host.describe(spec.id),
        lambda: host.delete(spec.id, Watch()),
        lambda: host.keep_for_diagnosis(spec.id, datetime.now(UTC)),
        lambda: host.finish(spec.id, Phase.HANDED_OVER),
        lambda: host.power_on(spec.id, Watch(), until_ready=False),
        lambda: host.claim(spec, Watch()),
    ]
    for call in calls:
        with pytest.raises(TagUnreadable, match=spec.name):
            call()
    assert host.discard([Remnant(Kind.VOLUME, f"{spec.name}.qcow2", spec.id.hex[:12])]) == []
    assert domain.isActive()
    assert host.remnants(desk.installation) == []
    assert host.owned(desk.installation) == []
    assert host.unreadable(desk.installation) == {spec.id: spec.name}
    assert host.unreadable("another1", [spec.id]) == {spec.id: spec.name}
    assert host.unreadable("another1") == {}

    host.retag(spec.id, desk.tag(), 1)
    host.retag(spec.id, replace(desk.tag(), generation=7), 1)
    described = host.describe(spec.id)
    assert described is not None
    assert described.tag == desk.tag(), "one that can be read is left as it is"
    assert described.has_disk


def test_one_with_a_name_of_before_is_told_too(desk: Desk, connection: Any) -> None:
    """The name says no more than how the installation's id begins; it is reported, since nothing is done to it."""
    name = f"cloudpc-{desk.installation[:8]}-0123456789ab"
    xml = f"<domain type='qemu'><name>{name}</name><memory>65536</memory><os><type>hvm</type></os></domain>"
    domain = connection.defineXML(xml)
    try:
        assert list(desk.host.unreadable(desk.installation).values()) == [name]
        assert desk.host.unreadable("another1") == {}
    finally:
        domain.undefine()


def test_one_that_still_runs_with_its_tag_has_it(desk: Desk, connection: Any) -> None:
    """As after `virsh metadata … --remove --config` alone."""
    spec = desk.claim()
    desk.host.making.start(spec, desk.image)
    domain = connection.lookupByUUID(spec.id.bytes)
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, None, None, NAMESPACE, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    described = desk.host.describe(spec.id)
    assert described is not None
    desk.host.finish(spec.id, Phase.HANDED_OVER)
    assert NAMESPACE in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
