"""The ownership tag as an element of the domain's own metadata, so that it lives and dies with the domain."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from uuid import UUID
from xml.etree import ElementTree

from pydantic import TypeAdapter, ValidationError

from cloudpc.model.tags import Phase, Tag

NAMESPACE = "urn:cloudpc:machine:1"
PREFIX = "cloudpc"

ElementTree.register_namespace(PREFIX, NAMESPACE)


@dataclass(frozen=True)
class Label:
    """What we write on a domain: the tag, and the disk size it was promised before it has a disk."""

    tag: Tag
    disk_gib: int
    pool: str = ""
    """The pool that its disk is promised in; empty where nothing says."""

    def with_phase(self, phase: Phase) -> Label:
        """The same label in another phase."""
        return replace(self, tag=replace(self.tag, phase=phase))


def to_element(label: Label) -> ElementTree.Element:
    """The metadata element. JSON inside, because XML can't carry every character a directory's id may have."""
    element = ElementTree.Element(f"{{{NAMESPACE}}}machine")
    element.text = json.dumps(asdict(label), ensure_ascii=True, sort_keys=True)
    return element


def to_xml(label: Label) -> str:
    """The element as `virDomainSetMetadata` wants it: libvirt adds the prefix's declaration itself."""
    element = ElementTree.Element("machine")
    element.text = to_element(label).text
    return ElementTree.tostring(element, encoding="unicode")


def from_domain(domain: ElementTree.Element) -> Label | None:
    """The label in a domain's XML, or None if it has none that can be read, or has another domain's.

    What a later version says besides is passed over. A copy (virt-clone) has the tag of what it was copied from, and
    an identity of its own: it is nobody's.
    """
    element = domain.find(f"./metadata/{{{NAMESPACE}}}machine")
    if element is None or not element.text:
        return None
    try:
        label = _labels().validate_json(element.text)
        return label if label.tag.machine_id == UUID(domain.findtext("uuid", "")) else None
    except (ValidationError, ValueError):
        return None


@cache
def _labels() -> TypeAdapter[Label]:
    return TypeAdapter(Label)
