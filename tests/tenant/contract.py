"""Microsoft Graph's contract."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from tests.support.contracts import Document, Request, all_properties

_GRAPH = Document("graph-v1.0.json", prefix="/v1.0", annotations="@")  # shared by all tenants of the process


class Contract:
    """What a tenant's exchanges are checked against.

    Args:
        checks: whether they are; off for benchmarks.
    """

    def __init__(self, checks: bool = True) -> None:
        self.checks = checks

    def request_problems(self, request: Request) -> list[str]:
        """What is wrong with a request, in words; never what it holds."""
        return _GRAPH.request_problems(request) if self.checks else []

    def response_problems(self, request: Request, status: int, body: bytes) -> list[str]:
        """What is wrong with our own answer."""
        return _GRAPH.response_problems(request, status, body) if self.checks else []

    def has(self, method: str, path: str) -> bool:
        """Whether Graph has such an operation, as far as the contract goes."""
        return _GRAPH.find(method, path) is not None

    def properties(self, schema: str) -> Collection[str]:
        """Names of all properties of a type, those of its subtypes, too (a $select on a list of mixed types)."""
        return _properties(schema)


@cache
def _properties(schema: str) -> Collection[str]:
    return all_properties(_GRAPH, schema)
