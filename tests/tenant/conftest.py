from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tenant.client import Http
from tests.tenant.fixtures import directory_file, sign_in, tenant
from tests.tenant.tenant import Tenant

__all__ = ["directory_file", "sign_in", "tenant"]


@pytest.fixture
def app(tenant: Tenant) -> Iterator[Http]:
    """A client with an application's token."""
    with Http(tenant, tenant.token) as client:
        yield client


@pytest.fixture
def admin(tenant: Tenant) -> Iterator[Http]:
    """A client with a signed-in admin's token."""
    with Http(tenant, tenant.admin_token) as client:
        yield client
