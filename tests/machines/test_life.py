"""Machines that really boot, on a libvirtd whose files this process can't see."""

from __future__ import annotations

import gc
import socket
import threading
import time
from pathlib import Path
from uuid import UUID

import libvirt
import pytest

from cloudpc import guests
from cloudpc.machines.libvirt.connection import REMEMBER_FAILURE
from cloudpc.machines.libvirt.networks import candidate_ports
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.guests import Script
from cloudpc.model.machines import Claimed, PowerState
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from tests.support.failures import fails_with
from tests.support.waiting import wait_until

from .daemon import Daemon
from .desk import SIZE, Desk, open_desk
from .reach import greeting, ran

pytestmark = pytest.mark.machine

LINUX = guests.named("linux")
HANGS = "earlyprintk=ttyS0 loglevel=7 rdinit=/bin/busybox -- sleep 600"
"""A guest that is never ready: what happens to it while it is waited for happens before that on any machine."""


def test_a_whole_life(desk: Desk, daemon: Daemon) -> None:
    host, spec = desk.host, desk.boot()

    assert ran(host, spec.id, "sh", "-c", "cat; exit 3", stdin=b"hello").exit_code == 3
    assert ran(host, spec.id, "cat", stdin="grüß".encode()).output == "grüß"
    assert ran(host, spec.id, "no-such-program").exit_code == 127
    guest, titles = host.guest(spec.id), list[str]()
    facts, secret, missing = guest.run(
        [
            LINUX.facts(),
            Script(
                text='command -v cat; printf %s "$A_SECRET"', timeout=10, title="a secret", secrets={"A_SECRET": "é'"}
            ),
            Script(text='ps; exec cat "$1"', arguments=("/no/such/file",), timeout=10, title="no file"),
        ],
        Watch(tell=titles.append, stage=Stage.SET_UP),
    )
    assert LINUX.read(facts.output).proof.startswith("ssh-ed25519 ")
    assert (secret.exit_code, secret.output.splitlines()[1]) == (0, "é'")
    assert missing.exit_code == 1
    assert "A_SECRET" not in missing.output
    assert titles == ["set-up: a secret", "set-up: no file"]
    guest.set_password("alice", "correct horse", Watch())
    with pytest.raises(ProvisioningError) as refused:
        guest.set_password("nobody-of-this-name", "correct horse", Watch())
    assert refused.value.code is ErrorCode.CREDENTIALS_FAILED
    assert "correct horse" not in str(refused.value)
    shadow = ran(host, spec.id, "cat", "/etc/shadow").output
    assert any(line.startswith("alice:$") for line in shadow.splitlines())

    endpoint = host.access(spec.id, Watch().within(60))
    assert endpoint.host == "127.0.0.1"
    assert endpoint.via == ""
    assert greeting(endpoint) == b"SSH-"

    host.finish(spec.id, Phase.READY)
    host.finish(spec.id, Phase.HANDED_OVER)
    described = host.describe(spec.id)
    assert described is not None
    assert described.tag.phase is Phase.HANDED_OVER
    assert described.power is PowerState.RUNNING
    assert described.size == SIZE
    assert host.owned(desk.installation) == [described]
    assert host.owned(desk.installation, besides={spec.id}) == []
    pool = daemon.root / "var/lib/libvirt/images/cloudpc"
    assert {file.name for file in pool.glob(f"{spec.name}*")} == {f"{spec.name}.qcow2"}, "the seed stayed"

    # A host that boots again starts it again, without the seed and reachable as before.
    connection = libvirt.open(daemon.tcp_uri)
    domain = connection.lookupByUUID(spec.id.bytes)
    assert domain.autostart()
    domain.destroy()
    with pytest.raises(ProvisioningError) as died:
        ran(host, spec.id, "true")
    assert died.value.code is ErrorCode.GUEST_DIED
    domain.create()
    assert host.access(spec.id, Watch().within(60)) == endpoint
    assert greeting(endpoint) == b"SSH-"
    connection.close()

    host.delete(spec.id, Watch())
    host.delete(spec.id, Watch())
    assert host.describe(spec.id) is None
    assert list(pool.glob(f"{spec.name}*")) == []
    assert host.capacity().committed.memory_mib == 0


def test_a_machine_that_stands_still_says_why_and_goes_on(desk: Desk, daemon: Daemon) -> None:
    host, spec = desk.host, desk.boot()
    connection = libvirt.open(daemon.tcp_uri)
    domain = connection.lookupByUUID(spec.id.bytes)
    for stop, power, why in (
        (domain.suspend, PowerState.PAUSED, "somebody has paused it"),
        (domain.destroy, PowerState.STOPPED, ""),
    ):
        stop()
        described = host.describe(spec.id)
        assert described is not None
        assert (described.power, described.paused_because, described.has_disk) == (power, why, True)
        assert host.overview({spec.id, UUID(int=1)}) == {spec.id: described}
        host.power_on(spec.id, Watch(), until_ready=False)
        host.power_on(spec.id, Watch(), until_ready=False)
        described = host.describe(spec.id)
        assert described is not None
        assert (described.power, described.paused_because) == (PowerState.RUNNING, "")
    assert host.overview({spec.id}) == {spec.id: described}
    connection.close()


def test_a_short_life_on_this_machine_s_own_libvirtd(own_system: Desk) -> None:
    spec = own_system.boot()
    assert greeting(own_system.host.access(spec.id, Watch().within(60))) == b"SSH-"
    own_system.host.finish(spec.id, Phase.HANDED_OVER)


