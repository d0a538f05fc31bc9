"""Clones of a template: what must differ differs, and whatever goes wrong ends in an ordinary boot."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

from cloudpc.machines.libvirt.capacity import MEMORY_OVERHEAD_MIB
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.host import LibvirtHost
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.storage import Pool, overlay_volume_xml, raw_volume_xml
from cloudpc.machines.libvirt.template_store import Template, TemplateKey, TemplateStore
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import Cancelled
from cloudpc.model.guests import Script
from cloudpc.model.machines import Amount, Order
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from tests.support.orders import order

from .daemon import Daemon
from .desk import SIZE, Desk
from .reach import ran

pytestmark = pytest.mark.machine

CLONES = int(os.environ.get("CLOUDPC_CLONES", "4"))
"""`make clones` compares 16."""
POOL = "var/lib/libvirt/images/cloudpc"
_LOOK = """
head -c 32 /dev/urandom | md5sum | sed 's/^/random /'
sed 's/^/boot /' /proc/sys/kernel/random/boot_id
sed 's/^/firmware /' /sys/class/dmi/id/product_uuid
sed 's/^/host-key /' /etc/ssh/ssh_host_ed25519_key.pub
md5sum </etc/dropbear/dropbear_ed25519_host_key | sed 's/^/private-key /'
sed 's/^/card /' /sys/class/net/eth0/address
sed 's/^/instance /' /var/lib/cloud/instance-id
echo "name $(hostname)"
"""


class Story:
    """What was reported while one machine was made."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @property
    def was_cloned(self) -> bool:
        return any(line.endswith("from a template") for line in self.told)


def make(desk: Desk, user: str, size: Amount = SIZE) -> tuple[Order, Story]:
    spec, story = order(desk.tag(user), size, image=desk.image, may_be_cloned=True), Story()
    desk.host.claim(spec, Watch())
    desk.host.make(spec, Watch(tell=story.told.append))
    desk.host.finish(spec.id, Phase.READY)
    return spec, story


def look(desk: Desk, spec: Order) -> dict[str, str]:
    [seen] = desk.host.guest(spec.id).run([Script(text=_LOOK, timeout=60)], Watch())
    assert seen.exit_code == 0, seen.output
    return dict(line.split(" ", 1) for line in seen.output.splitlines())


def templates(daemon: Daemon, suffix: str) -> list[Path]:
    return sorted((daemon.root / POOL).glob(f"cloudpc-template-*{suffix}"))


def test_clones_share_nothing_that_must_differ(desk: Desk, daemon: Daemon) -> None:
    first, _ = make(desk, "u-first")
    with ThreadPoolExecutor(CLONES) as threads:
        made = list(threads.map(lambda n: make(desk, f"u-{n}"), range(CLONES)))
    assert [story.was_cloned for _, story in made] == [True] * CLONES
    seen = [look(desk, spec) for spec in (first, *(spec for spec, _ in made))]
    for what in seen[0]:
        values = [each[what] for each in seen]
        assert len(set(values)) == len(seen), f"{what}: {values}"
    assert [each["firmware"] for each in seen] == [str(spec.id) for spec in (first, *(spec for spec, _ in made))]
    assert not list((daemon.root / POOL).glob("*-memory.save"))
    assert abs(int(ran(desk.host, made[0][0].id, "date", "+%s").output) - time.time()) < 60
    [check] = [check for check in desk.host.check() if check.what == "templates"]
    assert "to clone Cloud PCs from" in check.detail
    assert desk.host.remnants(desk.installation) == []


def test_of_two_processes_one_makes_it_and_ctrl_c_leaves_nothing(
    desk: Desk, daemon: Daemon, connection: libvirt.virConnect
) -> None:
    size = replace(SIZE, memory_mib=161)  # a template that no other test has made
    cancel, hosts = Cancellation(), (desk.host, desk.another())

    def begin(user: str, host: LibvirtHost) -> None:
        spec = order(desk.tag(user), size, image=desk.image, may_be_cloned=True)
        host.claim(spec, Watch())
        with suppress(Cancelled):  # on a busy machine it may be ready before the template boots
            host.make(spec, Watch(cancel))
        host.finish(spec.id, Phase.PROVISIONING)

    with ThreadPoolExecutor(2) as threads:
        begun = [threads.submit(begin, f"u-{n}", host) for n, host in enumerate(hosts)]
        while not (booting := [d for d in connection.listAllDomains() if d.name().startswith("cloudpc-template-")]):
            assert not any(each.done() for each in begun), [each.exception() for each in begun if each.done()]
            time.sleep(0.1)
        assert len(booting) == 1
        assert len(templates(daemon, ".qcow2")) - len(templates(daemon, ".complete")) == 1
        taken = desk.host.capacity()
        assert taken.committed.memory_mib == 2 * (161 + MEMORY_OVERHEAD_MIB), "it keeps nobody from a place"
        cancel.cancel()
        for each in begun:
            each.result(60)
    hosts[1].close()
    assert not [d for d in connection.listAllDomains() if d.name().startswith("cloudpc-template-")]
    assert len(templates(daemon, ".qcow2")) == len(templates(daemon, ".complete"))


