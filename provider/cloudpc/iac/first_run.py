"""What a stack's first run looks at where the installation's id is written by hand, and may so have been copied.

A file that was copied to a project with another backend brings the id along: everything on the hosts seems to be this
project's, and state knows none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import tenacity

from cloudpc.iac import fleet
from cloudpc.iac.engine import Engine, EngineError
from cloudpc.model.errors import CloudPCError
from cloudpc.model.machines import Host
from cloudpc.operations.asked import Asked
from cloudpc.operations.known_machines import Found, KnownMachines, named, unknown

_READABLE_WITHIN = 10.0
_NAMED = 5


class StrangersError(CloudPCError):
    """Hosts hold machines of this installation that no stack of this backend knows."""


def check(hosts: Sequence[Host], policy_id: str, installation: str, engine: Engine) -> None:
    """See that what hosts hold of this installation is known to a stack of this backend.

    Args:
        hosts: the policy's; of one that does not answer nothing is known, and nothing is made there.
        policy_id: whose first run it is.
        installation: the id, as configured.
        engine: knows the backend's stacks.

    Raises:
        StrangersError: it is not.
        EngineError: a stack's state can't be read.
    """
    questions = {host.name: partial(unknown, [host], installation, KnownMachines()) for host in hosts}
    answers = Asked("listing the machines on", questions).answers
    found = [each for of_host in answers.values() for each in of_host]
    if not found:
        return
    # read after the hosts: what another stack's run makes meanwhile is in its state before it is on a host
    known = KnownMachines.to(_records(engine))
    recorded = known.given | known.begun
    if strangers := [each for each in found if not (each[1].id in recorded or known.is_to_finish(each[1]))]:
        raise StrangersError(_refusal(strangers, policy_id, installation))


@tenacity.retry(
    stop=tenacity.stop_after_delay(_READABLE_WITHIN),
    wait=tenacity.wait_fixed(0.1),
    retry=tenacity.retry_if_exception_type(EngineError),  # the file backend writes in place: half a file may be seen
    reraise=True,
)
def _records(engine: Engine) -> list[fleet.StackRecord]:
    return fleet.read(engine, engine.stacks())


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
