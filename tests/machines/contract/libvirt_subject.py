"""libvirt and QEMU: the tests' own daemon, and guests of the smallest image."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

import libvirt
import pytest

from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.connection import REMEMBER_FAILURE
from cloudpc.machines.libvirt.driver import DRIVER, connect
from cloudpc.machines.libvirt.metadata import NAMESPACE, PREFIX
from cloudpc.machines.libvirt.storage import raw_volume_xml
from cloudpc.model.machines import Host, Network, Order

from .. import audit
from ..daemon import Daemon
from .subject import Subject, cannot


class LibvirtSubject(Subject):
    """Over TCP, as a remote host is reached: of its files the driver sees none."""

    driver = DRIVER
    marks = (pytest.mark.machine,)
    rounds = 3
    soon = 60.0
    until_gone = 60.0
    daemon: Daemon
    cache: Path
    _lost: str

    @classmethod
    def opened(cls, request: pytest.FixtureRequest) -> Iterator[Self]:
        daemon, cache, image = (request.getfixturevalue(name) for name in ("daemon", "cache", "micro"))
        cls.cache = cache  # as `open` needs it
        subject = cls(LibvirtHostConfig(name="lab", uri=daemon.tcp_uri, pool="contract", sshDestination=""), image)
        subject.daemon = daemon
        yield subject
        subject.clear()

    def open(self) -> Host:
        return connect(self.config, cache=self.cache)  # type: ignore[arg-type]

    def open_here(self) -> Host:
        here = LibvirtHostConfig(name="lab", uri=self.daemon.socket_uri, pool="contract")
        return connect(here, cache=self.cache)

    def things(self) -> list[str]:
        return sorted(f"{kind} {name}" for kind, names in self._audit().items() for name in names)

    def _audit(self) -> dict[str, list[str]]:
        return audit.things(self.installation, self.daemon.tcp_uri, self.daemon.root)

    def take_tag_away(self, order: Order) -> None:
        self._set_tag(order, None)

    def add_to_tag(self, order: Order) -> None:
        with self._domain(order) as domain:
            [element] = ElementTree.fromstring(domain.XMLDesc(0)).iterfind(f"./metadata/{{{NAMESPACE}}}machine")
        label = json.loads(element.text or "")
        new = ElementTree.Element("machine")
        new.text = json.dumps({**label, "later": 1, "tag": {**label["tag"], "later": 1}})
        self._set_tag(order, ElementTree.tostring(new, encoding="unicode"))

    def _set_tag(self, order: Order, xml: str | None) -> None:
        with self._domain(order) as domain:
            flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG | (libvirt.VIR_DOMAIN_AFFECT_LIVE if domain.isActive() else 0)
            domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, xml, xml and PREFIX, NAMESPACE, flags)

    def give_disk(self, order: Order) -> None:
        with self._connection() as connection:
            pool = connection.storagePoolLookupByName("contract")
            pool.createXML(raw_volume_xml(f"{order.name}.qcow2", 1024, "0600"), 0)

    def lose(self, order: Order) -> list[str]:
        self.give_disk(order)
        with self._domain(order) as domain:
            self._lost = domain.XMLDesc(0)
            domain.undefine()
        return [f"{order.name}.qcow2"]

    def put_back(self, order: Order) -> None:
        with self._connection() as connection:
            connection.defineXML(self._lost)

    def turn_off(self, order: Order) -> None:
        with self._domain(order) as domain:
            domain.destroy()

    @contextmanager
    def away(self) -> Iterator[None]:
        with self.daemon.restored():
            self.daemon.kill()
            yield
        time.sleep(REMEMBER_FAILURE)

    @property
    def another_network(self) -> Network:
        cannot("its daemon has no other networks")

    @property
    def unknown_network(self) -> Network:
        return Network("network", "no-such-network")

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        connection = libvirt.open(self.daemon.tcp_uri)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _domain(self, order: Order) -> Iterator[Any]:
        with self._connection() as connection:
            yield connection.lookupByUUID(order.id.bytes)
