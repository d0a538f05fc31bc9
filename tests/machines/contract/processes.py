"""Other processes, which do what they are told at the same moment."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from uuid import UUID

from cloudpc.model.drivers import Driver
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.hosts import HostConfig
from cloudpc.model.machines import Claimed, Machine, Order
from cloudpc.model.watch import Watch

_FAKES = str(Path(__file__).parents[2] / "fakes")
_TOGETHER = 0.2
"""Seconds after which they begin: longer than it takes to hand out the work."""


class Processes:
    """Two of them, as two commands of ours are."""

    def __init__(self, cache: Path) -> None:
        self._pool = ProcessPoolExecutor(2, get_context("spawn"), _prepare, (str(cache),))
        list(self._pool.map(time.sleep, [_TOGETHER] * 2))  # both have begun

    def claim(self, driver: Driver, config: HostConfig, orders: Sequence[Order]) -> list[str]:
        """What came of these claims, made at once: claimed, Claimed, or an error's code."""
        at = [time.time() + _TOGETHER] * len(orders)
        return list(self._pool.map(_claim, [driver] * len(orders), [config] * len(orders), orders, at))

    def describe(self, driver: Driver, config: HostConfig, machine_id: UUID) -> Machine | None:
        """What another process sees."""
        return self._pool.submit(_describe, driver, config, machine_id).result()

    def close(self) -> None:
        """End them."""
        self._pool.shutdown()


def _prepare(cache: str) -> None:
    sys.path.insert(0, _FAKES)
    os.environ["CLOUDPC_CACHE"] = cache


def _claim(driver: Driver, config: HostConfig, order: Order, at: float) -> str:
    host = driver.open(config)
    host.capacity()  # connected
    time.sleep(max(0, at - time.time()))
    try:
        host.claim(order, Watch())
    except Claimed:
        return "Claimed"
    except ProvisioningError as error:
        return error.code.value
    finally:
        host.close()
    return "claimed"


def _describe(driver: Driver, config: HostConfig, machine_id: UUID) -> Machine | None:
    host = driver.open(config)
    try:
        return host.describe(machine_id)
    finally:
        host.close()
