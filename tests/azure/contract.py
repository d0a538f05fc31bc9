"""The contracts of Azure Resource Manager: which operation a request is, and whether it is as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.contracts import Document, Operation, Request

_DOCUMENTS = tuple(
    Document(f"arm-{name}.json", any_case=True) for name in ("compute", "network", "resources", "authorization")
)
_HOST = "https://management.azure.com"


@dataclass(frozen=True)
class Known:
    """An operation, and the contract that has it."""

    document: Document
    operation: Operation

    @property
    def id(self) -> str:
        """Its name, for example `VirtualMachines_Get`."""
        return self.operation.id

    @property
    def api_version(self) -> str:
        """The only one that is served."""
        found: str = self.operation.definition["x-api-version"]
        return found

    @property
    def path(self) -> str:
        """As the contract writes it: paths are case-sensitive there, not in ARM."""
        path = self.operation.template
        for name, value in self.operation.parameters.items():
            path = path.replace(f"{{{name}}}", value)
        return path


def find(method: str, path: str) -> Known | None:
    """The operation of a request; None: no contract has it."""
    for document in _DOCUMENTS:
        if operation := document.find(method, path):
            return Known(document, operation)
    return None


def operations() -> dict[str, str]:
    """All operations and their api-versions."""
    return {
        definition["operationId"]: definition["x-api-version"]
        for document in _DOCUMENTS
        for item in document.text["paths"].values()
        for definition in item.values()
        if "operationId" in definition
    }


def request(known: Known, method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Request:
    """As the checks want it."""
    return Request(method, known.path, query, headers, body or None, host_url=_HOST)


def writable(known: Known, body: Any) -> Any:
    """A request's body without what only the service may say: it is sent back as it came, and ignored."""
    place = known.document.resolved(known.operation.definition.get("requestBody", {}))
    content = place.get("content", {}).get("application/json", {}).get("schema", {})
    return _writable(known.document, body, content)


def _writable(document: Document, value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        items = document.resolved(schema).get("items", {})
        return [_writable(document, item, items) for item in value]
    if isinstance(value, dict):
        known = document.properties(schema)
        return {
            name: _writable(document, inner, known.get(name, {}))
            for name, inner in value.items()
            if not document.resolved(known.get(name, {})).get("readOnly")
        }
    return value
