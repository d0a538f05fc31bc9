"""Which function answers which request."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from tests.support.http_server import Answer
from tests.tenant.contract import Contract
from tests.tenant.errors import GraphError, bad_request
from tests.tenant.odata import Json, Pages, Query, ResourceType, next_link
from tests.tenant.store import Store
from tests.tenant.tokens import Token

Find = Callable[[str], Json | None]


class Graph(Protocol):
    """What the functions that answer may use of the tenant."""

    @property
    def store(self) -> Store: ...
    @property
    def contract(self) -> Contract: ...
    @property
    def pages(self) -> Pages: ...
    @property
    def url(self) -> str:
        """Address of the API, with its version."""


@dataclass(frozen=True)
class Call:
    """A request that may be answered.

    Args:
        graph: the tenant.
        path: as it was sent, without the version.
        parameters: what stands for the names in the route's path.
        query: its options.
        body: its JSON.
        token: with which it came.
        empty_page: a fault: the first page has nothing on it, but a link to the next.
    """

    graph: Graph
    path: str
    parameters: dict[str, str]
    query: Query
    body: Json
    token: Token
    empty_page: bool = False

    @property
    def store(self) -> Store:
        """What the tenant holds."""
        return self.graph.store

    def known(self, type_: ResourceType) -> Collection[str]:
        """All properties of a type."""
        return self.graph.contract.properties(f"microsoft.graph.{type_.name}")

    def one(self, item: Json, type_: ResourceType, status: int = 200) -> Answer:
        """Answer an object."""
        shown = self.query.shown(item, type_, self.known(type_))
        return Answer(status, {"@odata.context": f"{self.graph.url}/$metadata#{self._context}/$entity", **shown})

    def page(
        self, ids: Callable[[], list[str]], find: Find, type_: ResourceType, shown: Callable[[Json], Json] | None = None
    ) -> Answer:
        """Answer a page of a list.

        Args:
            ids: of all objects in it.
            find: an object by its id.
            type_: of the objects.
            shown: an object as it is answered; by default with the properties of $select.
        """
        known = self.known(type_)
        body: Json = {"@odata.context": f"{self.graph.url}/$metadata#{self._context}"}
        if self.empty_page and "$skiptoken" not in self.query.options:
            items: list[Json] = []
            # the filter is applied now; what is left is what the next page begins with
            token: str | None = self.graph.pages.empty_page(self._all(ids, find, type_))
            total = None
        else:
            items, token, total = self.graph.pages.page(self.query, type_, ids, find)
        if total is not None:
            body["@odata.count"] = total
        if token is not None:
            body["@odata.nextLink"] = next_link(f"{self.graph.url}{self.path}", self.query, token)
        show = shown or (lambda item: self.query.shown(item, type_, known))
        return Answer(200, {**body, "value": [show(item) for item in items]})

    def _all(self, ids: Callable[[], list[str]], find: Find, type_: ResourceType) -> list[str]:
        options = {name: value for name, value in self.query.options.items() if name == "$filter" or name == "$count"}
        everything = ResourceType(type_.name, None, type_.filters, type_.advanced, page=10**9, most=10**9)
        items, _, _ = self.graph.pages.page(Query(options, self.query.eventual), everything, ids, find)
        return [item["id"] for item in items]

    @property
    def _context(self) -> str:
        return self.path.strip("/").partition("/")[0]


Handler = Callable[[Call], Answer]


@dataclass(frozen=True)
class Route:
    """A method and a path, and what it takes to be answered."""

    method: str
    pattern: re.Pattern[str]
    needs: Collection[str]
    delegated_only: bool
    handler: Handler


class Routes:
    """A table of routes, filled by decorators."""

    def __init__(self) -> None:
        self.table: list[Route] = []

    def add(
        self, method: str, path: str, needs: Collection[str], *, delegated_only: bool = False
    ) -> Callable[[Handler], Handler]:
        """The decorated function answers this.

        Args:
            method: of HTTP.
            path: `{name}` stands for a part of it.
            needs: permissions, one of which is enough.
            delegated_only: an application's own token is refused.
        """
        pattern = re.compile("".join(_pattern(part) for part in re.split(r"(\{\w+\})", path)) + "$")

        def decorate(handler: Handler) -> Handler:
            self.table.append(Route(method, pattern, needs, delegated_only, handler))
            return handler

        return decorate

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route of a request and its parameters.

        Raises:
            GraphError: 400 or 405, there is none.
        """
        other = False
        for route in self.table:
            if found := route.pattern.match(path):
                if route.method == method:
                    return route, found.groupdict()
                other = True
        if other:
            raise GraphError(
                405, "Request_BadRequest", f"Specified HTTP method {method} is not allowed for the request target."
            )
        raise bad_request(f"Resource not found for the segment '{path.rpartition('/')[2]}'.")


def _pattern(part: str) -> str:
    return f"(?P<{part[1:-1]}>[^/()']+)" if part.startswith("{") else re.escape(part)


def parameter(call: Call, name: str) -> str:
    """A part of the path, ids in lower case."""
    return call.parameters[name].lower()


def as_json(value: Any) -> Json:
    """A JSON object, or GraphError 400."""
    if not isinstance(value, dict):
        raise bad_request(
            "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid "
            "JSON format."
        )
    return value
