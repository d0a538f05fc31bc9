"""A Cloud PC as values: what it is asked to be, and what state remembers of it. Graph's names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator

from cloudpc.model.access import IN_OUTPUTS, Access, from_outputs
from cloudpc.model.credentials import RecordedCredentials
from cloudpc.model.devices import ComputerAccount, RegisteredDevice
from cloudpc.model.errors import EXTRAS, ErrorCode
from cloudpc.model.identity import Identity
from cloudpc.model.image import QCOW2
from cloudpc.model.recorded import Recorded


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
WITH_MACHINE = USABLE | {Status.IN_GRACE_PERIOD}
"""There is a machine with its user's data on it."""
LEAVING = frozenset({Status.IN_GRACE_PERIOD, Status.DEPROVISIONING})
"""Its user is no longer entitled."""


class PlanSize(Recorded):
    """The service plan a Cloud PC was made for."""

    id: str
    display_name: str
    v_cpu_count: int
    ram_in_gb: float = Field(alias="ramInGB")
    storage_in_gb: int = Field(alias="storageInGB")

    @property
    def memory_mib(self) -> int:
        """Its memory as hosts count it."""
        return round(self.ram_in_gb * 1024)


class NetworkChoice(Recorded):
    """One of the networks that may be used, in the policy's order."""

    kind: str
    source: str = ""
    """Kind and source as a Network has them."""
    connection: str = ""
    """Name of the file in connections/, whose health is looked at before; none for `regionName: automatic`."""
    domain_join_type: Literal["azureADJoin", "hybridAzureADJoin"] = "azureADJoin"

    @property
    def joins_domain(self) -> bool:
        """Whether Cloud PCs become members of the connection's domain."""
        return self.domain_join_type == "hybridAzureADJoin"


class PinnedScript(Recorded):
    """The post-provisioning script: which file, and what it held when the policy was read."""

    path: str
    sha256: str


class PolicySettings(Recorded):
    """The policy's current settings for a new Cloud PC. Pinned in its outputs once it is made (rule 3)."""

    provisioning_policy_name: str
    image_type: Literal["gallery", "custom"]
    image_id: str
    image_digest: str
    """Of its contents, in the form of the kind `image_kind`."""
    image_kind: str = QCOW2
    """Of the form that the policy's first host takes; of one that is made, of the form that its machine was made of."""
    image_forms: dict[str, str] = {}
    """Where other hosts of the policy take other kinds: the digest of its form of each, by kind."""
    guest_os: str = Field(default="linux", alias="guestOS")
    """The system of the image's guests, by its name in cloudpc.guests."""
    has_desktop: bool = False
    """Whether the image's guests serve a desktop by RDP on their loopback."""
    networks: tuple[NetworkChoice, ...]
    locale: str
    time_zone: str
    local_admin_enabled: bool
    packages: tuple[str, ...] = ()
    script: PinnedScript | None = None
    start_from: Literal["template", "boot"] = "boot"
    first_boot_in_seconds: float
    set_up_in_seconds: float

    @property
    def image_digests(self) -> Mapping[str, str]:
        """Of all forms of the image, by kind."""
        return {self.image_kind: self.image_digest, **self.image_forms}

    @property
    def has_one_file(self) -> bool:
        """Whether its image is a file and nothing else, as all once were."""
        return self.image_kind == QCOW2 and not self.image_forms

    def of_kind(self, kind: str) -> PolicySettings:
        """With this form of the image alone."""
        return self.model_copy(update={"image_kind": kind, "image_digest": self.image_digests[kind], "image_forms": {}})


class Account(Recorded):
    """The user's account in the guest."""

    name: str
    display_name: str
    ssh_public_keys: tuple[str, ...] = ()


class DesiredCloudPC(Recorded):
    """The inputs of a CloudPC resource."""

    policy_id: str
    installation: str
    user_id: str
    user_principal_name: str
    desired_status: Status = Status.PROVISIONED
    why: str = ""
    """Why it is to be in grace or ended, in words."""
    grace_period_end_date_time: datetime | None = None
    generation: int = 1
    """Goes up with each reprovision (`cloudpc:actions`)."""
    waived_generation: int = 0
    """What was asked for up to this generation is over without a reprovision: its user came back from grace."""
    retry: int = 0
    """Goes up with each retry of a failed one, or of what failed of its set-up."""
    kernel_generation: int = 0
    """Goes up with each move to another build's kernel."""
    kernel_digest: str = ""
    """The build of its image that its kernel comes from, where that is another than its disk's."""
    desired_power_state: Literal["running", "poweredOff"] = "running"
    """What an admin wants: one that is to be off is started by no run."""
    actions: dict[str, int] = {}
    """Of each other remote action, by its name (`cloudpc.rules.actions`): goes up each time it is asked for."""
    action_arguments: dict[str, dict[str, Any]] = {}
    """Of each remote action that takes some, by its name: what it was asked for with last."""
    device_name: str
    account: Account
    service_plan: PlanSize
    settings: PolicySettings

    @property
    def identity(self) -> Identity:
        """Which Cloud PC it is, and which generation of it."""
        return Identity(self.installation, self.user_id, self.service_plan.id, self.generation, self.device_name)

    @property
    def key(self) -> str:
        """`<user id>/<service plan id>`."""
        return self.identity.key

    @property
    def machine_id(self) -> UUID:
        """Its machine's."""
        return self.identity.machine_id


