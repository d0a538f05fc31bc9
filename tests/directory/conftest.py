from __future__ import annotations

from tests.graph.fixtures import reached
from tests.tenant.fixtures import directory_file, sign_in, tenant

__all__ = ["directory_file", "reached", "sign_in", "tenant"]
