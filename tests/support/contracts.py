"""Requests and answers against a contract, by openapi-core; unknown properties by our own walk.

Contracts let unknown properties pass, Microsoft's services don't: they answer 400.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openapi_core import OpenAPI

FOLDER = Path(__file__).parents[1] / "contracts"
_VARIABLE = re.compile(r"\{([^}]+)\}")
_JSON = "application/json"


@dataclass
class Request:
    """A request as openapi-core wants it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes | None = None
    content_type: str = _JSON
    host_url: str = "https://graph.microsoft.com"
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
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """What a contract says of a method and a path."""

    id: str
    template: str
    parameters: Mapping[str, str]
    """What stands for the names in the template."""
    definition: Mapping[str, Any]


class Document:
    """A contract: a file of OpenAPI 3.0. Loaded when it is first needed (half a second).

    Args:
        file: in tests/contracts.
        prefix: of the paths of requests, which those of the contract lack.
        annotations: a text in names of properties that are always allowed.
        any_case: paths are found in whatever case they are written.
    """

    def __init__(self, file: str, *, prefix: str = "", annotations: str | None = None, any_case: bool = False) -> None:
        self._file = FOLDER / file
        self._prefix = prefix
        self._annotations = annotations
        self._flags = re.IGNORECASE if any_case else 0
        self._lock = threading.Lock()

    @cached_property
    def text(self) -> dict[str, Any]:
        """The whole contract."""
        document: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
        return document

    def find(self, method: str, path: str) -> Operation | None:
        """What the contract says of this; None: nothing."""
        path = path.removeprefix(self._prefix)
        for pattern, template, names, item in self._paths:
            if (found := pattern.match(path)) and method.lower() in item:
                definition = item[method.lower()]
                values = dict(zip(names, found.groups(), strict=True))
                return Operation(definition.get("operationId", ""), template, values, definition)
        return None

    def request_problems(self, request: Request) -> list[str]:
        """What is wrong with a request, in words; never what it holds."""
        with self._lock:
            found = [_words(error) for error in self._openapi.iter_request_errors(request)]
        if found or not request.body:
            return found
        schema = self.body_schema(request)
        return [] if schema is None else list(self._unknown(json.loads(request.body), schema, ""))

    def response_problems(self, request: Request, status: int, body: bytes) -> list[str]:
        """What is wrong with an answer."""
        if status == 204:
            return ["204 has a body"] if body else []
        response = _Response(status, body)
        with self._lock:
            found = [_words(error) for error in self._openapi.iter_response_errors(request, response)]
        if found or not body:
            return found
        operation = self.find(request.method, request.path)
        answers = operation.definition.get("responses", {}) if operation else {}
        schema = self._schema(answers.get(str(status)) or answers.get(f"{status // 100}XX"))
        return [] if schema is None else list(self._unknown(json.loads(body), schema, ""))

    def body_schema(self, request: Request) -> dict[str, Any] | None:
        """Of a request's body; None: it has none."""
        operation = self.find(request.method, request.path)
        return self._schema(operation.definition.get("requestBody") if operation else None)

    def resolved(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """What a reference means."""
        while "$ref" in node:
            target: Any = self.text
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return dict(node)

    def properties(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Of a type, with those it inherits."""
        schema = self.resolved(schema)
        found: dict[str, Any] = {}
        for part in schema.get("allOf", ()):
            found |= self.properties(part)
        found |= schema.get("properties", {})
        return found

    # ---- inside

    @cached_property
    def _paths(self) -> list[tuple[re.Pattern[str], str, list[str], dict[str, Any]]]:
        """The contract's paths, those without variables first: `/devices/delta()` is not a device."""
        ordered = sorted(self.text["paths"].items(), key=lambda entry: str(entry[0]).count("{"))
        return [
            (
                re.compile("([^/()']+)".join(map(re.escape, _VARIABLE.split(path)[::2])) + "$", self._flags),
                path, _VARIABLE.findall(path), item,
            )
            for path, item in ordered
        ]  # fmt: skip

    @cached_property
    def _openapi(self) -> OpenAPI:
        from openapi_core import Config, OpenAPI

        # tokens are checked before, with the service's own words for what is wrong with them
        document = {name: value for name, value in self.text.items() if name != "security"}
        return OpenAPI.from_dict(document, config=Config(spec_validator_cls=None))

    def _schema(self, place: Mapping[str, Any] | None) -> dict[str, Any] | None:
        content = self.resolved(place or {}).get("content", {})
        schema: dict[str, Any] | None = content.get(_JSON, {}).get("schema")
        return schema

    def _unknown(self, value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
        """Properties that the schema has no word for."""
        schema = self.resolved(schema)
        if not schema:  # anything goes
            return
        if isinstance(value, list):
            for i, item in enumerate(value):
                yield from self._unknown(item, schema.get("items", {}), f"{where}[{i}]")
        elif isinstance(value, dict) and "additionalProperties" not in schema:
            properties = self.properties(self._subtype(schema, value))
            for name, inner in value.items():
                if name in properties:
                    yield from self._unknown(inner, properties[name], f"{where}.{name}".lstrip("."))
                elif not (self._annotations and self._annotations in name):
                    yield f"property '{name}' does not exist on type '{schema.get('title', where)}'"

    def _subtype(self, schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
        for choice in schema.get("anyOf", ()):
            if self.properties(choice):
                return self._subtype(self.resolved(choice), value)
        mapping = schema.get("x-discriminator", {}).get("mapping", {})
        reference = mapping.get(value.get("@odata.type"))
        return self.resolved({"$ref": reference}) if reference else schema


def all_properties(document: Document, schema: str) -> Collection[str]:
    """Names of all properties of a type, those of its subtypes, too."""
    found = document.resolved({"$ref": f"#/components/schemas/{schema}"})
    mapping = found.get("x-discriminator", {}).get("mapping", {})
    subtypes = (document.properties({"$ref": reference}) for reference in mapping.values())
    return frozenset(document.properties(found)).union(*subtypes)


def _words(error: Any) -> str:
    cause = error.__cause__
    details = getattr(cause, "schema_errors", None)
    if details:
        return "; ".join(f"{'/'.join(map(str, d.absolute_path)) or 'body'}: violates {d.validator}" for d in details)
    return f"{type(error).__name__}: {cause or error}"
