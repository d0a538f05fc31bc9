"""What only its hosts know of a policy: whether they answer, what is wrong with them, what they lack for it.

Nothing is changed there. Asked by `cloudpc policy validate --hosts`, since a policy is also validated where no host can
be reached, by a pull request's runner for example.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from cloudpc.model.abilities import ChecksOrders, OrderChecks
from cloudpc.model.check import Check
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import Image
from cloudpc.model.machines import Amount, Host, Hypervisor, Network
from cloudpc.model.problems import Problem
from cloudpc.model.text import with_hint
from cloudpc.model.watch import Watch
from cloudpc.operations import twins
from cloudpc.operations.asked import Asked

_HOSTS = "cloudpc:hosts"
_NETWORKS = "cloudpc:policy.domainJoinConfigurations"


@dataclass(frozen=True)
class Wishes:
    """What a policy is going to ask of its hosts.

    Args:
        networks: its own, in order.
        plans: what the service plans of its users promise, by id.
        images: finds its image in the form that a host takes, by the names of those that take one.
    """

    networks: Sequence[Network] = ()
    plans: Mapping[str, Amount] = field(default_factory=dict)
    images: Mapping[str, Callable[[Watch], Image]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Answer:
    hypervisor: Hypervisor | None
    """None: it refuses, so that nobody knows."""
    failed: tuple[Check, ...]
    lacks: tuple[str, ...]
    """Why each of the policy's networks can't be used there; empty where it can."""
    orders: OrderChecks


class HostValidation:
    """Asks all hosts at once when it is made.

    Args:
        file: the policy's, for messages.
        hosts: as configured, in order.
        wishes: what the policy asks of them.
        are_configured: whether cloudpc:hosts has them, and they are no default.
    """

    def __init__(self, file: str, hosts: Sequence[Host], wishes: Wishes, *, are_configured: bool) -> None:
        self._file, self._wishes, self._are_configured = file, wishes, are_configured
        self._names = [host.name for host in hosts]
        self._asked = Asked("validating with", {host.name: partial(_look, host, wishes) for host in hosts})

    @property
    def silent(self) -> list[str]:
        """Hosts that have not answered, and why, in words."""
        return [f"{name}: {why}" for name, why in self._asked.silent.items()]

    def problems(self) -> list[Problem]:
        """What is wrong, by what those say that have answered."""
        return [*self._of_hosts(), *self._of_sizes(), *self._of_networks()]

    @property
    def warnings(self) -> list[str]:
        """What somebody should know of its image and of room, though Cloud PCs can be made."""
        orders = [(name, self._asked.answers[name].orders) for name in self._names if name in self._asked.answers]
        told = [(name, check) for name, order in orders for check in order.image if check.status == "warning"]
        told += [(name, check) for name, order in orders for check in order.sizes.values() if check.status != "passed"]
        return [_told(name, check) for name, check in told]

    def _of_hosts(self) -> Iterator[Problem]:
        answers = self._asked.answers
        for index, name in enumerate(self._names):
            field = f"{_HOSTS}[{index}]" if self._are_configured else _HOSTS
            for check in answers[name].failed if name in answers else ():
                yield Problem(self._file, field, _told(name, check))
        known = {name: answer.hypervisor for name, answer in answers.items() if answer.hypervisor is not None}
        if why := twins.refusal(known):
            yield Problem(self._file, _HOSTS, why)

    def _of_sizes(self) -> Iterator[Problem]:
        """As for networks: Cloud PCs of a service plan go to a host that has a size for it."""
        takes = [name for name in self._names if name in self._wishes.images]
        if not takes or not self._asked.answers.keys() >= set(takes):
            return
        for plan in self._wishes.plans:
            checks = [(name, self._asked.answers[name].orders.sizes.get(plan)) for name in takes]
            why = [_told(name, check) for name, check in checks if check is not None and check.status == "failed"]
            if len(why) == len(takes):
                yield Problem(self._file, _HOSTS, "; ".join(why))

    def _of_networks(self) -> Iterator[Problem]:
        """One host with the network is enough: Cloud PCs go there."""
        answers = self._asked.answers.values()
        for index in range(len(self._wishes.networks)):
            why = [answer.lacks[index] for answer in answers]
            if why and all(why) and not self._asked.silent:
                yield Problem(self._file, f"{_NETWORKS}[{index}]", "; ".join(dict.fromkeys(why)))


def image_checks(host: Host, wishes: Wishes) -> Sequence[Check]:
    """What a host says of a policy's image: nothing if it takes none, can't tell beforehand, or can't tell now."""
    find = wishes.images.get(host.name)
    if not isinstance(host, ChecksOrders) or find is None:
        return ()
    try:
        image = find(Watch())
        found = host.check_order(image, wishes.plans, Watch()).image
    except ProvisioningError:  # what is wrong with the host says why
        return ()
    return found or (Check(f"image {image.image_id}", "passed", "is there"),)


def _look(host: Host, wishes: Wishes) -> _Answer:
    try:
        which = host.hypervisor()
    except ProvisioningError as error:
        if error.code is not ErrorCode.HOST_REFUSES:
            raise
        return _refused(host, wishes, error)
    failed = [check for check in host.check() if check.status == "failed"]
    orders = _orders(host, wishes, is_well=not failed)
    failed += [check for check in orders.image if check.status == "failed"]
    lacks = tuple(_lacks(host, network, told=failed) for network in wishes.networks)
    return _Answer(which, tuple(failed), lacks, orders)


def _refused(host: Host, wishes: Wishes, error: ProvisioningError) -> _Answer:
    """What somebody has to change first in a cloud, such as a missing group: it says nothing about the rest."""
    failed = [check for check in host.check() if check.status == "failed"]
    failed = failed or [Check("host", "failed", error.message, error.hint)]
    return _Answer(None, tuple(failed), tuple("" for _ in wishes.networks), OrderChecks())


def _orders(host: Host, wishes: Wishes, *, is_well: bool) -> OrderChecks:
    find = wishes.images.get(host.name)
    if not isinstance(host, ChecksOrders) or find is None:
        return OrderChecks()
    try:
        return host.check_order(find(Watch()), wishes.plans, Watch())
    except ProvisioningError:
        if is_well:
            raise
        return OrderChecks()  # what is wrong with the host says why


def _lacks(host: Host, network: Network, *, told: Collection[Check]) -> str:
    """Why it has no such network, except for what is reported about the host itself."""
    try:
        failed = [check for check in host.check_network(network) if check.status == "failed" and check not in told]
    except ProvisioningError as error:
        return with_hint(error.message, error.hint)
    return "; ".join(_told(host.name, check) for check in failed)


def _told(host: str, check: Check) -> str:
    return f"{host}: {check.what}: {with_hint(check.detail, check.hint)}"
