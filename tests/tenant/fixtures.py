"""The fixture `tenant`, for all folders of tests: `from tests.tenant.fixtures import directory_file, tenant`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tenant.sign_in import SignIn
from tests.tenant.tenant import Tenant

DIRECTORY = """
users:
  - {id: u-alice, userPrincipalName: alice@contoso.example, displayName: Alice, servicePlans: [LAB_1C_0.5GB_8GB]}
  - {id: u-bob, userPrincipalName: bob@contoso.example, displayName: Bob Cratchit, servicePlans: [CPC_E_2C_4GB_128GB]}
  - {id: u-carol, userPrincipalName: carol@contoso.example, displayName: Carol Danvers}
  - {id: u-dave, userPrincipalName: dave@contoso.example, accountEnabled: false, servicePlans: [LAB_1C_0.5GB_8GB]}
groups:
  - {id: engineering, displayName: Engineering, members: [u-alice, u-bob, u-dave]}
  - {id: sales, displayName: "O'Neill's sales", members: [u-carol]}
servicePlans:
  - {id: LAB_1C_0.5GB_8GB, displayName: "Lab 1 vCPU, 0.5 GB, 8 GB", vCpuCount: 1, ramInGB: 0.5, storageInGB: 8}
"""


@pytest.fixture
def directory_file(tmp_path: Path) -> Path:
    """The file that the tenant is filled from; a test module may have its own fixture of this name."""
    path = tmp_path / "directory.yaml"
    path.write_text(DIRECTORY, encoding="utf-8")
    return path


@pytest.fixture
def tenant(directory_file: Path) -> Iterator[Tenant]:
    """A tenant on loopback, filled from `directory_file`. Fails the test if the tenant broke the contract."""
    with Tenant(directory_file) as running:
        yield running
    assert not running.violations


@pytest.fixture
def sign_in(tenant: Tenant, tmp_path: Path) -> Iterator[SignIn]:
    """The tenant's sign-in."""
    with SignIn(tenant, tmp_path) as running:
        yield running
