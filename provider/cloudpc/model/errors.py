"""What can go wrong: one base for all errors that people read, and codes for what goes wrong with a Cloud PC.

Windows 365 publishes titles but no codes for its provisioning errors; these are ours, written in the style of
Graph's `statusDetail.code`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from cloudpc.model.masking import masked
from cloudpc.model.stages import Stage
from cloudpc.model.text import plain, told, with_hint

log = logging.getLogger(__name__)


class CloudPCError(Exception):
    """What can go wrong in normal use: its text is for people, complete without a traceback."""

    is_bad_input = False
    """Whether what was given is wrong (the command line, a file), so that nothing was touched."""

    def whole(self) -> str:
        """All that is to be said of it on a terminal."""
        return str(self)


@dataclass(frozen=True)
class _Meaning:
    """What holds for a code wherever it comes up.

    Args:
        stage: where it belongs to, and so its chapter of docs/errors.md; None: anywhere.
        waits: whether placing that ends with it is no failure: the Cloud PC is pendingProvision, and each run tries.
        retriable: whether another attempt can end differently, unless an error says otherwise of itself.
        setting: of an extra of the set-up, without which a Cloud PC works all the same: what a policy asks for it with.
    """

    stage: Stage | None = None
    waits: bool = False
    retriable: bool = True
    setting: str = ""


class ErrorCode(StrEnum):
    """`statusDetail.code` of a Cloud PC that something is wrong with. docs/errors.md has a section for each.

    Why somebody has no Cloud PC although nothing is wrong is another matter: `rules.entitlement.NotOwed`.
    """

    meaning: _Meaning

    def __new__(cls, code: str, meaning: _Meaning) -> Self:
        """A text like any other, with its meaning."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    # of those that wait, the one that says most comes first
    MACHINE_GOING = "machineGoing", _Meaning(Stage.PLACING, waits=True)
    """Its host is still removing its previous machine."""
    HOST_REFUSES = "hostRefuses", _Meaning(Stage.PLACING, waits=True)
    """A cloud wants somebody to change something first: rights, a registration, a lock."""
    NO_CAPACITY = "noCapacity", _Meaning(Stage.PLACING, waits=True)
    CONNECTION_NOT_HEALTHY = "connectionNotHealthy", _Meaning(Stage.PLACING, waits=True)
    HOST_UNREACHABLE = "hostUnreachable", _Meaning(Stage.PLACING, waits=True)
    NETWORK_NOT_FOUND = "networkNotFound", _Meaning(Stage.PLACING, waits=True)
    POOL_UNUSABLE = "poolUnusable", _Meaning(Stage.PLACING, waits=True, retriable=False)
    DISALLOWED_BY_POLICY = "disallowedByPolicy", _Meaning(Stage.PLACING, retriable=False)
    """The organisation's own rules for its cloud, such as Azure Policy, forbid such a machine."""
    OTHER_POLICY_FIRST = "otherPolicyFirst", _Meaning(Stage.PLACING)
    """The user's Cloud PC of this service plan belongs to another policy (notProvisioned)."""
    MACHINE_NOT_IN_STATE = "machineNotInState", _Meaning(Stage.PLACING, retriable=False)
    """A machine that was handed over to its user is there, but this stack's state does not know it: adopting it, by
    `cloudpc adopt`, comes first."""
    TAG_UNREADABLE = "tagUnreadable", _Meaning(Stage.PLACING, retriable=False)
    """A machine with the Cloud PC's identity is there, and nothing readable says whose it is.

    A refresh sees it, too."""

    IMAGE_NOT_FOUND = "imageNotFound", _Meaning(Stage.IMAGE)
    IMAGE_INVALID = "imageInvalid", _Meaning(Stage.IMAGE, retriable=False)
    IMAGE_UPLOAD_FAILED = "imageUploadFailed", _Meaning(Stage.IMAGE)

    STORAGE_FULL = "storageFull", _Meaning(Stage.DISK)
    DISK_FAILED = "diskFailed", _Meaning(Stage.DISK)

    START_FAILED = "startFailed", _Meaning(Stage.STARTING)
    NO_FREE_PORT = "noFreePort", _Meaning(Stage.STARTING)

    GUEST_DIED = "guestDied", _Meaning(Stage.FIRST_BOOT)
    BOOT_TIMEOUT = "bootTimeout", _Meaning(Stage.FIRST_BOOT)
    FIRST_BOOT_FAILED = "firstBootFailed", _Meaning(Stage.FIRST_BOOT)

    GUEST_AGENT_LOST = "guestAgentLost", _Meaning(Stage.SET_UP)
    SET_UP_FAILED = "setUpFailed", _Meaning(Stage.SET_UP)
    TIME_ZONE_FAILED = "timeZoneFailed", _Meaning(Stage.SET_UP, setting="time_zone")
    PACKAGES_FAILED = "packagesFailed", _Meaning(Stage.SET_UP, setting="packages")
    LOCALE_FAILED = "localeFailed", _Meaning(Stage.SET_UP, setting="locale")
    POST_PROVISIONING_SCRIPT_FAILED = "postProvisioningScriptFailed", _Meaning(Stage.SET_UP, setting="script")

    DOMAIN_JOIN_FAILED = "domainJoinFailed", _Meaning(Stage.DOMAIN_JOIN)
    """Of policies with hybridAzureADJoin."""
    DEVICE_REGISTRATION_FAILED = "deviceRegistrationFailed", _Meaning(Stage.REGISTRATION)
    """Where cloudpc:devices asks for it."""
    DEVICE_NOT_FOUND = "deviceNotFound", _Meaning(Stage.REGISTRATION)
    CREDENTIALS_FAILED = "credentialsFailed", _Meaning(Stage.CREDENTIALS)

    HYPERVISOR_ERROR = "hypervisorError", _Meaning()
    INTERNAL_ERROR = "internalError", _Meaning()

    # seen by a run or a refresh
    MACHINE_LOST = "machineLost", _Meaning()
    """Its machine is gone, usually with its data: only a reprovision makes it again."""
    MACHINE_CHANGED = "machineChanged", _Meaning()
    """Its machine no longer has the size of its service plan."""


