"""What only its hosts know of a policy: whether they answer, what is wrong with them, which networks they lack.

Nothing is changed there. Asked by `cloudpc policy validate --hosts`, since a policy is also validated where no host can
be reached, by a pull request's runner for example.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from cloudpc.model.check import Check
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.machines import Host, Hypervisor, Network
from cloudpc.model.problems import Problem
from cloudpc.operations import twins
from cloudpc.operations.asked import Asked

_HOSTS = "cloudpc:hosts"
_NETWORKS = "cloudpc:policy.domainJoinConfigurations"


@dataclass(frozen=True)
class _Answer:
    hypervisor: Hypervisor
    failed: tuple[Check, ...]
    lacks: tuple[str, ...]
    """Why each of the policy's networks can't be used there; empty where it can."""


class HostValidation:
    """Asks all hosts at once when it is made.

    Args:
        file: the policy's, for messages.
        hosts: as configured, in order.
        networks: the policy's, in order.
        are_configured: whether cloudpc:hosts has them, and they are no default.
    """

    def __init__(self, file: str, hosts: Sequence[Host], networks: Sequence[Network], *, are_configured: bool) -> None:
        self._file, self._networks, self._are_configured = file, networks, are_configured
        self._names = [host.name for host in hosts]
        self._asked = Asked("validating with", {host.name: partial(_look, host, networks) for host in hosts})

    @property
    def silent(self) -> list[str]:
        """Hosts that have not answered, and why, in words."""
        return [f"{name}: {why}" for name, why in self._asked.silent.items()]

    def problems(self) -> list[Problem]:
        """What is wrong, by what those say that have answered."""
        return [*self._of_hosts(), *self._of_networks()]

    def _of_hosts(self) -> Iterator[Problem]:
        answers = self._asked.answers
        for index, name in enumerate(self._names):
            field = f"{_HOSTS}[{index}]" if self._are_configured else _HOSTS
            for check in answers[name].failed if name in answers else ():
                yield Problem(self._file, field, f"{name}: {check.what}: {_with_hint(check.detail, check.hint)}")
        if why := twins.refusal({name: answer.hypervisor for name, answer in answers.items()}):
            yield Problem(self._file, _HOSTS, why)

    def _of_networks(self) -> Iterator[Problem]:
        """One that a single host has is enough: Cloud PCs go there."""
        answers = self._asked.answers.values()
        for index in range(len(self._networks)):
            why = [answer.lacks[index] for answer in answers]
            if why and all(why) and not self._asked.silent:
                yield Problem(self._file, f"{_NETWORKS}[{index}]", "; ".join(dict.fromkeys(why)))


def _look(host: Host, networks: Sequence[Network]) -> _Answer:
    which = host.hypervisor()
    failed = tuple(check for check in host.check() if check.status == "failed")
    return _Answer(which, failed, tuple(_lacks(host, network) for network in networks))


def _lacks(host: Host, network: Network) -> str:
    try:
        failed = [check for check in host.check_network(network) if check.status == "failed"]
    except ProvisioningError as error:
        return _with_hint(error.message, error.hint)
    return "; ".join(f"{host.name}: {check.what}: {_with_hint(check.detail, check.hint)}" for check in failed)


def _with_hint(text: str, hint: str) -> str:
    return f"{text.rstrip('.')}: {hint}" if hint else text
