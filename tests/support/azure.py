"""A project whose policies have the fake Azure for a host."""

from __future__ import annotations

from typing import Any, Protocol

import yaml

from tests.azure.account import Account
from tests.support.project import Project


class Reached(Protocol):
    """A fake Azure, wherever it runs."""

    @property
    def url(self) -> str: ...

    @property
    def account(self) -> Account: ...


PLAN = "CPC_E_2C_4GB_64GB"
"""A service plan that Azure has a size for."""
IMAGE = "debian_debian-12_12-gen2"


def entry(arm: Reached, name: str = "weu", **changes: Any) -> dict[str, Any]:
    """An entry of cloudpc:hosts: the account that the fake has ready-made."""
    account = arm.account
    return {
        "name": name, "kind": "azure", "endpoint": arm.url, "auth": "token", "location": account.location,
        "subscriptionId": account.subscription, "resourceGroup": account.group, "hostedNetwork": account.subnet_id,
        "sizes": {}, **changes,
    }  # fmt: skip


def policy(project: Project, *hosts: dict[str, Any], name: str = "demo", **changes: Any) -> None:
    """A policy of an image of Azure's gallery, with these hosts."""
    path = project.policy(name, **{"imageType": "gallery", "imageId": IMAGE, **changes})
    salt = [line for line in path.read_text().splitlines() if line.startswith("encryptionsalt")]
    content = yaml.safe_load(path.read_text())
    content["config"]["cloudpc:hosts"] = list(hosts)
    path.write_text(yaml.safe_dump({"config": content["config"]}) + "".join(f"{line}\n" for line in salt))
