"""Which function answers which operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from tests.azure.errors import ArmFault
from tests.support.http_server import Answer

if TYPE_CHECKING:
    from tests.azure.arm import FakeArm


@dataclass(frozen=True)
class Call:
    """A request that may be answered.

    Args:
        arm: the fake.
        operation: its name in the contract.
        path: as it was sent.
        parameters: what stands for the names in the contract's path.
        query: its options.
        headers: in lower case.
        body: its JSON, without what only the service may say.
        failure: how what this begins is going to end; None: well.
    """

    arm: FakeArm
    operation: str
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    failure: ArmFault | None = None

    @property
    def group(self) -> str:
        """The id of the resource group."""
        return (
            f"/subscriptions/{self.parameters['subscriptionId']}/resourceGroups/{self.parameters['resourceGroupName']}"
        )

    @property
    def vm_id(self) -> str:
        """The id of the virtual machine."""
        return f"{self.group}/providers/Microsoft.Compute/virtualMachines/{self.parameters['vmName']}"


Handler = Callable[[Call], Answer]


class Routes:
    """A table of routes, filled by decorators."""

    def __init__(self) -> None:
        self.table: dict[str, Handler] = {}

    def add(self, *operations: str) -> Callable[[Handler], Handler]:
        """The decorated function answers these."""

        def decorate(handler: Handler) -> Handler:
            self.table.update(dict.fromkeys(operations, handler))
            return handler

        return decorate


def listed(call: Call, values: list[Any]) -> Answer:
    """A list, page by page."""
    size = call.arm.page_size or max(1, len(values))
    token = call.query.get("$skiptoken", "0")
    if not token.isdecimal():
        raise ArmFault("BadRequest", f"The $skiptoken '{token}' is not valid.")
    first = int(token)
    body: dict[str, Any] = {"value": values[first : first + size]}
    if first + size < len(values):
        query = {**call.query, "$skiptoken": str(first + size)}
        body["nextLink"] = f"{call.arm.url}{quote(call.path)}?{urlencode(query, safe='$')}"
    return Answer(200, body)
