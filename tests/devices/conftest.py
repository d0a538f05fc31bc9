"""Connections to the tests' domain, and no computer account left from one test to the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudpc.devices.active_directory import ActiveDirectory
from cloudpc.model.connection import OnPremisesConnection

from .samba import ADDRESS, CONTROLLER, DOMAIN, PASSWORD, UNIT, Samba


@pytest.fixture
def samba(domain_controller: Samba) -> Iterator[Samba]:
    """The domain, without computers afterwards."""
    yield domain_controller
    for dn in domain_controller.computers():
        domain_controller.remove(dn)


class Hq:
    """Writes connections to the domain as an admin would, each test with what it changes."""

    def __init__(self, folder: Path, samba: Samba) -> None:
        self.folder = folder
        (folder / "ca.pem").write_bytes(samba.ca.read_bytes())
        (folder / "password").write_text(PASSWORD + "\n")

    def connection(self, **changes: Any) -> OnPremisesConnection:
        values: dict[str, Any] = {
            "hostedNetwork": True,
            "adDomainName": DOMAIN,
            "adDomainUsername": f"joiner@{DOMAIN}",
            "adDomainPassword": {"file": str(self.folder / "password")},
            "organizationalUnit": UNIT,
            "domainControllers": [{"name": CONTROLLER, "address": ADDRESS, "guestAddress": "10.0.2.2"}],
            "caCertificate": "ca.pem",
        }
        return OnPremisesConnection.model_validate(values | changes)

    def domain(self, **changes: Any) -> ActiveDirectory:
        return ActiveDirectory("hq", self.connection(**changes), self.folder)


@pytest.fixture
def hq(samba: Samba, tmp_path: Path) -> Hq:
    """The connection `hq`, with what was delegated to its account."""
    return Hq(tmp_path, samba)
