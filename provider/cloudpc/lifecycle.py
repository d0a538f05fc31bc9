"""What becomes of each Cloud PC: previous state and entitlements in, desired Cloud PCs out. Pure.

Now: who gets one, who keeps one, what is tried again. Grace periods, reprovisioning, retry and the end of a Cloud PC
have their place here (design section 5) and come with the issue on the whole life.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from cloudpc import naming
from cloudpc.entitlement import Entitlement


class Status(StrEnum):
    """Graph's `cloudPC.status`, as far as it is used here."""

    NOT_PROVISIONED = "notProvisioned"
    PENDING_PROVISION = "pendingProvision"
    PROVISIONING = "provisioning"
    PROVISIONED = "provisioned"
    PROVISIONED_WITH_WARNINGS = "provisionedWithWarnings"
    FAILED = "failed"
    IN_GRACE_PERIOD = "inGracePeriod"
    DEPROVISIONING = "deprovisioning"


USABLE = frozenset({Status.PROVISIONED, Status.PROVISIONED_WITH_WARNINGS})
"""There is a machine that its user can sign in to."""
WAITING = frozenset({Status.NOT_PROVISIONED, Status.PENDING_PROVISION})
"""There is no machine yet; each run tries again."""


class _Value(BaseModel):
    # values pass through Pulumi's state, where every number is a float: hence not strict
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class PlanSize(_Value):
    """The service plan a Cloud PC was made for."""

    id: str
    display_name: str
    v_cpu_count: int
    ram_in_gb: float = Field(alias="ramInGB")
    storage_in_gb: int = Field(alias="storageInGB")


class NetworkChoice(_Value):
    """One of the networks that may be used, in the policy's order."""

    kind: Literal["hosted", "network", "bridge"]
    source: str = ""


class Script(_Value):
    """The post-provisioning script: which file, and what it held when the policy was read."""

    path: str
    sha256: str


class PolicySettings(_Value):
    """What today's policy says a new Cloud PC is made like. Pinned in its outputs once it is made (design rule 3)."""

    provisioning_policy_name: str
    image_type: Literal["gallery", "custom"]
    image_id: str
    image_digest: str
    networks: tuple[NetworkChoice, ...]
    locale: str
    time_zone: str
    local_admin_enabled: bool
    packages: tuple[str, ...] = ()
    script: Script | None = None
    first_boot_in_seconds: float
    set_up_in_seconds: float


class Account(_Value):
    """The user's account in the guest."""

    name: str
    display_name: str
    ssh_public_keys: tuple[str, ...] = ()


class DesiredCloudPC(_Value):
    """The inputs of a CloudPC resource."""

    policy_id: str
    installation: str
    user_id: str
    user_principal_name: str
    desired_status: Status = Status.PROVISIONED
    generation: int = 1
    device_name: str
    account: Account
    service_plan: PlanSize
    settings: PolicySettings

    @property
    def key(self) -> str:
        """`<user id>/<service plan id>`."""
        return f"{self.user_id}/{self.service_plan.id}"


class StatusDetail(_Value):
    """Graph's `cloudPcStatusDetail`: why the status is what it is."""

    code: str
    message: str
    additional_information: dict[str, str] = {}


class RecordedCloudPC(DesiredCloudPC):
    """A Cloud PC as state remembers it, as far as decisions need it."""

    status: Status
    status_detail: StatusDetail | None = None
    host: str = ""


class Step(StrEnum):
    """What the provider has to do to get from what is recorded to what is desired."""

    NONE = "none"
    PROVISION = "provision"


def next_step(recorded: RecordedCloudPC, desired: DesiredCloudPC) -> Step:
    """Only what is waiting is tried again; a failed one stays failed, an existing one stays as it is."""
    if desired.desired_status is Status.PROVISIONED and recorded.status in WAITING:
        return Step.PROVISION
    return Step.NONE


@dataclass(frozen=True)
class Notice:
    """Something the admin should know about a Cloud PC before or after a run."""

    key: str
    message: str


@dataclass(frozen=True)
class Reconciliation:
    """The desired Cloud PCs of one policy, and what to tell about them."""

    desired: tuple[DesiredCloudPC, ...]
    notices: tuple[Notice, ...]


@dataclass(frozen=True)
class Today:
    """What new Cloud PCs of a policy are made with, now."""

    policy_id: str
    installation: str
    naming_template: str
    settings: PolicySettings


def reconcile(previous: Mapping[str, RecordedCloudPC], entitled: Iterable[Entitlement], today: Today) -> Reconciliation:
    """Decide for every Cloud PC that is recorded or owed.

    Args:
        previous: what this policy's state remembers, by key.
        entitled: what the policy owes now.
        today: the policy as it is now.
    """
    owed = {e.key: e for e in entitled}
    taken = {p.device_name.lower() for p in previous.values()}
    desired: list[DesiredCloudPC] = []
    notices: list[Notice] = []
    for key in sorted(previous.keys() | owed.keys()):
        recorded, entitlement = previous.get(key), owed.get(key)
        if recorded is None or (recorded.status in WAITING and entitlement is not None):
            assert entitlement is not None  # noqa: S101 - the key comes from one of the two
            taken.discard(recorded.device_name.lower() if recorded else "")
            new = _new(entitlement, today, taken)
            taken.add(new.device_name.lower())
            desired.append(new)
            if recorded is not None and recorded.status_detail:
                who = f"{entitlement.user.user_principal_name} ({entitlement.service_plan.display_name})"
                why = f"{recorded.status}: {recorded.status_detail.message}; tried again"
                notices.append(Notice(key, f"{who}: {why}"))
            continue
        unchanged = DesiredCloudPC.model_validate(recorded.model_dump())
        if entitlement is not None:
            # a renamed user keeps the Cloud PC; only the name it is shown under follows
            name = entitlement.user.user_principal_name
            desired.append(unchanged.model_copy(update={"user_principal_name": name}))
        elif recorded.status in WAITING:
            desired.append(unchanged.model_copy(update={"desired_status": Status.NOT_PROVISIONED}))
            notices.append(Notice(key, f"{recorded.user_principal_name} is no longer entitled; none will be made"))
        else:
            desired.append(unchanged)
            notices.append(Notice(key, f"{recorded.user_principal_name} is no longer entitled; kept unchanged for now"))
    return Reconciliation(tuple(desired), tuple(notices))


def _new(entitlement: Entitlement, today: Today, taken: set[str]) -> DesiredCloudPC:
    user, plan, generation = entitlement.user, entitlement.service_plan, 1
    seed = "\0".join((today.installation, user.id, plan.id, str(generation)))
    return DesiredCloudPC(
        policy_id=today.policy_id,
        installation=today.installation,
        user_id=user.id,
        user_principal_name=user.user_principal_name,
        generation=generation,
        device_name=naming.device_name(today.naming_template, user.username, seed, taken),
        account=Account(
            name=naming.account_name(user.username),
            display_name=user.display_name,
            ssh_public_keys=user.ssh_public_keys,
        ),
        service_plan=PlanSize(
            id=plan.id,
            display_name=plan.display_name,
            v_cpu_count=plan.vcpu_count,
            ram_in_gb=plan.ram_in_gb,
            storage_in_gb=plan.storage_in_gb,
        ),
        settings=today.settings,
    )
