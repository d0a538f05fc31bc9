"""Entra and a domain in this process: what pipeline and removal ask of them, with errors and hooks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence, Set
from uuid import UUID

from cloudpc.model.cancellation import Cancellation
from cloudpc.model.devices import (
    ComputerAccount,
    Controller,
    Join,
    NewDevice,
    OwnedDevice,
    RegisteredDevice,
    TemporaryAccessPass,
)
from cloudpc.model.errors import ProvisioningError
from cloudpc.provisioning.registration import AccessPass, Registration


class Organisation:
    """Entra and one domain in memory; each call may be given errors to raise, one a time."""

    def __init__(self) -> None:
        self.devices: dict[UUID, NewDevice] = {}
        self.enabled: dict[str, bool] = {}
        self.calls: list[str] = []
        self.errors: dict[str, list[ProvisioningError]] = {}
        self.hooks: dict[str, Callable[[], None]] = {}
        self.passes: list[str] = []
        self.besides: list[Set[str]] = []
        self.cancelled_by: list[Cancellation] = []
        self.removed: list[RegisteredDevice | None] = []
        """What was remembered of each device that was to go."""
        self.marks: list[str] = []
        """Of each device that was to go."""
        self.tenant_id = ""

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if hook := self.hooks.get(name):
            hook()
        if waiting := self.errors.get(name):
            raise waiting.pop(0)

    def tenant(self) -> str:
        return self.tenant_id

    def known(self, display_name: str, mark: str = "") -> frozenset[str]:
        return frozenset(str(id_) for id_, device in self.devices.items() if device.display_name == display_name)

    def register(
        self, device: NewDevice, timeout: float, cancel: Cancellation, besides: Set[str] = frozenset()
    ) -> RegisteredDevice:
        self.besides.append(besides)
        self.cancelled_by.append(cancel)
        self.devices[device.device_id] = device
        self._call("register")
        name, id_ = device.display_name, str(device.device_id)
        return RegisteredDevice(registration="record", display_name=name, id="object", device_id=id_)

    def remove(self, display_name: str, device_id: UUID, recorded: RegisteredDevice | None, mark: str = "") -> None:
        self.removed.append(recorded)
        self.marks.append(mark)
        self._call("remove")
        self.devices.pop(device_id, None)

    def issue_pass(self, user_id: str, lifetime_in_minutes: int, *, usable_once: bool) -> TemporaryAccessPass | None:
        self._call("issue_pass")
        if user_id in self.passes:
            return None
        self.passes.append(user_id)
        return TemporaryAccessPass("id", "the pass", "now", lifetime_in_minutes, usable_once)

    def prepare_join(self, computer: str, owner: str) -> Join:
        self.enabled[computer] = True
        self._call("prepare_join")
        account = ComputerAccount(connection="hq", name=computer, object_guid="guid", distinguished_name="CN=x")
        return Join(account, "corp.test", "one-time", Controller("dc.corp.test"))

    def disable(self, computer: str, recorded: ComputerAccount | None, owner: str) -> None:
        self._call("disable")
        if computer in self.enabled:
            self.enabled[computer] = False

    def owned(self, installation: str, besides: Collection[str] = ()) -> Sequence[OwnedDevice]:
        return []

    def close(self) -> None: ...

    def registration(self, *, access_pass: bool = False) -> Registration:
        return Registration(
            devices=self, domain=lambda _name: self, access_pass=AccessPass(30) if access_pass else None
        )
