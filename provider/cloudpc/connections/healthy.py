"""Which of a policy's connections may be used now: each is looked at once for all Cloud PCs of a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from cloudpc.connections import checks, files
from cloudpc.model.check import Check, overall
from cloudpc.model.cloud_pc import NetworkChoice
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Host, Network
from cloudpc.model.problems import InvalidConfigurationError

KEPT = 300.0
"""Seconds for which a result holds: as long as a run that makes many Cloud PCs would not want to ask again."""


JUST_NOW = 10.0
"""Seconds for which a result holds even where something has gone wrong since: many may say so at once."""


class Connections:
    """The health of connections, remembered. Used from many threads at once.

    Args:
        hosts: where Cloud PCs may go.
        folder: of the connections' files.
        clock: seconds that only go up.
    """

    def __init__(self, hosts: Sequence[Host], folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._hosts = hosts
        self._folder = folder
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[NetworkChoice, tuple[float, Future[ProvisioningError | None]]] = {}

    def healthy(self, choice: NetworkChoice, afresh: bool = False) -> ProvisioningError | None:
        """None if Cloud PCs may be connected through it, else why not (CONNECTION_NOT_HEALTHY).

        The first to ask has it looked at, which may take some twenty seconds; others wait for the same answer.

        Args:
            choice: the connection.
            afresh: something has gone wrong with it since: what was found out a while ago does not count.
        """
        if not choice.connection:
            return None  # the hosted network: claiming a place finds out
        with self._lock:
            until, answer = self._known.get(choice, (0.0, None))
            if afresh:
                until -= KEPT - JUST_NOW
            is_new = answer is None or until <= self._clock()
            if answer is None or is_new:
                answer = Future()
                self._known[choice] = (self._clock() + KEPT, answer)
        if is_new:
            try:
                answer.set_result(self._look(choice))
            except BaseException as error:
                answer.set_exception(error)
                with self._lock:  # for example Ctrl-C: nothing was found out
                    self._known.pop(choice, None)
                raise
        return answer.result()

    def _look(self, choice: NetworkChoice) -> ProvisioningError | None:
        try:
            connection = files.read(self._folder, choice.connection)
        except InvalidConfigurationError as error:
            return _error(choice.connection, "; ".join(map(str, error.problems)), "correct the connection's file")
        network = Network(choice.kind, choice.source)
        joins = choice.domain_join_type == "hybridAzureADJoin"
        found = checks.check(choice.connection, connection, network, self._hosts, self._folder, domain=joins)
        return not_healthy(choice.connection, found)


def not_healthy(name: str, found: Sequence[Check]) -> ProvisioningError | None:
    """The reason for a Cloud PC that waits for this connection; None if it need not wait."""
    if overall(found) != "failed":
        return None
    failed = [check for check in found if check.status == "failed"]
    reasons = [f"{check.what}: {check.detail} [{check.error_type}]" for check in failed]
    actions = list(dict.fromkeys(check.hint for check in failed if check.hint))
    return _error(name, "; ".join(reasons), " ".join(actions))


def _error(name: str, reason: str, hint: str) -> ProvisioningError:
    message = f"the connection {name} is not healthy: {reason}"
    return ProvisioningError(ErrorCode.CONNECTION_NOT_HEALTHY, message, hint=hint)
