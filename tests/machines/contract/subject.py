"""A driver under the contract: how its host is opened, and how things are broken there from outside.

Whoever adds a driver writes one subclass, and names it in `subjects.py`; README.md says how.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, NoReturn, Self

import pytest

from cloudpc.model.drivers import Driver
from cloudpc.model.guests import Seed
from cloudpc.model.hosts import HostConfig
from cloudpc.model.image import Image
from cloudpc.model.machine_names import machine_name
from cloudpc.model.machines import Amount, Host, Machine, Network, Order
from cloudpc.model.tags import Tag
from cloudpc.model.watch import Watch
from tests.support.orders import seed
from tests.support.skips import NOT_OF_THIS_KIND

from .watching import Watched

PLAN = "plan"


class Subject(ABC):
    """One host of a driver, and an installation of the test's own on it.

    What can't be done from outside on this kind of host skips the test that needs it: `cannot`.
    """

    driver: ClassVar[Driver]
    marks: ClassVar[tuple[pytest.MarkDecorator, ...]] = ()
    """Of its tests."""
    size = Amount(vcpus=1, memory_mib=160, disk_gib=1)
    """Of the machines that tests make; small."""
    soon: ClassVar[float] = 5.0
    """Seconds within which whatever is cancelled has ended."""
    until_gone: ClassVar[float] = 10.0
    """Seconds after which nothing is left of what was deleted."""
    rounds: ClassVar[int] = 20
    """So often two processes claim at once."""
    environment: ClassVar[Mapping[str, str]] = {}
    """What other processes need besides to reach its hosts."""
    installation: str
    config: HostConfig
    image: Image
    host: Host

    def __init__(self, config: HostConfig, image: Image) -> None:
        self.config = config
        self.image = image
        self.installation = secrets.token_hex(8)
        self.host = self.open()

    @classmethod
    @abstractmethod
    def opened(cls, request: pytest.FixtureRequest) -> Iterator[Self]:
        """A host for one test; what it has made is removed afterwards, and nothing may be left."""

    def open(self) -> Host:
        """The same host, opened once more."""
        return self.driver.open(self.config)

    def open_here(self) -> Host:
        """The same host, as whoever sits at it opens it."""
        return self.open()

    # ---- machines

    def order(
        self, user: str = "u-1", *, size: Amount | None = None, network: Network | None = None,
        first_boot_in_seconds: float = 180, installation: str = "", **tag: Any,
    ) -> Order:  # fmt: skip
        """A machine of this user; further arguments are fields of its tag."""
        installation = installation or self.installation
        plain = Tag(installation, "policy", user, PLAN, 1, "CPC-1", "settings", attempt=secrets.token_hex(4))
        written = replace(plain, **tag)
        identity = written.machine_id
        return Order(
            identity,
            machine_name(installation, identity),
            f"{user}: test",
            size or self.size,
            network or Network(),
            written,
            first_boot_in_seconds,
            image=_Found(self.image),
            seed=SeedOf(user),
        )

    def claimed(self, user: str = "u-1", **changes: Any) -> Order:
        """A machine that is claimed, and no more."""
        order = self.order(user, **changes)
        self.host.claim(order, Watched())
        return order

    def made(self, user: str = "u-1", **changes: Any) -> tuple[Order, Watched]:
        """A machine that is ready, and what was reported while it was made."""
        order, watch = self.order(user, **changes), Watched()
        self.host.claim(order, watch)
        self.host.make(order, watch)
        return order, watch

    def delete(self, machine: Machine | Order) -> None:
        """Delete it, and wait until it is gone."""
        self.host.delete(machine.id, Watched())
        self.wait_until(lambda: self.host.describe(machine.id) is None, "it is still there")

    def wait_until(self, condition: Callable[[], object], otherwise: str) -> None:
        """Wait for what goes on by itself."""
        watch = Watched().within(self.until_gone)
        while not condition():
            assert watch.remaining, otherwise
            watch.wait(0.02)

    def clear(self) -> None:
        """Delete all that the test has made; nothing may be left."""
        for machine in self.host.owned(self.installation):
            self.delete(machine)
        self.wait_until(lambda: self.things() == [], f"left: {self.things()}")
        self.host.close()

    # ---- from outside, beside the driver

    @abstractmethod
    def things(self) -> list[str]:
        """All that there is of this installation on the host, by whatever name, as the host itself says it."""

    @abstractmethod
    def take_tag_away(self, order: Order) -> None:
        """So that nothing says any longer whose it is."""

    def add_to_tag(self, order: Order) -> None:
        """What a later version of ours says besides, in a tag that is readable otherwise."""
        cannot("a tag can't be added to")

    def lose(self, order: Order) -> list[str]:
        """The claimed machine vanishes by somebody's hand and leaves some of what it was made of; names of that."""
        cannot("nothing outlives its machine")

    def lose_reserved(self, order: Order) -> AbstractContextManager[list[str]]:
        """The same, but what it leaves can't be removed before this ends."""
        cannot("what outlives its machine can be removed at once")

    def put_back(self, order: Order) -> None:
        """What was lost is there again, whoever did it."""
        self.host.claim(order, Watched())

    def give_disk(self, order: Order) -> None:
        """What is only claimed gets its disk, where it has none yet."""
        assert self.host.describe(order.id) is not None, "it has had one from the beginning"

    def turn_off(self, order: Order) -> None:
        """From outside, as an outage does."""
        cannot("it can't be turned off")

    def away(self) -> AbstractContextManager[None]:
        """The host does not answer."""
        cannot("the host can't be away")

    def deletes_slowly(self) -> AbstractContextManager[None]:
        """A deletion takes longer than the call that asks for it; when this ends, all is soon gone."""
        cannot("what is deleted is gone at once")

    def refuses_late(self) -> AbstractContextManager[None]:
        """There turns out to be no room once a machine was accepted."""
        cannot("whether there is room is said at once")

    def never_ready(self) -> Order:
        """A machine whose guest does not come up in its time, which is short."""
        return self.order(first_boot_in_seconds=0.3)

    @property
    def another_network(self) -> Network:
        """One that the host has, and not its own choice."""
        cannot("it has no other networks")

    @property
    def unknown_network(self) -> Network:
        """One that the host does not have."""
        return Network(self.another_network.kind, "no-such-network")


class Ready(NamedTuple):
    """A machine that is ready, and what was reported while it was made."""

    subject: Subject
    order: Order
    watch: Watched


class _Found:
    """An image that is at hand. Classes, not functions, so that another process can be given an order."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def __call__(self, watch: Watch) -> Image:
        watch.check()
        return self._image


class SeedOf:
    """A first boot with alice's account, and how often it was asked for."""

    def __init__(self, user: str) -> None:
        self._user = user
        self.asked = 0

    def __call__(self, image: Image) -> Seed:
        self.asked += 1
        return seed(self._user)


def cannot(why: str) -> NoReturn:
    """This kind of host has nothing that the rule is about."""
    pytest.skip(f"{NOT_OF_THIS_KIND}: {why}")