WAITING_CODES = tuple(code for code in ErrorCode if code.meaning.waits)
"""Where placing ends with these, nothing was wrong with the Cloud PC. The one that says most comes first."""
EXTRAS = tuple(code for code in ErrorCode if code.meaning.setting)
"""Warnings: what a policy asks for beyond the image has failed."""


class ProvisioningError(CloudPCError):
    """A stage of provisioning failed.

    Args:
        code: which page of docs/errors.md applies.
        message: one or two sentences for the admin, complete without a traceback.
        retriable: whether another attempt can end differently (a wrong checksum can't, a dead guest may); without, as
            a rule of the code's.
        hint: what to do about it, where more can be said than the page of the code says.
        console: the tail of the guest's console, where it helps.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, retriable: bool | None = None, hint: str = "", console: str = ""
    ) -> None:
        self.code = code
        self.message = told(message)
        self.retriable = code.meaning.retriable if retriable is None else retriable
        self.hint = told(hint)
        self.console = masked(plain(console))
        super().__init__(self.message)

    def adding(self, text: str) -> Self:
        """The same, with what else is to be said."""
        self.message = told(with_hint(self.message, text))
        self.args = (self.message,)
        return self

    def whole(self) -> str:
        """With its code, to be looked up, and what to do."""
        return f"{self.message} [{self.code}]" + (f"\n{self.hint}" if self.hint else "")


class TagUnreadable(ProvisioningError):  # noqa: N818 - an answer as well: it is neither there nor gone
    """A machine with a Cloud PC's identity is on the host, but nothing readable says whose it is.

    Not an answer "no" to whether there is one: nothing of it may be deleted, and no second one be made.

    Args:
        machine: its name on the host.
        host: the host's name.
    """

    def __init__(self, machine: str, host: str) -> None:
        super().__init__(
            ErrorCode.TAG_UNREADABLE,
            f"{machine} on {host} has no readable tag, so its owner is unknown; it is left untouched",
            hint="if a newer version of cloudpc made it, use that version; `cloudpc doctor` says how to go on",
        )


class HostTaken(ProvisioningError):  # noqa: N818 - a state
    """Somebody else keeps the whole host for too long, whatever is asked of it."""


class Cancelled(Exception):  # noqa: N818 - not an error: the run was asked to stop
    """The run was cancelled (Ctrl-C, Pulumi's Cancel call): clean up, record nothing as failed."""


@contextmanager
def unexpected_told(what: str) -> Iterator[None]:
    """Whatever goes wrong in a driver must be reported, and must not stop everybody else's update.

    Raises:
        ProvisioningError: INTERNAL_ERROR for what should not happen; others, and Cancelled, as they are.
    """
    try:
        yield
    except (ProvisioningError, Cancelled):
        raise
    except Exception as error:
        log.exception("unexpected: %s", what)
        raise ProvisioningError(ErrorCode.INTERNAL_ERROR, f"unexpected {type(error).__name__}: {error}") from error
