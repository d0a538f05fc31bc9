"""One libvirt by several ways is one; two on one machine are two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.operations.twins import twins

from .daemon import Daemon

pytestmark = pytest.mark.machine


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[list[LibvirtHost]]:
    hosts: list[LibvirtHost] = []
    yield hosts
    for host in hosts:
        host.close()


@pytest.mark.parametrize("with_pool", [False, True])
def test_by_any_way(daemon: Daemon, tmp_path: Path, opened: list[LibvirtHost], with_pool: bool) -> None:
    uris = [daemon.tcp_uri, daemon.socket_uri, daemon.tcp_uri.replace("127.0.0.1", "localhost"), "qemu:///system"]
    opened += [LibvirtHost(LibvirtHostConfig(name=f"h{i}", uri=uri), tmp_path) for i, uri in enumerate(uris)]
    connection = libvirt.open(daemon.tcp_uri)
    if with_pool:
        xml = "<pool type='dir'><name>identity</name><target><path>/tmp</path></target></pool>"
        pool = connection.storagePoolDefineXML(xml, 0)
    try:
        found = twins({host.name: host.hypervisor() for host in opened})
    finally:
        if with_pool:
            pool.undefine()
        connection.close()
    assert found == [("h0", "h1"), ("h0", "h2"), ("h1", "h2")]
