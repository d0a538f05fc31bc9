"""A domain's screen: what is said where there is none. That there is one, the contract shows on real guests."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import pytest

from cloudpc.machines.libvirt import screen
from cloudpc.machines.libvirt.address import Address
from cloudpc.model.abilities import NoConsole

HERE = Address("qemu:///system")
OF_BEFORE = "<domain><devices><video><model type='none'/></video></devices></domain>"
TODAY = "<domain><devices><graphics type='vnc'><listen type='none'/></graphics></devices></domain>"


@dataclass
class Domain:
    """As libvirt has one."""

    xml: str = TODAY
    runs: bool = True

    def isActive(self) -> bool:
        return self.runs

    def XMLDesc(self) -> str:
        return self.xml

    def openGraphicsFD(self, _index: int, _flags: int) -> int:
        ours, theirs = socket.socketpair()
        theirs.close()
        return ours.detach()


def test_one_that_runs_is_shown() -> None:
    with screen.opened(Domain(), "cloudpc-x", HERE) as connected:
        assert connected.recv(1) == b""


@pytest.mark.parametrize(
    ("domain", "address", "said"),
    [
        (Domain(runs=False), HERE, "power it on"),
        (Domain(OF_BEFORE), HERE, "after a reprovision"),
    ],
)
def test_where_there_is_none_it_says_what_to_do(domain: Domain, address: Address, said: str) -> None:
    with pytest.raises(NoConsole, match=said):
        screen.opened(domain, "cloudpc-x", address)
