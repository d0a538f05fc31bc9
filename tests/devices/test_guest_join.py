"""A guest that joins the domain for real, as provisioning has it join: through the agent, on user-mode networking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudpc.devices import account_mark
from cloudpc.guests.linux.system import Linux
from cloudpc.images import gallery
from cloudpc.model.devices import Join
from cloudpc.model.machines import Amount
from cloudpc.model.watch import Watch
from tests.machines.daemon import Daemon
from tests.machines.desk import Desk, open_desk
from tests.machines.reach import ran

from .conftest import Hq
from .samba import CONTROLLER, Samba

pytestmark = pytest.mark.machine

PC = "CPC-ALICE-7KQ2P"
OWNER = "0123456789abcdef/u-alice/plan/1"
RECIPES = Path(__file__).parents[2] / "vm-images"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    daemon = Daemon(tmp_path)
    try:
        image = gallery.build(RECIPES, "debian-12", print)
        yield from open_desk(daemon.tcp_uri, image, tmp_path / "cache", "cloudpc")
    finally:
        daemon.stop()


def test_a_guest_joins_and_its_end_shuts_it_out(samba: Samba, hq: Hq, desk: Desk) -> None:
    spec = desk.claim(size=Amount(vcpus=2, memory_mib=512, disk_gib=4))
    desk.host.making.start(spec, desk.image)
    desk.host.making.wait_ready(spec.id, Watch().within(480))  # a whole Debian, perhaps without KVM
    machine = spec.id

    def run(*argv: str) -> tuple[int, str]:
        done = ran(desk.host, machine, *argv, timeout=300)
        return done.exit_code, done.output

    def joining(join: Join) -> tuple[int, str]:
        [done] = desk.host.guest(machine).run([Linux().join(join)], Watch())
        return done.exit_code, done.output

    domain = hq.domain()
    join = domain.prepare_join(PC, OWNER)
    before = samba.find(PC)
    assert before is not None
    status, output = joining(join)
    assert status == 0, output
    assert join.password not in output

    assert run("grep", "-c", "--text", f"{PC}\\$", "/etc/krb5.keytab")[0] == 0
    assert run("stat", "-c", "%a %U", "/etc/krb5.keytab") == (0, "600 root\n")
    account = samba.find(PC)
    assert account is not None
    assert account["pwdLastSet"] > before["pwdLastSet"], "the one-time password is still the account's"
    assert account["dNSHostName"] == [b"cpc-alice-7kq2p.corp.test"]
    assert b"host/cpc-alice-7kq2p.corp.test" in account["servicePrincipalName"]
    assert account["description"] == [account_mark.mark(OWNER).encode()]
    test_join = ("adcli", "testjoin", f"--domain-controller={CONTROLLER}")
    assert run(*test_join)[0] == 0

    # an attempt that died after it had joined: the next one does it all again, with the controller that there is
    controllers = hq.connection().model_dump(by_alias=True)["domainControllers"]
    dead = {"name": "dc0.corp.test", "address": "127.0.0.2", "guestAddress": "127.0.0.1"}
    again = hq.domain(domainControllers=[dead, *controllers]).prepare_join(PC, OWNER)
    status, output = joining(again)
    assert status == 0, output
    assert again.account == join.account

    domain.disable(PC, join.account, OWNER)
    assert [owned.enabled for owned in domain.owned("0123456789abcdef")] == [False]
    status, output = run(*test_join)
    assert status != 0
    assert "revoked" in output
