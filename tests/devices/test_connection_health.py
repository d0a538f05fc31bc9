"""A connection's health against the real domain: what `cloudpc connection check` and a run's own look come to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from cloudpc.connections.healthy import Connections
from cloudpc.model.cloud_pc import NetworkChoice
from tests.engine.conftest import new_project, tiny_image
from tests.support.project import Project

from .conftest import Hq
from .samba import ADDRESS, CONTROLLER, DOMAIN, UNIT

__all__ = ["new_project", "tiny_image"]

_HQ = NetworkChoice(kind="hosted", connection="hq", domain_join_type="hybridAzureADJoin")


def _values(hq: Hq, **changes: Any) -> dict[str, Any]:
    return {
        "hostedNetwork": True,
        "adDomainName": DOMAIN,
        "adDomainUsername": f"joiner@{DOMAIN}",
        "adDomainPassword": {"file": str(hq.folder / "password")},
        "organizationalUnit": UNIT,
        "domainControllers": [{"name": CONTROLLER, "address": ADDRESS}],
        "caCertificate": "ca.pem",
        **changes,
    }


def test_the_domain_decides_whether_the_connection_is_used(hq: Hq) -> None:
    (hq.folder / "hq.yaml").write_text(yaml.safe_dump(_values(hq)))
    assert Connections([], hq.folder).healthy(_HQ) is None
    (hq.folder / "password").write_text("wrong")
    error = Connections([], hq.folder).healthy(_HQ)
    assert error is not None
    assert "[adJoinCheckIncorrectCredentials]" in error.message
    assert "adDomainPassword" in error.hint


@pytest.mark.engine
def test_the_command_says_it_with_graphs_error_types(hq: Hq, new_project: Callable[[str], Project]) -> None:
    project = new_project("a domain")
    project.directory(1)
    project.policy(
        domainJoinConfigurations=[{"domainJoinType": "hybridAzureADJoin", "onPremisesConnectionId": "hq"}]
    )  # fmt: skip
    project.host()
    folder = project.root / "stacks" / "connections"
    folder.mkdir()
    (folder / "ca.pem").write_bytes((hq.folder / "ca.pem").read_bytes())

    def checked(**changes: Any) -> tuple[int, dict[str, str]]:
        (folder / "hq.yaml").write_text(yaml.safe_dump(_values(hq, **changes)))
        ran = project.cloudpc("connection", "check", "hq", "--json")
        [found] = json.loads(ran.output)
        checks = found["healthCheckStatusDetail"]["healthChecks"]
        return ran.code, {check["displayName"]: check["errorType"] for check in checks if check["errorType"]}

    assert checked() == (0, {})
    unit = f"OU=None,{UNIT}"
    assert checked(organizationalUnit=unit) == (1, {"Organizational unit": "adJoinCheckOrganizationalUnitNotFound"})
