"""Linux with cloud-init, a shell and ssh."""

# ruff: noqa: D102 - the protocol says what each call means

from __future__ import annotations

from datetime import datetime

from cloudpc.guests.linux import extras, facts, first_boot, first_boot_end, join, names, troubleshooting
from cloudpc.guests.linux import password as _password
from cloudpc.model.cloud_pc import Account, PolicySettings
from cloudpc.model.devices import Join
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.guests import Completed, Extra, Facts, Finding, GuestOS, Script, Seed, Troubleshoots


class Linux(GuestOS, Troubleshoots):
    """Implements `cloudpc.model.guests.GuestOS`; says there what each call means."""

    @property
    def family(self) -> str:
        return "Linux"

    def boots(self, image_kind: str) -> bool:
        del image_kind  # cloud-init reads all of them
        return True

    @property
    def without_proof(self) -> str:
        return f"the guest has no SSH host key (ed25519) at {facts.HOST_KEY}"

    def account_name(self, username: str) -> str:
        return names.account_name(username)

    def seed(self, *, instance_id: str, device_name: str, account: Account, local_admin: bool) -> Seed:
        return first_boot.seed(
            instance_id=instance_id, device_name=device_name, account=account, local_admin=local_admin
        )

    def first_boot(self, seconds: float) -> Script:
        return first_boot_end.script(seconds)

    def first_boot_problem(self, ended: Completed) -> ProvisioningError | None:
        return first_boot_end.problem(ended)

    def password(self, user: str, password: str) -> Script:
        return _password.script(user, password)

    def extras(self, settings: PolicySettings, script: bytes | None) -> list[Extra]:
        return extras.wanted(settings, script)

    def join(self, terms: Join) -> Script:
        return join.script(terms)

    def facts(self) -> Script:
        return facts.script()

    def read(self, said: str) -> Facts:
        return facts.read(said)

    def troubleshoot(self, now: datetime) -> Script:
        return troubleshooting.script(now)

    def findings(self, said: str) -> list[Finding]:
        return troubleshooting.read(said)
