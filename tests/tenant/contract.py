"""Requests and answers against Microsoft's contract, by openapi-core; unknown properties by our own walk.

The contract lets unknown properties pass, Graph doesn't: it answers 400.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openapi_core import OpenAPI

_FILE = Path(__file__).parents[1] / "contracts" / "graph-v1.0.json"
_HOST = "https://graph.microsoft.com"
_ENTITY_REFERENCE = "#/components/schemas/"


@dataclass
class Request:
    """A request as openapi-core wants it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes | None = None
    content_type: str = "application/json"
    host_url: str = _HOST
    parameters: Any = field(init=False)

    def __post_init__(self) -> None:
        from openapi_core.datatypes import RequestParameters
        from werkzeug.datastructures import Headers, ImmutableMultiDict

        self.method = self.method.lower()
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(self.query), header=Headers(list(self.headers.items()))
        )


@dataclass
class _Response:
    status_code: int
    data: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Contract:
    """The contract, loaded when it is first needed (half a second) and then shared by all tenants of the process.

    Args:
        checks: whether exchanges are checked; off for benchmarks.
    """

    def __init__(self, checks: bool = True) -> None:
        self.checks = checks

    def request_problems(self, request: Request) -> list[str]:
        """What is wrong with a request, in words; never what it holds."""
        if not self.checks:
            return []
        with _LOCK:
            found = [_words(error) for error in _openapi().iter_request_errors(request)]
        if found or not request.body:
            return found
        schema = _body_schema(_operation(request), "requestBody")
        return [] if schema is None else list(_unknown(json.loads(request.body), schema, ""))

    def response_problems(self, request: Request, status: int, body: bytes) -> list[str]:
        """What is wrong with our own answer."""
        if not self.checks:
            return []
        if status == 204:
            return ["204 has a body"] if body else []
        response = _Response(status, body)
        with _LOCK:
            found = [_words(error) for error in _openapi().iter_response_errors(request, response)]
        if found:
            return found
        operation = _operation(request)
        schema = _body_schema(operation, f"{status // 100}XX") if operation else None
        return [] if schema is None else list(_unknown(json.loads(body), schema, ""))

    def has(self, method: str, path: str) -> bool:
        """Whether Graph has such an operation, as far as the contract goes."""
        return bool(_operation(Request(method, f"/v1.0{path}", {}, {})))

    def properties(self, schema: str) -> frozenset[str]:
        """Names of all properties of a type, those of its subtypes, too (a $select on a list of mixed types)."""
        return _all_properties(schema)


_LOCK = threading.Lock()


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return document


@cache
def _openapi() -> OpenAPI:
    from openapi_core import Config, OpenAPI

    # the token is checked before, with Graph's own words for what is wrong with it
    document = {name: value for name, value in _document().items() if name != "security"}
    return OpenAPI.from_dict(document, config=Config(spec_validator_cls=None))


@cache
def _paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """The contract's paths, those without variables first: `/devices/delta()` is not a device."""
    ordered = sorted(_document()["paths"].items(), key=lambda entry: str(entry[0]).count("{"))
    return [(re.compile("[^/()']+".join(map(re.escape, _VARIABLE.split(path))) + "$"), item) for path, item in ordered]


_VARIABLE = re.compile(r"\{[^}]+\}")


def _operation(request: Request) -> dict[str, Any]:
    path = request.path.removeprefix("/v1.0")
    for pattern, item in _paths():
        if pattern.match(path) and request.method in item:
            found: dict[str, Any] = item[request.method]
            return found
    return {}


def _words(error: Any) -> str:
    cause = error.__cause__
    details = getattr(cause, "schema_errors", None)
    if details:
        return "; ".join(f"{'/'.join(map(str, d.absolute_path)) or 'body'}: violates {d.validator}" for d in details)
    return f"{type(error).__name__}: {cause or error}"


def _body_schema(operation: dict[str, Any], where: str) -> dict[str, Any] | None:
    place = operation.get("requestBody") if where == "requestBody" else operation.get("responses", {}).get(where)
    place = _resolved(place or {})
    schema: dict[str, Any] | None = place.get("content", {}).get("application/json", {}).get("schema")
    return schema


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        target: Any = _document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = dict(target)
    return node


def _unknown(value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
    """Properties that the schema has no word for. Annotations (@odata…) are always allowed."""
    schema = _resolved(schema)
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from _unknown(item, schema.get("items", {}), f"{where}[{i}]")
    elif isinstance(value, dict):
        properties = _properties(_subtype(schema, value))
        for name, inner in value.items():
            if name in properties:
                yield from _unknown(inner, properties[name], f"{where}.{name}".lstrip("."))
            elif "@" not in name:
                yield f"property '{name}' does not exist on type '{schema.get('title', where)}'"


def _subtype(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    for choice in schema.get("anyOf", ()):
        if _properties(choice):
            return _subtype(_resolved(choice), value)
    mapping = schema.get("x-discriminator", {}).get("mapping", {})
    reference = mapping.get(value.get("@odata.type"))
    return _resolved({"$ref": reference}) if reference else schema


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    schema = _resolved(schema)
    found: dict[str, Any] = {}
    for part in schema.get("allOf", ()):
        found |= _properties(part)
    found |= schema.get("properties", {})
    return found


@cache
def _all_properties(name: str) -> frozenset[str]:
    schema = _resolved({"$ref": f"{_ENTITY_REFERENCE}{name}"})
    mapping = schema.get("x-discriminator", {}).get("mapping", {})
    subtypes = (_properties({"$ref": reference}) for reference in mapping.values())
    return frozenset(_properties(schema)).union(*subtypes)
