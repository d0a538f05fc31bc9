"""What stands behind the fake as a virtual machine is a real one: scripts run, secrets reach them, ssh answers."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from cloudpc.guests.linux import first_boot
from cloudpc.images import gallery
from cloudpc.model.cloud_pc import Account
from tests.azure.local_guest import LocalGuest, missing
from tests.support.project import REPO

pytestmark = [pytest.mark.machine, pytest.mark.timeout(900), pytest.mark.skipif(bool(missing()), reason=missing())]


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGuest]:
    image = gallery.build(REPO / "vm-images", "micro", print)
    account = Account(name="alice", display_name="Alice Adams", ssh_public_keys=())
    seed = first_boot.seed(instance_id="i-1", device_name="CPC-TEST", account=account, local_admin=False)
    address = f"127.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}.4"
    made = LocalGuest(image, tmp_path_factory.mktemp("guest"), seed, address, disk_gib=8)
    made.on()
    deadline = time.monotonic() + 300
    while made.first_boot() is None:
        assert time.monotonic() < deadline, made.console
        time.sleep(0.2)
    yield made
    made.off()
    assert not made.runs


def run(guest: LocalGuest, script: str, timeout: float = 60, **environment: str) -> tuple[str, int, str, str]:
    ran = guest.run("test", script, environment, timeout, threading.Event())
    return ran.state, ran.exit_code, ran.output, ran.error


def test_its_first_boot_is_what_the_seed_says(guest: LocalGuest) -> None:
    assert (guest.first_boot() or {})["errors"] == []
    assert run(guest, "hostname; id -un alice") == ("Succeeded", 0, "cpc-test\nalice\n", "")
    with socket.create_connection((guest.address, 22), 30) as answer:
        assert answer.recv(4) == b"SSH-"


def test_scripts_run_whole_and_as_they_are(guest: LocalGuest) -> None:
    script = "#!/bin/sh\nprintf '%s|' \"$0\" \"$SECRET\" 'it''s' \"$#\"\ncat >&2 <<'END'\nä $HOME\nEND\nexit 7\n"
    state, code, output, error = run(guest, script, SECRET="a 'b' \"c\" $d")
    assert (state, code, error) == ("Failed", 7, "ä $HOME\n")
    assert output.split("|")[1:] == ["a 'b' \"c\" $d", "its", "0", ""]
    assert run(guest, "seq 1 5000")[2].endswith("4999\n5000\n")
    assert len(run(guest, "seq 1 5000")[2]) == 4096
    assert run(guest, "umask")[2] == "0022\n"
    assert run(guest, 'rm -r "$(dirname "$0")"; echo lost')[:3] == ("Succeeded", 0, "")  # as Azure: read when it ends


def test_what_takes_too_long_or_is_deleted_is_ended_with_all_it_started(guest: LocalGuest) -> None:
    assert run(guest, "echo begun; sleep 1234 & wait", timeout=1)[:3] == ("TimedOut", -1, "begun\n")
    stop = threading.Event()
    threading.Timer(1, stop.set).start()
    assert guest.run("test", "sleep 1234", {}, 60, stop).state == "Canceled"
    assert run(guest, "ps | grep -c '[s]leep 1234'")[2] == "0\n"


def test_several_at_once(guest: LocalGuest) -> None:
    said: dict[int, str] = {}

    def one(number: int) -> None:
        said[number] = run(guest, f"sleep 1; echo {number}")[2]

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {number: f"{number}\n" for number in range(4)}


def test_off_and_on_it_is_the_same(guest: LocalGuest) -> None:
    run(guest, "echo kept > /root/kept; sync")
    guest.shut_down()
    assert not guest.runs
    assert not guest.answers()
    guest.on()
    deadline = time.monotonic() + 300
    while guest.first_boot() is None:
        assert time.monotonic() < deadline, guest.console
        time.sleep(0.2)
    assert run(guest, "cat /root/kept")[2] == "kept\n"
