"""Many Cloud PCs of one policy, as the engine has their provider make, make anew and end them, without the engine."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial, wraps
from pathlib import Path
from typing import Any
from unittest import mock

from fake_driver import FakeHostConfig
from fake_hypervisor import FakeHost

from cloudpc.configuration.parsing import parse_surroundings
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.cloud_pc import DesiredCloudPC, PolicySettings, RecordedCloudPC
from cloudpc.model.outcome import Outcome
from cloudpc.operations import runtime as runtimes
from cloudpc.operations.runtime import Runtime
from cloudpc.operations.steps import Steps
from cloudpc.provisioning.resources import Resources
from cloudpc.rules.entitlement import Entitlement, Loss, Lost
from cloudpc.rules.lifecycle import makes_machine, reconcile
from tests.support.fake_settings import write_settings

from . import make
from .fake_rim import Lines, image

_ASKED = (
    "capacity", "claim", "make", "finish", "describe", "overview", "owned", "unreadable", "remnants", "discard",
    "delete",
)  # fmt: skip

_CONNECTING = threading.Lock()
"""Two fleets at once put the same name into the same place."""
_AT_ONCE = 32
"""As many as the engine does."""


class Counted(FakeHost):
    """A host that counts what it is asked from outside."""

    def __init__(self, config: FakeHostConfig) -> None:
        super().__init__(config)
        self.asked: Counter[str] = Counter()
        """By call."""
        self._counting = threading.Lock()
        self._inside = threading.local()


def _counted(name: str) -> Callable[..., Any]:
    call = getattr(FakeHost, name)

    @wraps(call)
    def counted(self: Counted, *args: Any, **more: Any) -> Any:
        if getattr(self._inside, "is_asked", False):
            return call(self, *args, **more)
        self._inside.is_asked = True
        with self._counting:
            self.asked[name] += 1
        try:
            return call(self, *args, **more)
        finally:
            self._inside.is_asked = False

    return counted


for _name in _ASKED:
    setattr(Counted, _name, _counted(_name))


class _Told(Lines):
    def ended(self, outcome: Outcome, seconds: float) -> None:
        del outcome, seconds


class _Runtime(Runtime):
    def resources(self, settings: PolicySettings) -> Resources:
        return replace(super().resources(settings), image=lambda _watch: image(), forms={}, taking=None)


class Fleet:
    """So many Cloud PCs on hosts of files.

    Args:
        folder: of the hosts.
        count: of Cloud PCs.
        hosts: how many; another fleet may be on the same.
        policy: its id, after which its users are named.
    """

    def __init__(self, folder: Path, count: int, hosts: int = 1, policy: str = "lab") -> None:
        self.folder, self.policy = folder, policy
        self.owed = [Entitlement(make.user(f"{policy}-{number}", "small"), make.plan()) for number in range(count)]
        self.entries = [{"name": f"h{number}", "uri": f"fake://{folder}/h{number}"} for number in range(hosts)]
        self.recorded: dict[str, RecordedCloudPC] = {}
        self.hosts: list[Counted] = []

    def run(self, *, entitled: bool = True, generation: int = 1, days: float = 0) -> None:
        """A run as the engine has the provider do it; `hosts` are this run's."""
        desired = self._planned(entitled=entitled, generation=generation, days=days)

        def one(steps: Steps, each: DesiredCloudPC) -> RecordedCloudPC:
            recorded = self.recorded.get(each.key)
            made = steps.provision(each) if recorded is None else steps.update(recorded, each)
            if recorded is None or makes_machine(recorded, each):
                steps.runtime.hand_over(str(made.machine_id), made.host)
            return made

        self._all(one, desired, days)

    def refresh(self) -> None:
        """`pulumi refresh`."""
        self._all(Steps.refresh, list(self.recorded.values()), 0)

    def set_host(self, number: int, **settings: Any) -> None:
        """What its `host.json` says."""
        folder = self.folder / f"h{number}"
        folder.mkdir(parents=True, exist_ok=True)
        write_settings(folder, settings)

    def lose(self) -> None:
        """Somebody takes all machines off their hosts, and leaves their disks."""
        for host in self.entries:
            shutil.rmtree(self.folder / host["name"] / "machines")

    def _all(self, one: Callable[[Steps, Any], RecordedCloudPC], each: Sequence[Any], days: float) -> None:
        with _CONNECTING, mock.patch.object(runtimes, "connect", Counted):
            runtime = _Runtime(parse_surroundings({"cloudpc:hosts": self.entries}), self.folder)
        self.hosts = runtime.hosts  # type: ignore[assignment]
        steps = Steps(runtime, _Told(), Cancellation(), now=lambda: make.NOW + timedelta(days=days))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            self.recorded = {pc.key: pc for pc in pool.map(partial(one, steps), each)}

    def _planned(self, *, entitled: bool = True, generation: int = 1, days: float = 0) -> Sequence[DesiredCloudPC]:
        keys = [each.key for each in self.owed]
        asked = make.asked(reprovision=dict.fromkeys(keys, generation)) if generation > 1 else {}
        today = make.today(policy_id=self.policy, actions=asked)
        lost = {} if entitled else dict.fromkeys(keys, Loss(Lost.MEMBERSHIP))
        plan = reconcile(self.recorded, self.owed if entitled else [], lost, today, make.NOW + timedelta(days=days))
        return plan.desired

    @property
    def asked(self) -> Counter[str]:
        """What the hosts of the last run were asked."""
        return sum((host.asked for host in self.hosts), Counter())