def test_a_command_that_takes_too_long_is_ended(desk: Desk) -> None:
    spec = desk.boot()
    late = ran(desk.host, spec.id, "sh", "-c", "sleep 4321 & sleep 4321", timeout=1)
    assert (late.timed_out, late.output) == (True, "took longer than 1 s")
    assert "4321" not in ran(desk.host, spec.id, "ps").output


def test_a_first_boot_that_failed_says_how(desk: Desk) -> None:
    spec = desk.boot()
    result = b'{"v1": {"errors": ["no such user", "no such disk"]}}'
    ran(desk.host, spec.id, "sh", "-c", "cat > /run/cloud-init/result.json", stdin=result)
    with fails_with(ErrorCode.FIRST_BOOT_FAILED, "no such user", "no such disk"):
        desk.host.making.wait_ready(spec.id, Watch().within(30))


def test_a_panic_is_noticed_at_once_and_shown(desk: Desk) -> None:
    spec = desk.claim()
    desk.host.making.start(spec, desk.with_command_line("rdinit=/nowhere init=/nowhere"))
    with pytest.raises(ProvisioningError) as caught:
        desk.host.making.wait_ready(spec.id, Watch().within(180))
    assert caught.value.code is ErrorCode.GUEST_DIED
    assert caught.value.retriable
    assert "Kernel panic" in caught.value.console
    assert "\x1b" not in caught.value.console


def test_a_guest_that_stops_is_noticed_at_once(desk: Desk, daemon: Daemon) -> None:
    spec = desk.claim()
    desk.host.making.start(spec, desk.with_command_line(HANGS))
    connection = libvirt.open(daemon.tcp_uri)
    threading.Timer(1.0, connection.lookupByUUID(spec.id.bytes).destroy).start()
    began = time.monotonic()
    with pytest.raises(ProvisioningError) as caught:
        desk.host.making.wait_ready(spec.id, Watch().within(120))
    assert caught.value.code is ErrorCode.GUEST_DIED
    assert time.monotonic() - began < 60
    connection.close()


def test_a_guest_that_hangs_meets_its_deadline_with_its_console(desk: Desk) -> None:
    spec = desk.claim()
    desk.host.making.start(spec, desk.with_command_line(HANGS))
    began = time.monotonic()
    with pytest.raises(ProvisioningError) as caught:
        desk.host.making.wait_ready(spec.id, Watch().within(10))
    assert caught.value.code is ErrorCode.BOOT_TIMEOUT
    assert caught.value.console
    assert 10 <= time.monotonic() - began < 60


def test_cancel_ends_the_wait(desk: Desk) -> None:
    spec = desk.claim()
    desk.host.making.start(spec, desk.with_command_line(HANGS))
    cancel = Cancellation()
    threading.Timer(0.5, cancel.cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        desk.host.making.wait_ready(spec.id, Watch(cancel).within(120))
    assert time.monotonic() - began < 60


def test_libvirtd_killed_while_a_guest_boots(desk: Desk, daemon: Daemon) -> None:
    spec = desk.claim()
    desk.host.making.start(spec, desk.with_command_line(HANGS))
    with daemon.restored():
        threading.Timer(0.5, daemon.kill).start()
        with pytest.raises(ProvisioningError) as caught:
            desk.host.making.wait_ready(spec.id, Watch().within(120))
        assert caught.value.code is ErrorCode.HOST_UNREACHABLE
        assert caught.value.retriable
        with pytest.raises(ProvisioningError) as caught:
            desk.host.describe(spec.id)
        assert caught.value.code is ErrorCode.HOST_UNREACHABLE
        assert "start libvirtd" in caught.value.hint
    time.sleep(REMEMBER_FAILURE)
    with pytest.raises(Claimed) as claimed:
        desk.host.claim(spec, Watch())
    assert claimed.value.machine.power is PowerState.RUNNING


def test_libvirtd_killed_and_back_before_a_guest_is_ready(desk: Desk, daemon: Daemon) -> None:
    spec = desk.claim()
    desk.host.making.start(spec, desk.image)
    with daemon.restored():
        daemon.kill()
    desk.host.making.wait_ready(spec.id, Watch().within(180))


def test_a_port_that_is_taken_is_passed_over(desk: Desk) -> None:
    spec = desk.claim()
    first, second = candidate_ports(spec.id, set())[:2]
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", first))
        taken.listen()
        desk.host.making.start(spec, desk.image)
    assert desk.host.access(spec.id, Watch().within(60)).port == second


def test_a_folder_that_qemu_may_not_enter_is_named(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    tmp_path.chmod(0o700)
    config = desk.config.model_copy(update={"pool": f"unreadable-{desk.installation}", "pool_path": str(folder)})
    for closed in open_desk(config.uri, desk.image, desk.cache, config.pool, config):
        spec = closed.claim()
        with pytest.raises(ProvisioningError) as caught:
            closed.host.making.start(spec, desk.image)
        assert caught.value.code is ErrorCode.START_FAILED
        assert not caught.value.retriable
        assert str(folder) in caught.value.message
        assert "poolPath" in caught.value.hint
        guest = next(check for check in closed.host.check() if check.what == "a guest")
        assert guest.status == "failed"


def test_a_host_that_is_closed_lets_go(desk: Desk) -> None:
    def descriptors() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    another = desk.another()
    another.capacity()
    before = descriptors()
    for _again in range(5):
        another.close()
        another.capacity()  # opened again when needed
    # what this process's other threads have open for a moment counts, too
    wait_until(lambda: descriptors() <= before, 30, "more is open than before")
    another.close()
    wait_until(lambda: descriptors() < before, 30, "all of it is still open")
