"""Pools of a host: what counts for one, and those that can't be used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import libvirt
import pytest
from pydantic import ValidationError

from cloudpc.machines.libvirt import pools
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.driver import connect
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.storage import Pool
from cloudpc.model.check import Check
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Amount
from cloudpc.model.watch import Watch
from tests.support.failures import fails_with

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
    desk.host.claim(spec, Watch())
    _count(desk, second, before + 3)
    desk.host.delete(spec.id, Watch())
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
        config = LibvirtHostConfig.model_validate({"name": "kvm1", "uri": desk.config.uri, **changes})
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
        (
            _FOLDER, {"pool": "mine", "poolPath": "//var/lib/libvirt/x/../isos"},
            "that is the folder of its pool isos", "Set pool of the host to isos",
        ),
        ("", {"pool": "mine", "poolPath": "/etc/hostname/pool"}, "/etc/hostname", "set poolPath"),
    ],
    ids=["logical", "another's folder", "another's folder, spelled otherwise", "no folder"],
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
            host.claim(spec, Watch())
        assert refused.value.code is ErrorCode.POOL_UNUSABLE
        assert refused.value.code.meaning.waits
        assert not refused.value.retriable
        assert message in refused.value.message
        assert hint in refused.value.hint
    assert desk.host.describe(spec.id) is None
    assert "mine" not in [pool.name() for pool in connection.listAllStoragePools()]
    told = _pool_check(host)
    assert (told.status, told.detail, told.hint) == ("failed", refused.value.message, refused.value.hint)
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
    assert _pool_check(opened(poolPath="/var/lib/libvirt/images/cloudpc/")).status == "passed"
    told = _pool_check(opened(poolPath="/srv/elsewhere"))
    assert told.status == "warning"
    assert "poolPath says /srv/elsewhere" in told.detail


def test_a_folder_that_is_there_keeps_its_mode_and_a_new_one_lets_others_through(
    desk: Desk, connection: libvirt.virConnect, opened: Callable[..., LibvirtHost]
) -> None:
    """It may be anybody's: /var/tmp that is nobody else's to write in would end other programs."""
    path = "/var/lib/libvirt/shared"
    opened(pool="sooner", poolPath=path).capacity()
    assert _mode(connection, "sooner") == "0711"
    connection.storagePoolLookupByName("sooner").destroy()
    connection.storagePoolLookupByName("sooner").undefine()
    _make(connection, path, "0777")
    opened(pool="later", poolPath=path).capacity()
    assert _mode(connection, "later") == "0777"


def _make(connection: libvirt.virConnect, path: str, mode: str) -> None:
    xml = f"<pool type='dir'><name>m</name><target><path>{path}</path><permissions><mode>{mode}</mode></permissions>"
    pool = connection.storagePoolDefineXML(f"{xml}</target></pool>", 0)
    pool.create(libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD)
    pool.destroy()
    pool.undefine()


def _mode(connection: libvirt.virConnect, pool: str) -> str:
    found = connection.storagePoolLookupByName(pool)
    found.refresh(0)
    return str(re.search("<mode>([0-7]+)</mode>", found.XMLDesc(0))[1])  # type: ignore[index]


def test_one_whose_folder_is_gone_is_told(
    desk: Desk, connection: libvirt.virConnect, opened: Callable[..., LibvirtHost]
) -> None:
    connection.storagePoolDefineXML(_FOLDER, 0)
    host = opened(pool="isos")
    with fails_with(ErrorCode.POOL_UNUSABLE, "/var/lib/libvirt/isos") as refused:
        host.claim(desk.spec(), Watch())
    assert "something not mounted" in refused.value.hint
    with pytest.raises(ProvisioningError):  # disks may be there, or not: nobody knows
        host.remnants(desk.installation)


def test_a_pool_that_loses_its_folder_is_waited_for_from_the_first_attempt_on(desk: Desk) -> None:
    def refuse(_flags: int) -> None:
        raise libvirt.libvirtError("cannot open directory '/srv/pool': No such file or directory")

    pool = Pool(desk.config, Connection(desk.config.address), HostLocks(desk.cache / "locks", desk.config.uri))
    with pytest.raises(ProvisioningError) as refused:
        pool.refresh(SimpleNamespace(refresh=refuse))
    assert refused.value.code is ErrorCode.POOL_UNUSABLE


@pytest.mark.parametrize("name", ["", ".", "..", "../../etc", "a/b", "a\nb", "x" * 300])
def test_a_pool_has_a_name_that_can_name_a_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        LibvirtHostConfig.model_validate({"name": "kvm1", "uri": "qemu:///system", "pool": name})


@pytest.mark.parametrize("path", ["/", "//", "/.", "/a\nb", "a", ""])
def test_a_pool_is_not_made_in_any_place(path: str) -> None:
    with pytest.raises(ValidationError):
        LibvirtHostConfig.model_validate({"name": "kvm1", "uri": "qemu:///system", "poolPath": path})
