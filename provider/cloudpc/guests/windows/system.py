"""Windows with PowerShell and remote desktop, booted by a cloud."""

# ruff: noqa: D102 - the protocol says what each call means

from __future__ import annotations

from cloudpc.guests.windows import accounts, extras, facts, first_boot_end
from cloudpc.model.cloud_pc import Account, PolicySettings
from cloudpc.model.devices import Join
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Extra, Facts, GuestOS, Script, Seed
from cloudpc.model.image import QCOW2


class Windows(GuestOS):
    """Implements `cloudpc.model.guests.GuestOS`; says there what each call means."""

    @property
    def family(self) -> str:
        return "Windows"

    def boots(self, image_kind: str) -> bool:
        return image_kind != QCOW2  # only clouds have an agent in it that reads its seed

    @property
    def without_proof(self) -> str:
        return "the guest has no certificate for remote desktop"

    def account_name(self, username: str) -> str:
        return accounts.account_name(username)

    def seed(self, *, instance_id: str, device_name: str, account: Account, local_admin: bool) -> Seed:  # noqa: ARG002
        return accounts.seed(account=account, local_admin=local_admin)  # its host names it

    def first_boot(self, seconds: float) -> Script:
        return first_boot_end.script(seconds)

    def first_boot_problem(self, ended: Completed) -> ProvisioningError | None:
        return first_boot_end.problem(ended)

    def password(self, user: str, password: str) -> Script:
        return accounts.password(user, password)

    def extras(self, settings: PolicySettings, script: bytes | None) -> list[Extra]:
        return extras.wanted(settings, script)

    def join(self, terms: Join) -> Script:
        raise ProvisioningError(
            ErrorCode.DOMAIN_JOIN_FAILED,
            f"Windows guests can't join {terms.domain} yet.",
            retriable=False,
            hint="Windows guests join Microsoft Entra: domainJoinType azureADJoin, with devices.registration adopt.",
        )

    def facts(self) -> Script:
        return facts.script()

    def read(self, said: str) -> Facts:
        return facts.read(said)
