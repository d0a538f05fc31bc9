"""The seed is taken away once: a second request may crash libvirt's daemon, just when the guest lets go of it."""

from __future__ import annotations

import libvirt

from cloudpc.machines.libvirt import host
from cloudpc.machines.libvirt.domain_xml import SEED_ALIAS

CONFIG, LIVE = libvirt.VIR_DOMAIN_AFFECT_CONFIG, libvirt.VIR_DOMAIN_AFFECT_LIVE


class Domain:
    """One whose guest has not let go of the seed yet, as far as libvirt has heard."""

    def __init__(self) -> None:
        self.defined = True
        self.asked: list[int] = []

    def XMLDesc(self, flags: int) -> str:
        has = self.defined if flags & libvirt.VIR_DOMAIN_XML_INACTIVE else True
        disk = f'<disk><alias name="{SEED_ALIAS}"/></disk>' if has else ""
        return f"<domain><devices>{disk}</devices></domain>"

    def isActive(self) -> bool:
        return True

    def detachDeviceAlias(self, alias: str, flags: int) -> None:
        assert alias == SEED_ALIAS
        self.asked.append(flags)
        self.defined = self.defined and flags != CONFIG


def test_a_guest_is_asked_once_to_let_go_of_its_seed() -> None:
    domain = Domain()
    for _phase in ("ready", "handedOver"):
        host._detach_seed(domain)
    assert domain.asked == [CONFIG, LIVE]
