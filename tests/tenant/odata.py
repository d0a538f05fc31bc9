"""Query options of a request, and lists in pages."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, quote

from tests.tenant import filters
from tests.tenant.errors import GraphError, bad_request, invalid, unsupported

Json = dict[str, Any]
_OPTIONS = ("$filter", "$select", "$top", "$count", "$expand", "$skiptoken")
_MOST_CLAUSES = 15


@dataclass(frozen=True)
class ResourceType:
    """What is known of a type of objects.

    Args:
        name: as in the contract, without its namespace.
        by_default: properties that are answered without $select; None: all.
        filters: per property, what may be done to it in a $filter.
        advanced: property and operation that need `ConsistencyLevel: eventual` and $count=true.
        page: how many objects there are in a page without $top.
        most: how many with it.
        directory: whether it lives in the directory, which counts only for advanced queries.
    """

    name: str
    by_default: tuple[str, ...] | None = None
    filters: Mapping[str, Collection[str]] = field(default_factory=dict)
    advanced: frozenset[tuple[str, str]] = frozenset()
    page: int = 100
    most: int = 999
    directory: bool = False


@dataclass(frozen=True)
class Query:
    """The options of one request."""

    options: Mapping[str, str]
    eventual: bool = False

    @classmethod
    def parse(cls, text: str, consistency_level: str | None) -> Query:
        """Raises GraphError for an option that is not known here."""
        options: dict[str, str] = {}
        for name, value in parse_qsl(text, keep_blank_values=True):
            if name not in _OPTIONS:
                raise bad_request(f"Query option '{name}' is not supported.")
            if name in options:
                raise bad_request(f"Query option '{name}' was specified more than once, but it must be at most once.")
            options[name] = value
        return cls(options, (consistency_level or "").lower() == "eventual")

    @property
    def select(self) -> tuple[str, ...]:
        """The properties of $select."""
        return tuple(name.strip() for name in self.options["$select"].split(",")) if "$select" in self.options else ()

    @property
    def expand(self) -> tuple[str, ...]:
        """The relations of $expand."""
        return tuple(self.options["$expand"].split(",")) if "$expand" in self.options else ()

    @property
    def counts(self) -> bool:
        """Whether $count=true."""
        value = self.options.get("$count", "false").lower()
        if value not in ("true", "false"):
            raise bad_request("Invalid value for $count: must be true or false.")
        return value == "true"

    def only(self, *allowed: str) -> None:
        """Refuse all other options, as the endpoint does."""
        for name in self.options:
            if name not in allowed:
                raise bad_request(f"Query option '{name}' is not supported for this resource.")

    def shown(self, item: Json, type_: ResourceType, known: Collection[str]) -> Json:
        """An object as it is answered: what $select names, else the default properties.

        Args:
            item: the whole object.
            type_: its type.
            known: all properties that the type has.
        """
        names = self.select or type_.by_default
        if names is None:
            return {name: value for name, value in item.items() if not name.startswith("_")}
        if unknown := [name for name in self.select if name not in known]:
            raise bad_request(
                f"Parsing OData Select and Expand failed: Could not find a property named '{unknown[0]}' on type "
                f"'microsoft.graph.{type_.name}'."
            )
        always = [name for name in ("@odata.type",) if name in item]
        # an object always has its id here; Graph, too, answers it with some types although it was not asked for
        return {name: item.get(name) for name in dict.fromkeys([*always, "id", *names]) if name in item}


class Pages:
    """Lists that clients are reading, page by page. A list stays what it was when its first page was read."""

    def __init__(self) -> None:
        self._lists: OrderedDict[str, Sequence[str]] = OrderedDict()
        self._numbers = count(1)

    def page(
        self,
        query: Query,
        type_: ResourceType,
        ids: Callable[[], Sequence[str]],
        find: Callable[[str], Json | None],
    ) -> tuple[list[Json], str | None, int | None]:
        """Objects of this page, $skiptoken of the next one, and how many there are in all if that was asked.

        Args:
            query: of the request.
            type_: of the objects.
            ids: of all objects of the list.
            find: an object by its id; None: it has gone since.
        """
        size = self._size(query, type_)
        # without the header the directory answers 200 and leaves the number out
        counted = query.counts and (query.eventual or not type_.directory)
        if token := query.options.get("$skiptoken"):
            key, _, start_text = token.partition("-")
            chosen = self._lists.get(key)
            if chosen is None or not start_text.isdigit():
                raise GraphError(
                    400, "Directory_ExpiredPageToken", "The specified page token value has expired."
                )  # fmt: skip
            start = int(start_text)
        else:
            key, start, chosen = str(next(self._numbers)), 0, self._chosen(query, type_, ids(), find)
        end = start + size
        following = None
        if end < len(chosen):
            self._lists[key] = chosen
            while len(self._lists) > 256:
                self._lists.popitem(last=False)
            following = f"{key}-{end}"
        found = [item for id_ in chosen[start:end] if (item := find(id_)) is not None]
        return found, following, len(chosen) if counted else None

    def empty_page(self, ids: Sequence[str]) -> str:
        """$skiptoken after a page that had nothing on it, although all of these are still to come."""
        key = str(next(self._numbers))
        self._lists[key] = ids
        return f"{key}-0"

    @staticmethod
    def _size(query: Query, type_: ResourceType) -> int:
        text = query.options.get("$top")
        if text is None:
            return type_.page
        if not text.isdigit() or not 1 <= int(text) <= type_.most:
            raise invalid(f"Invalid page size specified: '{text}'. Must be between 1 and {type_.most} inclusive.")
        return int(text)

    @staticmethod
    def _chosen(
        query: Query, type_: ResourceType, ids: Sequence[str], find: Callable[[str], Json | None]
    ) -> Sequence[str]:
        text = query.options.get("$filter")
        if text is None:
            return ids
        parsed = filters.parse(text)
        check_filter(parsed, type_, query)
        return [id_ for id_ in ids if (item := find(id_)) is not None and parsed.matches(item)]


def check_filter(parsed: filters.Filter, type_: ResourceType, query: Query) -> None:
    """Refuse what Graph would refuse for this type."""
    for name, operation in parsed.uses:
        if operation not in type_.filters.get(name, ()):
            raise unsupported(f"Unsupported or invalid query filter clause specified for property '{name}' of resource "
                              f"'{type_.name.title()}'.")  # fmt: skip
        if (name, operation) in type_.advanced and not (query.eventual and query.counts):
            raise unsupported(
                f"Unsupported Query: '{operation}' on property '{name}' needs $count=true and the header "
                "ConsistencyLevel: eventual."
            )
    if parsed.clauses > _MOST_CLAUSES:
        raise unsupported(
            f"Too many child clauses specified in search filter expression containing 'OR' operators: "
            f"{parsed.clauses}. Max allowed: {_MOST_CLAUSES}."
        )


def next_link(url: str, query: Query, token: str) -> str:
    """The address of the next page; it repeats what the first request asked for."""
    kept = {name: value for name, value in query.options.items() if name != "$skiptoken"}
    return f"{url}?" + "&".join(
        f"{name}={quote(value, safe='')}" for name, value in (kept | {"$skiptoken": token}).items()
    )