class StatusDetail(Recorded):
    """Graph's `cloudPcStatusDetail`: why the status is what it is."""

    code: str
    message: str
    additional_information: dict[str, str] = {}


class Before(Recorded):
    """What a Cloud PC was before a refresh saw that something is wrong with its machine."""

    status: Status
    status_detail: StatusDetail | None = None


class RecordedCloudPC(DesiredCloudPC):
    """A Cloud PC as state remembers it: all of it, also what a newer version has added."""

    model_config = ConfigDict(extra="allow")

    status: Status
    status_detail: StatusDetail | None = None
    last_modified_date_time: datetime | None = None
    """When it came to have its status."""
    attempts: int = 0
    host: str = ""
    access: Access | None = None
    """How its user gets to it, also while its machine is lost; None where there is nothing to get to."""
    credentials: RecordedCredentials | None = Field(default=None, repr=False)
    """Only where they were asked for, or are about to be recorded."""
    facts: dict[str, str] = {}
    """What its host says of its machine beside what a Cloud PC is made of, such as the machine's name there."""
    on_premises_connection_name: str = ""
    """Graph's name of the network connection that it was made through; empty for the hosted network."""
    status_before_grace: Status | None = None
    before_loss: Before | None = None
    """While its machine is lost: what it is again if the machine comes back."""
    before_change: Before | None = None
    """While its machine is not the size of its service plan: what it is again once it is."""
    power_state: Literal["running", "poweredOff", "paused", "deallocated"] = "running"
    """As the last run or refresh saw it; Graph's values, `paused`, and `deallocated`: off, and left so."""
    paused_because: str = ""
    """Why it is paused, in words."""
    billed_while_off: bool = False
    """Whether it was off and its host billed it as if it ran."""
    leftovers: tuple[str, ...] = ()
    """What could not be removed yet when it ended; tried again at each run."""
    device: RegisteredDevice | None = None
    computer: ComputerAccount | None = None
    events: tuple[str, ...] = ()
    """Its last changes, oldest first: when, to which status, why."""

    @model_validator(mode="before")
    @classmethod
    def _with_access(cls, values: Any) -> Any:
        """How it is reached, from the outputs that say so."""
        if not (isinstance(values, Mapping) and "connection" in values):
            return values
        return {name: value for name, value in values.items() if name not in IN_OUTPUTS} | {
            "access": from_outputs(values)
        }

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Without what this version does not know: it may be secret."""
        return ((name, value) for name, value in super().__repr_args__() if name in type(self).model_fields)

    @property
    def is_gone(self) -> bool:
        """Whether it has ended without leaving anything: its entry may go."""
        return self.status is Status.DEPROVISIONING and not self.leftovers

    @property
    def status_if_there(self) -> Status:
        """Its status; where its machine is lost, the status that it returns to if the machine comes back."""
        return self.before_loss.status if self.is_lost and self.before_loss else self.status

    @property
    def stands_still(self) -> bool:
        """Whether its machine is there and does not work, so that it has to be started or resumed."""
        wanted = self.desired_power_state == "running"
        return wanted and self.status in WITH_MACHINE and self.power_state in ("poweredOff", "paused")

    @property
    def is_kept_off(self) -> bool:
        """Whether its machine is off, as an admin wants it."""
        wanted = self.desired_power_state == "poweredOff"
        return wanted and self.status in WITH_MACHINE and self.power_state != "running"

    @property
    def is_leaving(self) -> bool:
        """Whether its user is no longer entitled, as the last run knew it."""
        return self.status_if_there in LEAVING

    @property
    def is_lost(self) -> bool:
        """Whether the last look found no machine where one should be."""
        return self._failed_with(ErrorCode.MACHINE_LOST)

    @property
    def is_not_in_state(self) -> bool:
        """Whether its user has a machine that is unknown to state, which a run neither makes again nor deletes."""
        return self._failed_with(ErrorCode.MACHINE_NOT_IN_STATE)

    @property
    def failed_extras(self) -> frozenset[ErrorCode]:
        """What of its set-up failed on a machine that works; all of it where state is too old to say what."""
        detail = self.status_detail
        if self.status is not Status.PROVISIONED_WITH_WARNINGS or detail is None or detail.code not in EXTRAS:
            return frozenset()
        failed = detail.additional_information.get("failed", " ".join(EXTRAS)).split()
        return frozenset(code for code in EXTRAS if code in failed)

    @property
    def has_machine(self) -> bool:
        """Whether state knows of a machine that its user was given, even if it is lost or could not be removed yet."""
        if self.status is Status.DEPROVISIONING:
            return bool(self.host and self.leftovers)
        return self.status in WITH_MACHINE or self.is_lost

    def has_code(self, code: ErrorCode) -> bool:
        """Whether this is the code of its `statusDetail`."""
        return self.status_detail is not None and self.status_detail.code == code

    def _failed_with(self, code: ErrorCode) -> bool:
        return self.status is Status.FAILED and self.has_code(code)
