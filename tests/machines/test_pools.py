"""Pools of a host: what counts for one, and those that can't be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import libvirt
import pytest

from cloudpc.hosts import HostConfig
from cloudpc.machines.interface import Amount, Check
from cloudpc.machines.libvirt import connect, pools
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.provisioning import placement
from cloudpc.provisioning.errors import ErrorCode, ProvisioningError

from .daemon import Daemon
from .desk import Desk, open_desk

pytestmark = pytest.mark.machine

_DISK = Amount(vcpus=1, memory_mib=64, disk_gib=3)
_LOGICAL = """<pool type='logical'><name>lvm</name><source><device path='/dev/none'/><name>vg</name></source>
<target><path>/dev/vg</path></target></pool>"""
_FOLDER = "<pool type='dir'><name>isos</name><target><path>/var/lib/libvirt/isos</path></target></pool>"


@pytest.fixture
def second(desk: Desk) -> Iterator[Desk]:
    """Another pool on the same host, of another installation."""
    yield from open_desk(desk.config.uri, desk.image, desk.cache, "second")


def test_a_pool_counts_what_is_promised_or_lies_in_it(desk: Desk, second: Desk) -> None:
    before = desk.host.capacity().committed.disk_gib
    spec = desk.spec("u-1", _DISK)
    desk.host.claim(spec, desk.tag("u-1"))
    _count(desk, second, before + 3)
    desk.host.delete(spec.id)
    _count(desk, second, before)
    desk.claim("u-1", _DISK)
    _count(desk, second, before + 3)


def _count(desk: Desk, second: Desk, gib: int) -> None:
    here, there = desk.host.capacity(), second.host.capacity()
    assert (here.committed.disk_gib, there.committed.disk_gib) == (gib, 0)
    assert here.committed.vcpus == there.committed.vcpus, "cores and memory are the host's"


# ---- pools that can't be used


@pytest.fixture
def connection(daemon: Daemon) -> Iterator[libvirt.virConnect]:
    """The host; pools that a test defines are undefined after it."""
    connection = libvirt.open(daemon.tcp_uri)
    before = {pool.name() for pool in connection.listAllStoragePools()}
    yield connection
    for pool in connection.listAllStoragePools():
        if pool.name() not in before:
            if pool.isActive():
                pool.destroy()
            pool.undefine()
    connection.close()


@pytest.fixture
def opened(desk: Desk) -> Iterator[Callable[..., LibvirtHost]]:
    """The desk's host, configured otherwise."""
    hosts = []

    def open_(**changes: str) -> LibvirtHost:
        config = HostConfig.model_validate({"name": "kvm1", "uri": desk.config.uri, **changes})
        hosts.append(connect(config, cache=desk.cache))
        return hosts[-1]

    yield open_
    for host in hosts:
        host.close()


def _pool_check(host: LibvirtHost) -> Check:
    return next(check for check in host.check() if check.what == "storage pool")


@pytest.mark.parametrize(
    ("defined", "changes", "message", "hint"),
    [
        (_LOGICAL, {"pool": "lvm"}, "The storage pool lvm of the host kvm1 is of type logical", "dir, fs, netfs"),
        (
            _FOLDER, {"pool": "mine", "poolPath": "/var/lib/libvirt//isos/"},
            "that is the folder of its pool isos", "Set pool of the host to isos",
        ),
        ("", {"pool": "mine", "poolPath": "/etc/hostname/pool"}, "/etc/hostname", "Set poolPath"),
    ],
    ids=["logical", "another's folder", "no folder"],
)  # fmt: skip
def test_one_that_can_not_be_used_is_told_before_anything_is_made_and_waited_for(
    desk: Desk,
    connection: libvirt.virConnect,
    opened: Callable[..., LibvirtHost],
    defined: str,
    changes: dict[str, str],
    message: str,
    hint: str,
) -> None:
    if defined:
        connection.storagePoolDefineXML(defined, 0)
    host, spec = opened(**changes), desk.spec()
    for _again in range(2):
        with pytest.raises(ProvisioningError) as refused:
            host.claim(spec, desk.tag())
        assert refused.value.code is ErrorCode.POOL_UNUSABLE
        assert refused.value.code in placement.PENDING
        assert not refused.value.retriable
        assert message in refused.value.message
        assert hint in refused.value.hint
    assert desk.host.describe(spec.id) is None
    assert "mine" not in [pool.name() for pool in connection.listAllStoragePools()]
    told = _pool_check(host)
    assert (told.state, told.detail, told.hint) == ("failed", refused.value.message, refused.value.hint)
    assert host.remnants(desk.installation) == []
    assert host.owned(desk.installation) == []


@pytest.mark.parametrize(
    ("kind", "usable"),
    [(kind, True) for kind in ("dir", "fs", "netfs")]
    + [(kind, False) for kind in ("logical", "disk", "iscsi", "scsi", "mpath", "rbd", "gluster", "zfs", "new")],
)
def test_only_folders_will_do(kind: str, usable: bool) -> None:
    class Pool:
        def XMLDesc(self, _flags: int) -> str:
            return f"<pool type='{kind}'><name>p</name><target><path>/x</path></target></pool>"

    assert pools.is_folder(Pool()) is usable
    assert pools.folder_of(Pool()) == ("/x" if usable else "")


def test_a_path_that_does_not_count_is_told(desk: Desk, opened: Callable[..., LibvirtHost]) -> None:
    desk.host.capacity()
    assert _pool_check(opened(poolPath="/var/lib/libvirt/images/cloudpc/")).state == "ok"
    told = _pool_check(opened(poolPath="/srv/elsewhere"))
    assert told.state == "warning"
    assert "poolPath says /srv/elsewhere" in told.detail
