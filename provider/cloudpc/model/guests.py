"""What is done in a guest: complete scripts, sent together, since a cloud limits how often it runs one.

A `Guest` is reached through its host; a `GuestOS` says what to run in it, and what its answers mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable
from uuid import UUID

from cloudpc.model.cloud_pc import Account, PolicySettings
from cloudpc.model.devices import Join
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.text import told
from cloudpc.model.watch import Watch

_NAME = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class Script:
    """A script that root runs in a guest. What it says is its output and its errors alike.

    Args:
        text: of it; hosts and logs may show it, so it holds no secret.
        timeout: seconds it may take; what it has started ends with it.
        title: what users see while it runs; empty: nothing.
        name: what it calls itself.
        arguments: reach it as they are; no secrets either.
        stdin: what it reads; no secret either.
        secrets: variables of its environment, by name; nothing but its own processes sees them.
        interpreter: what is started, by default in a session of its own; the text, the name and the arguments follow.
        repeatable: running it twice does no harm, so that a guest that does not answer may be asked again.
    """

    text: str
    timeout: float
    title: str = ""
    name: str = "script"
    arguments: tuple[str, ...] = ()
    stdin: bytes = field(default=b"", repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    interpreter: tuple[str, ...] = ("setsid", "/bin/sh", "-c")
    repeatable: bool = False

    def __post_init__(self) -> None:
        for name in self.secrets:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a variable's name")

    @property
    def argv(self) -> tuple[str, ...]:
        """What is started in the guest."""
        return (*self.interpreter, self.text, self.name, *self.arguments)


@dataclass(frozen=True)
class Completed:
    """A script that ended in the guest, by itself or because its time was over."""

    exit_code: int
    output: str
    """The end of what it said; where it took too long, how long that was, in words."""
    timed_out: bool = False


class Guest(Protocol):
    """The guest of one machine, which runs."""

    def run(self, scripts: Sequence[Script], watch: Watch) -> list[Completed]:
        """Run these in this order, each whatever became of those before; a host may send them as one.

        Where it can, the host reports each one's title while it runs. One that is not over in its time, or by the
        watch's deadline, is ended.

        Raises:
            ProvisioningError: GUEST_DIED, GUEST_AGENT_LOST, HOST_UNREACHABLE: what has run by then is not known.
            Cancelled: what ran then is ended.
        """


@runtime_checkable
class SetsPasswords(Protocol):
    """A guest whose host sets passwords by itself; in others a script of their system does."""

    def set_password(self, user: str, password: str, watch: Watch) -> None:
        """Set an account's password, so that it is in no seed, log or command line.

        Raises:
            ProvisioningError: CREDENTIALS_FAILED; others as `run`.
        """


@dataclass(frozen=True)
class Seed:
    """NoCloud data for the first boot: public material only, never a secret."""

    meta_data: str
    user_data: str


@dataclass(frozen=True)
class Extra:
    """A part of the set-up whose failure leaves a usable Cloud PC, with a warning of this code; None: without one."""

    script: Script
    code: ErrorCode | None


@dataclass(frozen=True)
class Warned:
    """An extra that failed."""

    code: ErrorCode
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", told(self.message))  # of what a guest's programs have said


@dataclass(frozen=True)
class Facts:
    """What a guest says of itself.

    Args:
        version: of its system, as people call it; empty: not known.
        proof: what whoever connects knows it by: Linux' ssh host key, as type and key; empty: it has none.
        device_id: which device of Entra it has joined as, if it says so.
        desktop: SHA-256 of its desktop's certificate, in hex; empty: it serves none.
    """

    version: str = ""
    proof: str = ""
    device_id: UUID | None = None
    desktop: str = ""


class GuestOS(Protocol):
    """A system that guests run: what is particular to it, and pure. One folder of cloudpc/guests each."""

    @property
    def family(self) -> str:
        """What Graph calls it as a device's operatingSystem."""

    def boots(self, image_kind: str) -> bool:
        """Whether images of this kind may have it: what hosts that take them make of a seed, its first boot reads."""

    @property
    def without_proof(self) -> str:
        """Said of a guest whose facts hold no proof of its identity."""

    def account_name(self, username: str) -> str:
        """The account of a user: the part of the userPrincipalName before the @, as this system allows it."""

    def seed(self, *, instance_id: str, device_name: str, account: Account, local_admin: bool) -> Seed:
        """What its first boot reads; the account gets its password later."""

    def first_boot(self, seconds: float) -> Script:
        """Waits for the end of a boot's set-up, so long at most; for hosts that don't see it themselves."""

    def first_boot_problem(self, ended: Completed) -> ProvisioningError | None:
        """What the script of `first_boot` has found wrong: BOOT_TIMEOUT, FIRST_BOOT_FAILED; None where all is well."""

    def password(self, user: str, password: str) -> Script:
        """Sets an account's password, which is among its secrets alone; other than 0 where it could not."""

    def extras(self, settings: PolicySettings, script: bytes | None) -> list[Extra]:
        """What a policy asks for beyond the image; `script` is its post-provisioning script, if it has one."""

    def join(self, terms: Join) -> Script:
        """Joins a domain: the account is there, and only the guest knows its password afterwards."""

    def facts(self) -> Script:
        """Asks what `read` understands; also good to wait until a guest that is busy answers."""

    def read(self, said: str) -> Facts:
        """What the script of `facts` printed; whoever controls the guest may have written it."""


@dataclass(frozen=True)
class Finding:
    """Something that was wrong with a Cloud PC.

    Args:
        what: in words; if it was fixed, how.
        mended: whether it works again.
    """

    what: str
    mended: bool


@runtime_checkable
class Troubleshoots(Protocol):
    """A system whose guests can be inspected from inside and repaired; others are only seen from outside."""

    def troubleshoot(self, now: datetime) -> Script:
        """Checks disk, clock and ways in, and repairs what it can; `now` is what its clock should say."""

    def findings(self, said: str) -> list[Finding]:
        """What that script printed; whoever controls the guest may have written it."""
