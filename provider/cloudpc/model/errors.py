"""What can go wrong while a Cloud PC is provisioned, as codes with one page each in docs/errors.md.

Windows 365 publishes titles but no codes for its provisioning errors; these are ours, written in the style of
Graph's `statusDetail.code`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from cloudpc.model.masking import masked
from cloudpc.model.text import plain, told

log = logging.getLogger(__name__)


class ErrorCode(StrEnum):
    """`statusDetail.code` of a Cloud PC. docs/errors.md says for each what it means and what to do."""

    # placing: none of these is a failure, the Cloud PC is pendingProvision and tried again at the next run
    NO_CAPACITY = "noCapacity"
    MACHINE_GOING = "machineGoing"
    CONNECTION_NOT_HEALTHY = "connectionNotHealthy"
    HOST_UNREACHABLE = "hostUnreachable"
    # placing: the user's Cloud PC of this service plan belongs to another policy (notProvisioned)
    OTHER_POLICY_FIRST = "otherPolicyFirst"
    # placing: a machine that was handed over to its user is there, but this stack's state does not know it
    MACHINE_NOT_IN_STATE = "machineNotInState"
    # placing, refresh: a machine with the Cloud PC's identity is there, and nothing readable says whose it is
    TAG_UNREADABLE = "tagUnreadable"
    NETWORK_NOT_FOUND = "networkNotFound"
    POOL_UNUSABLE = "poolUnusable"
    # image
    IMAGE_NOT_FOUND = "imageNotFound"
    IMAGE_INVALID = "imageInvalid"
    IMAGE_UPLOAD_FAILED = "imageUploadFailed"
    # disk
    STORAGE_FULL = "storageFull"
    DISK_FAILED = "diskFailed"
    # starting
    START_FAILED = "startFailed"
    NO_FREE_PORT = "noFreePort"
    # first boot
    GUEST_DIED = "guestDied"
    BOOT_TIMEOUT = "bootTimeout"
    FIRST_BOOT_FAILED = "firstBootFailed"
    # set-up
    GUEST_AGENT_LOST = "guestAgentLost"
    SET_UP_FAILED = "setUpFailed"
    POST_PROVISIONING_SCRIPT_FAILED = "postProvisioningScriptFailed"
    PACKAGES_FAILED = "packagesFailed"
    LOCALE_FAILED = "localeFailed"
    TIME_ZONE_FAILED = "timeZoneFailed"
    # domain join, for policies with hybridAzureADJoin
    DOMAIN_JOIN_FAILED = "domainJoinFailed"
    # registration, where cloudpc:devices asks for it
    DEVICE_REGISTRATION_FAILED = "deviceRegistrationFailed"
    DEVICE_NOT_FOUND = "deviceNotFound"
    # credentials
    CREDENTIALS_FAILED = "credentialsFailed"
    # anywhere
    HYPERVISOR_ERROR = "hypervisorError"
    INTERNAL_ERROR = "internalError"


class ProvisioningError(Exception):
    """A stage of provisioning failed.

    Args:
        code: which page of docs/errors.md applies.
        message: one or two sentences for the admin, complete without a traceback.
        retriable: whether another attempt can end differently (a wrong checksum can't, a dead guest may).
        hint: what to do about it, where more can be said than the page of the code says.
        console: the tail of the guest's console, where it helps.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, retriable: bool = True, hint: str = "", console: str = ""
    ) -> None:
        self.code = code
        self.message = told(message)
        self.retriable = retriable
        self.hint = told(hint)
        self.console = masked(plain(console))
        super().__init__(self.message)


class TagUnreadable(ProvisioningError):  # noqa: N818 - an answer as well: it is neither there nor gone
    """A machine with a Cloud PC's identity is on the host, but nothing readable says whose it is.

    Who only asks whether there is one is not told "no": nothing of it may be deleted, and no second one be made.

    Args:
        machine: its name on the host.
        host: the host's name.
    """

    def __init__(self, machine: str, host: str) -> None:
        super().__init__(
            ErrorCode.TAG_UNREADABLE,
            f"{machine} on {host} carries no tag that can be read, so nothing says whose it is; it is left untouched",
            retriable=False,
            hint="if a newer cloudpc made it, use that one; `cloudpc doctor` says how to go on",
        )


class Cancelled(Exception):  # noqa: N818 - not an error: the run was asked to stop
    """The run was cancelled (Ctrl-C, Pulumi's Cancel call): clean up, record nothing as failed."""


@contextmanager
def unexpected_told(what: str) -> Iterator[None]:
    """Whatever is wrong with a driver: it must be told, and may not stop everybody else's update.

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
