"""Other processes, which do what they are told at the same moment."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from uuid import UUID

from cloudpc.model.drivers import Driver
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.hosts import HostConfig
from cloudpc.model.machines import Claimed, Host, Machine, Order, Removed
from cloudpc.model.watch import Watch

_FAKES = str(Path(__file__).parents[2] / "fakes")
Round = tuple[Order, Order]
_PATIENCE = 60.0
"""Seconds that one waits for the other."""
_both: Barrier


class Processes:
    """Two of them, as two commands of ours are."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        context = get_context("spawn")
        self._pool = ProcessPoolExecutor(2, context, _prepare, (environment, context.Barrier(2)))

    def claim(self, driver: Driver, config: HostConfig, rounds: Sequence[Round]) -> list[list[str]]:
        """What came of the claims of each round, which both make at once: claimed, Claimed, or an error's code.

        What was claimed is deleted again before the next round, but for the last one's.

        Args:
            driver: of the host.
            config: the host's.
            rounds: an order for each of both.
        """
        orders = [[both[number] for both in rounds] for number in range(2)]
        claims = self._pool.map(_claims, [driver] * 2, [config] * 2, orders)
        return [list(outcomes) for outcomes in zip(*claims, strict=True)]

    def describe(self, driver: Driver, config: HostConfig, machine_id: UUID) -> Machine | None:
        """What another process sees."""
        return self._pool.submit(_describe, driver, config, machine_id).result()

    def close(self) -> None:
        """End them."""
        self._pool.shutdown()


def _prepare(environment: Mapping[str, str], both: Barrier) -> None:
    global _both
    _both = both
    sys.path.insert(0, _FAKES)
    os.environ.update(environment)


def _claims(driver: Driver, config: HostConfig, orders: Sequence[Order]) -> list[str]:
    host = driver.open(config)
    host.capacity()  # connected
    outcomes = []
    try:
        for order in orders:
            _both.wait(_PATIENCE)
            outcomes.append(_claim(host, order))
            _both.wait(_PATIENCE)
            if outcomes[-1] == "claimed" and order is not orders[-1]:
                _delete(host, order)
    finally:
        host.close()
    return outcomes


def _delete(host: Host, order: Order) -> None:
    while host.delete(order.id, Watch()) is not Removed.GONE:
        time.sleep(0.01)


def _claim(host: Host, order: Order) -> str:
    try:
        host.claim(order, Watch())
    except Claimed:
        return "Claimed"
    except ProvisioningError as error:
        return error.code.value
    return "claimed"


def _describe(driver: Driver, config: HostConfig, machine_id: UUID) -> Machine | None:
    host = driver.open(config)
    try:
        return host.describe(machine_id)
    finally:
        host.close()