def test_where_the_memory_is_not_as_known_it_boots_and_that_is_told_once(
    desk: Desk, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    size = replace(SIZE, memory_mib=162)  # a template that no other test needs
    before = templates(daemon, ".save")
    make(desk, "u-first", size)
    [save] = set(templates(daemon, ".save")) - set(before)
    written = save.stat()
    with save.open("r+b") as file:
        file.write(b"LibvirtQemudSav3")
    os.utime(save, ns=(written.st_atime_ns, written.st_mtime_ns))  # as a newer libvirt would have saved it
    spec, story = make(desk, "u-2", size)
    assert story.was_cloned
    assert desk.host.guest(spec.id).run([Script(text="true", timeout=30)], Watch())[0].exit_code == 0
    assert len(caplog.messages) == 1
    assert "LibvirtQemudSav3" in caplog.messages[0]
    assert templates(daemon, ".save") == before
    assert desk.host.templates.find(spec, desk.image, Watch()) is None
    [check] = [check for check in desk.host.check() if check.what == "templates"]
    assert check.status == "warning"


@pytest.fixture
def store(desk: Desk) -> Iterator[TemplateStore]:
    """As the host has it."""
    connection = Connection(desk.config.address)
    locks = HostLocks(desk.cache / "locks", desk.config.uri)
    opened = TemplateStore(connection, Pool(desk.config, connection, locks), locks)
    yield opened
    pool = opened.pool.open()
    opened.pool.delete(pool, [name for name in opened.pool.names(pool) if "-image000-" in name or "-someone-" in name])
    connection.close()


def template(store: TemplateStore, key: TemplateKey, *, is_whole: bool = True) -> Template:
    """One whose memory is nothing."""
    pool = store.pool.open()
    name = "cloudpc-image000-base"
    xml = raw_volume_xml(name, 1 << 20, "0644").replace("raw", "qcow2")
    base = store.pool.create(pool, xml, name).path()
    made = store.begin(key, base, 1 << 20)
    store.pool.create(pool, raw_volume_xml(f"{made.name}.save", 4096, "0600"), f"{made.name}.save")
    if is_whole:
        store.complete(made)
    return made


@pytest.mark.parametrize("suffix", [".qcow2", ".save"])
def test_one_that_somebody_has_started_by_hand_is_never_cloned_again(
    store: TemplateStore, daemon: Daemon, suffix: str
) -> None:
    """What its memory knows of its disk, and what lies there, would no longer be the same."""
    key = TemplateKey("3" * 16, "image000", "build000", "kind0000")
    made = template(store, key)
    assert store.find(key) == made
    file = daemon.root / POOL / f"{made.name}{suffix}"
    os.utime(file, (file.stat().st_atime, file.stat().st_mtime + 1))
    assert store.find(key) is None
    store.tidy()
    assert not [name for name in store.pool.names(store.pool.open()) if name.startswith(made.name)]


def test_what_was_half_made_and_what_is_superseded_goes_but_for_disks_in_use(store: TemplateStore) -> None:
    def left() -> set[str]:
        return {
            name
            for name in store.pool.names(store.pool.open())
            if name.startswith("cloudpc-template-") and "-image000-" in name
        }

    key = TemplateKey("0" * 16, "image000", "build000", "kind0000")
    half = template(store, key, is_whole=False)
    assert store.find(key) is None
    whole = template(store, key)
    assert store.find(key) == whole
    stranger = f"{key.name}ffffff000000.qcow2"
    pool = store.pool.open()
    store.pool.create(pool, raw_volume_xml(stranger, 4096, "0644"), stranger)
    store.tidy()
    assert half.name != whole.name
    assert left() == {stranger, *(f"{whole.name}{suffix}" for suffix in (".qcow2", ".save", ".complete"))}

    overlay = "cloudpc-someone-made-this-by-hand.qcow2"
    store.pool.create(pool, overlay_volume_xml(overlay, 1 << 20, whole.disk), overlay)
    others = [replace(key, image="image001"), replace(key, kind="kind0001", whole="1" * 16)]
    for other in others:
        store.tidy(other)
        assert store.find(key) == whole, "of another image or size, and so beside it"
    store.tidy(replace(key, build="build001", whole="2" * 16))
    assert store.find(key) is None
    assert left() == {stranger, f"{whole.name}.qcow2"}
    assert store.there()[:2] >= (0, 1)
    store.pool.delete(pool, [overlay])
    store.tidy()
    assert left() == {stranger}
