"""What a subscription holds, and how lists of it lag behind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.azure.errors import Json, not_found


@dataclass
class Resource:
    """A resource.

    Args:
        id: whole, as it was first written.
        type: for example `Microsoft.Compute/virtualMachines`.
        body: what is answered, without id, name, type.
        sent: what it was made with, secrets included.
        made: when, by Azure's clock.
        runtime: what its kind keeps beside that.
    """

    id: str
    type: str
    body: Json
    sent: Json = field(default_factory=dict)
    made: float = 0
    runtime: Any = None

    @property
    def name(self) -> str:
        return self.id.rpartition("/")[2]

    @property
    def properties(self) -> Json:
        """Of its body."""
        found: Json = self.body.setdefault("properties", {})
        return found

    @property
    def tags(self) -> dict[str, str]:
        """Of its body."""
        return dict(self.body.get("tags") or {})

    @property
    def group(self) -> str:
        """The id of its resource group, in lower case."""
        return "/".join(self.id.split("/")[:5]).lower()

    def shown(self) -> Json:
        """As it is answered."""
        return {"id": self.id, "name": self.name, "type": self.type, **copy.deepcopy(self.body)}


class Resources:
    """All resources, by id in whatever case.

    Args:
        now: Azure's clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._all: dict[str, Resource] = {}
        self._gone: list[tuple[float, Resource]] = []
        self.lag: float = 0
        """Seconds by which lists are behind."""

    def add(self, resource: Resource) -> Resource:
        """There it is."""
        resource.made = self._now()
        self._all[resource.id.lower()] = resource
        return resource

    def remove(self, resource: Resource) -> None:
        """It is gone; lists show it for a while."""
        if self._all.pop(resource.id.lower(), None):
            self._gone.append((self._now(), resource))

    def find(self, resource_id: str) -> Resource | None:
        """None: there is none."""
        return self._all.get(resource_id.lower())

    def get(self, resource_id: str) -> Resource:
        """ArmFault 404: there is none."""
        found = self.find(resource_id)
        if found is None:
            raise not_found(resource_id)
        return found

    def of(self, kind: str, below: str = "/") -> list[Resource]:
        """All of a type below a scope, as they are."""
        return [
            r for r in self._all.values() if r.type.lower() == kind.lower() and r.id.lower().startswith(below.lower())
        ]

    def listed(self, kind: str, below: str = "/") -> list[Resource]:
        """All of a type below a scope, as a list tells them: late."""
        return [r for r in self._listed() if r.type.lower() == kind.lower() and r.id.lower().startswith(below.lower())]

    def everything(self) -> list[Resource]:
        """As a list tells it: late."""
        return list(self._listed())

    def names(self, kind: str) -> list[str]:
        """Of all resources of a type, for tests; `virtualMachines` is enough."""
        return sorted(r.name for r in self._all.values() if r.type.lower().endswith(f"/{kind.lower()}"))

    def _listed(self) -> Iterator[Resource]:
        now = self._now()
        yield from (r for r in self._all.values() if now - r.made >= self.lag)
        self._gone = [(when, r) for when, r in self._gone if now - when < self.lag]
        yield from (r for _, r in self._gone)
