"""What a stack's first run looks at where the installation's id is written by hand, and may so have been copied.

A file that was copied to a project with another backend brings the id along: everything on the hosts seems to be this
project's, and state knows none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from cloudpc.model.errors import CloudPCError
from cloudpc.model.machines import Host
from cloudpc.operations.asked import Asked
from cloudpc.operations.inventory import Found, Inventory, named
from cloudpc.operations.records import StackRecord

_NAMED = 5


class StrangersError(CloudPCError):
    """Hosts hold machines of this installation that no stack of this backend knows."""


def check(
    hosts: Sequence[Host], policy_id: str, installation: str, read_all: Callable[[], Sequence[StackRecord]]
) -> None:
    """See that what hosts hold of this installation is known to a stack of this backend.

    Args:
        hosts: the policy's; of one that does not answer nothing is known, and nothing is made there.
        policy_id: whose first run it is.
        installation: the id, as configured.
        read_all: reads the state of all the backend's stacks, and raises what it raises.

    Raises:
        StrangersError: it is not.
    """
    questions = {host.name: partial(Inventory().unknown, [host], installation) for host in hosts}
    answers = Asked("listing the machines on", questions).answers
    found = [each for of_host in answers.values() for each in of_host]
    if not found:
        return
    # read after the hosts: what another stack's run makes meanwhile is in its state before it is on a host
    known = Inventory.of(read_all())
    if strangers := [(host, machine) for host, machine in found if known.is_strange(machine)]:
        raise StrangersError(_refusal(strangers, policy_id, installation))


def _refusal(strangers: Found, policy_id: str, installation: str) -> str:
    return (
        f"hosts hold machines of the installation {installation} that no stack of this backend knows: "
        f"{_some(strangers)}. Nothing was touched. If their state is in another backend, set PULUMI_BACKEND_URL to "
        "that one. If it is lost, `cloudpc adopt` takes them back, `cloudpc adopt --remove` deletes them with all "
        "data. If this is to be an installation of its own, write another id as cloudpc:installation in "
        f"stacks/Pulumi.{policy_id}.yaml"
    )


def _some(found: Found) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return named(found[:_NAMED]) + more
