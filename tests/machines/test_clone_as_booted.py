"""A clone is set up as one that boots is, and its later starts are ordinary ones.

Of `micro`; `make clones` does the same of `debian-12`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from difflib import unified_diff
from pathlib import Path

import pytest

from cloudpc.guests.linux import first_boot
from cloudpc.images import gallery
from cloudpc.model.cloud_pc import Account
from cloudpc.model.guests import Script, Seed
from cloudpc.model.image import DiskImage
from cloudpc.model.machines import Amount, Order
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from tests.support.orders import order

from .conftest import RECIPES
from .daemon import Daemon
from .desk import Desk, open_desk

pytestmark = pytest.mark.machine

IMAGE = os.environ.get("CLOUDPC_CLONES_OF", "micro")
SIZE = Amount(vcpus=1, memory_mib=256, disk_gib=4)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN3y1sZ1zRk0wH9xqTnYf1l7m0bq2cVn4m8G0o1cQe1T alice@x"
LAST_STARTED = "! command -v systemctl >/dev/null || systemctl start cloudpc-afterwards.target"
# What of a machine is not its own, and what is there of its own; sections in a fixed order.
LOOK = r"""
section() { echo "== $1"; }
listed() { ls -lan "$@" 2>/dev/null | awk '{print $1, $3, $4, $NF}' | grep -v ^total | sort; }
section accounts; cat /etc/passwd /etc/group; cut -d: -f1,3- /etc/shadow | sed 's/:[0-9]\{5\}:/:day:/'
section home; listed /home/alice /home/alice/.ssh; cat /home/alice/.ssh/authorized_keys
section sudo; grep -v '^#' /etc/sudoers.d/90-cloud-init-users 2>/dev/null
section name; hostname; cat /etc/hostname /etc/hosts
section ssh; listed /etc/ssh /etc/ssh/sshd_config.d /etc/dropbear
cat /etc/ssh/sshd_config.d/*.conf /root/.ssh/authorized_keys 2>/dev/null
section cloud-init; cd /var/lib/cloud && find . ! -path ./seed ! -path './data/tmp*' | sort
cat data/instance-id data/set-hostname data/previous-hostname instance-id 2>/dev/null
cat instance/user-data.txt instance/cloud-config.txt 2>/dev/null
sed 's/DataSourceNoCloud.*dsmode=net./NoCloud/' /run/cloud-init/result.json
section network; ls /etc/systemd/network 2>/dev/null; ip -o -4 address show | awk '{print $2, $4}'
section settings; cat /etc/default/locale /etc/timezone 2>/dev/null; readlink /etc/localtime
section units
systemctl list-units --type=service,socket,timer --plain --no-legend 2>/dev/null | awk '{print $1, $3, $4}' |
  grep -v '^cloudpc-identity\|^cloudpc-journal\|^systemd-random-seed' | sort
systemctl --failed --plain --no-legend 2>/dev/null
exit 0
"""
LASTS = "cat /etc/ssh/ssh_host_ed25519_key.pub /var/lib/cloud/data/instance-id /var/lib/cloud/instance-id; id alice"


@pytest.fixture
def desk(daemon: Daemon, cache: Path) -> Iterator[Desk]:
    image = gallery.build(RECIPES, IMAGE, print)
    yield from open_desk(daemon.tcp_uri, image, cache, "cloudpc")


def seed(machine_id: str) -> Seed:
    account = Account(name="alice", display_name="Älice A", ssh_public_keys=(KEY,))
    return first_boot.seed(instance_id=machine_id, device_name="CPC-ONE", account=account, local_admin=True)


def make(desk: Desk, user: str, told: list[str], *, may_be_cloned: bool) -> Order:
    tag = desk.tag(user)
    asked = order(tag, SIZE, image=desk.image, may_be_cloned=may_be_cloned)
    asked = replace(asked, seed=lambda _: seed(str(tag.machine_id)), first_boot_in_seconds=600)
    desk.host.claim(asked, Watch())
    desk.host.make(asked, Watch(tell=told.append))
    desk.host.finish(asked.id, Phase.READY)
    return asked


def ran(desk: Desk, asked: Order, text: str) -> str:
    [ended] = desk.host.guest(asked.id).run([Script(text=text, timeout=120)], Watch())
    return ended.output


def look(desk: Desk, asked: Order) -> dict[str, list[str]]:
    ran(desk, asked, LAST_STARTED)
    said = ran(desk, asked, LOOK).replace(str(asked.id), "INSTANCE")
    parts = re.split(r"^== (\S+)\n", said, flags=re.MULTILINE)[1:]
    return {name: text.splitlines() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def test_a_clone_is_as_one_that_has_booted_and_stays_so(desk: Desk) -> None:
    image: DiskImage = desk.image
    assert image.waits_for_identity
    make(desk, "u-first", [], may_be_cloned=True)  # makes the template beside it
    booted = make(desk, "u-booted", [], may_be_cloned=False)
    cloned = make(desk, "u-cloned", told := [], may_be_cloned=True)
    assert any(line.endswith("from a template") for line in told), told
    expected, found = look(desk, booted), look(desk, cloned)
    assert found.keys() == expected.keys()
    different = {part: [*unified_diff(lines, found[part], n=0)] for part, lines in expected.items()}
    assert not any(different.values()), different
    assert "INSTANCE" in "".join(found["cloud-init"])
    assert "alice" in "".join(found["accounts"])

    before = ran(desk, cloned, LASTS)
    desk.host.shut_down(cloned.id, Watch(), stays_off=True)
    desk.host.power_on(cloned.id, Watch().within(600), until_ready=True)
    assert ran(desk, cloned, LASTS) == before
