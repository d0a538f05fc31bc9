"""Errors as Graph answers them."""

from __future__ import annotations


class GraphError(Exception):
    """An answer that is not a success.

    Args:
        status: of HTTP.
        code: Graph's word for it.
        message: for people.
        headers: further ones, for example Retry-After.
    """

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def bad_request(message: str) -> GraphError:
    """What the gateway says of a request that it can't make sense of."""
    return GraphError(400, "BadRequest", message)


def invalid(message: str) -> GraphError:
    """What the directory says of a body or a query that it refuses."""
    return GraphError(400, "Request_BadRequest", message)


def unsupported(message: str) -> GraphError:
    """A query that the directory has no index for."""
    return GraphError(400, "Request_UnsupportedQuery", message)


def not_found(id_: str) -> GraphError:
    """No such object in the directory."""
    return GraphError(
        404,
        "Request_ResourceNotFound",
        f"Resource '{id_}' does not exist or one of its queried reference-property objects are not present.",
    )
