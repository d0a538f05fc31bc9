"""Turns Azure's errors into ours: which code, whether trying again helps, and what the admin can do.

Branches on `error.code`, then on the codes in `details` and `innererror`, never on HTTP's status or on classes of
exceptions: a failed operation is reported with status 200, and 409 means many things.
Source: Microsoft Learn "Troubleshoot common Azure deployment errors"; azure-sdk-for-go-extensions' consts.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from cloudpc.model.errors import ErrorCode, ProvisioningError

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError


class Meaning(Enum):
    """What somebody who gets an error does next."""

    WAIT = auto()
    """The same call succeeds later."""
    NO_ROOM = auto()
    """Another size or zone may have room."""
    SUBNET_FULL = auto()
    PERSON = auto()
    """Somebody must change something in Azure: rights, registration, a lock."""
    POLICY = auto()
    """Azure Policy forbids it."""
    IMAGE_MISSING = auto()
    IMAGE_REFUSED = auto()
    NOT_READY_IN_TIME = auto()
    FIRST_BOOT = auto()
    EXTENSION = auto()
    AGENT = auto()
    TAKEN = auto()
    """There is one already, or it is another than was meant: `If-None-Match`, or an unchangeable property."""
    GOING = auto()
    """What it is about is being removed, or held for a while by something that is."""
    MISSING = auto()
    SIGN_IN = auto()
    UNREACHABLE = auto()
    OURS = auto()
    """The request itself is wrong: a mistake of ours, or of the configuration."""
    UNKNOWN = auto()


_MEANINGS: Final[Mapping[Meaning, str]] = {
    Meaning.WAIT: "TooManyRequests RetryableError RetryableErrorDueToAnotherOperation AnotherOperationInProgress "
    "OperationPreempted InternalServerError InternalError ServerTimeout OperationTimedOut Conflict ServiceUnavailable",
    Meaning.NO_ROOM: "AllocationFailed ZonalAllocationFailed OverconstrainedAllocationRequest "
    "OverconstrainedZonalAllocationRequest SkuNotAvailable ResourceQuotaExceeded QuotaExceeded",
    Meaning.SUBNET_FULL: "SubnetIsFull PublicIPCountLimitReached",
    Meaning.PERSON: "AuthorizationFailed LinkedAuthorizationFailed MissingSubscriptionRegistration "
    "ReadOnlyDisabledSubscription SubscriptionNotFound SubscriptionNotRegistered RegionDoesNotAllowProvisioning "
    "ScopeLocked ResourceGroupNotFound ResourceGroupBeingDeleted",
    Meaning.POLICY: "RequestDisallowedByPolicy",
    Meaning.IMAGE_MISSING: "ImageNotFound PlatformImageNotFound GalleryImageNotFound",
    Meaning.IMAGE_REFUSED: "MarketplacePurchaseEligibilityFailed ImageVersionDeprecated",
    Meaning.NOT_READY_IN_TIME: "OSProvisioningTimedOut",
    Meaning.FIRST_BOOT: "OSProvisioningClientError OSProvisioningInternalError",
    Meaning.EXTENSION: "VMExtensionProvisioningError VMExtensionHandlerNonTransientError",
    Meaning.AGENT: "VMAgentStatusCommunicationError",
    Meaning.TAKEN: "PreconditionFailed PropertyChangeNotAllowed",
    Meaning.GOING: "NicReservedForAnotherVm NicInUse",
    Meaning.MISSING: "ResourceNotFound NotFound ParentResourceNotFound",
    Meaning.SIGN_IN: "InvalidAuthenticationTokenTenant InvalidAuthenticationToken ExpiredAuthenticationToken "
    "AuthenticationFailed",
    Meaning.OURS: "InvalidParameter InvalidRequestContent BadRequest InvalidResource",
}
_BY_CODE: Final = {code: meaning for meaning, codes in _MEANINGS.items() for code in codes.split()}


@dataclass(frozen=True)
class _Ours:
    """What an error is among our codes."""

    code: ErrorCode
    retriable: bool | None = None
    hint: str = ""


_OURS: Final[Mapping[Meaning, _Ours]] = {
    Meaning.WAIT: _Ours(ErrorCode.HOST_UNREACHABLE),
    Meaning.NO_ROOM: _Ours(ErrorCode.NO_CAPACITY),
    Meaning.SUBNET_FULL: _Ours(ErrorCode.CONNECTION_NOT_HEALTHY),
    Meaning.PERSON: _Ours(ErrorCode.HOST_REFUSES),
    Meaning.POLICY: _Ours(ErrorCode.DISALLOWED_BY_POLICY),
    Meaning.IMAGE_MISSING: _Ours(ErrorCode.IMAGE_NOT_FOUND, retriable=False),
    Meaning.IMAGE_REFUSED: _Ours(ErrorCode.IMAGE_INVALID),
    Meaning.NOT_READY_IN_TIME: _Ours(ErrorCode.BOOT_TIMEOUT),
    Meaning.FIRST_BOOT: _Ours(ErrorCode.FIRST_BOOT_FAILED),
    Meaning.EXTENSION: _Ours(ErrorCode.DEVICE_REGISTRATION_FAILED),
    Meaning.AGENT: _Ours(ErrorCode.GUEST_AGENT_LOST),
    Meaning.TAKEN: _Ours(ErrorCode.INTERNAL_ERROR, retriable=False),
    Meaning.GOING: _Ours(ErrorCode.MACHINE_GOING),
    Meaning.MISSING: _Ours(ErrorCode.HYPERVISOR_ERROR),
    Meaning.SIGN_IN: _Ours(ErrorCode.HOST_REFUSES),
    Meaning.UNREACHABLE: _Ours(ErrorCode.HOST_UNREACHABLE),
    Meaning.OURS: _Ours(ErrorCode.INTERNAL_ERROR, retriable=False),
    Meaning.UNKNOWN: _Ours(ErrorCode.HYPERVISOR_ERROR),
}
_QUOTA = re.compile(r"quota", re.IGNORECASE)
_MARKED = re.compile(r"marked for deletion|being deleted", re.IGNORECASE)


@dataclass(frozen=True)
class ArmError:
    """What Azure Resource Manager says went wrong.

    Args:
        code: `error.code`; empty where there was no answer.
        message: Azure's words.
        status: of HTTP; 200 of an operation that failed later, 0 where there was no answer.
        target: what of the request is meant.
        details: more of the same, which says more.
        additional: `additionalInfo`.
        retry_after: seconds to wait, where Azure says so.
    """

    code: str
    message: str
    status: int = 0
    target: str = ""
    details: tuple[ArmError, ...] = ()
    additional: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    retry_after: float = 0.0

    def all(self) -> Iterator[ArmError]:
        """Itself and its details, what says less first."""
        yield self
        for detail in self.details:
            yield from detail.all()

    @property
    def meaning(self) -> Meaning:
        """Of the first code that is known, its own before those of its details."""
        for error in self.all():
            if (found := error._own_meaning()) is not Meaning.UNKNOWN:
                return found
        return _by_status(self.status)

    @property
    def is_missing(self) -> bool:
        """What it is about is not there."""
        return self.meaning is Meaning.MISSING

    def _own_meaning(self) -> Meaning:
        if self.code == "OperationNotAllowed":
            return (
                Meaning.NO_ROOM
                if _QUOTA.search(self.message)
                else (Meaning.GOING if _MARKED.search(self.message) else Meaning.UNKNOWN)
            )
        return _BY_CODE.get(self.code, Meaning.UNKNOWN)


def _by_status(status: int) -> Meaning:
    match status:
        case 0:
            return Meaning.UNREACHABLE
        case 401:
            return Meaning.SIGN_IN
        case 403:
            return Meaning.PERSON
        case 404:
            return Meaning.MISSING
        case 412:
            return Meaning.TAKEN
        case 408 | 429:
            return Meaning.WAIT
    return Meaning.WAIT if status >= 500 else Meaning.UNKNOWN


class AzureFailed(ProvisioningError):  # noqa: N818 - an answer as well: what is not there, or is going
    """A request to Azure failed; `arm` is what Azure said, for those who know what to do about it."""

    def __init__(self, arm: ArmError, code: ErrorCode, message: str, *, retriable: bool | None, hint: str) -> None:
        super().__init__(code, message, retriable=retriable, hint=hint)
        self.arm = arm


def read(body: Any, status: int = 0) -> ArmError:
    """The error in an answer's content, `{"error": {…}}` or what stands in there."""
    error = body.get("error", body) if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return ArmError("", "", status)
    inner = error.get("innererror")
    details = [*(error.get("details") or ()), *([inner] if isinstance(inner, Mapping) else ())]
    return ArmError(
        code=str(error.get("code") or ""),
        message=str(error.get("message") or ""),
        status=status,
        target=str(error.get("target") or ""),
        details=tuple(read({"error": detail}, status) for detail in details if isinstance(detail, Mapping)),
        additional=tuple(info for info in error.get("additionalInfo") or () if isinstance(info, Mapping)),
    )


def of(error: AzureError) -> ArmError:
    """What one of azure-core's exceptions is about."""
    response = getattr(error, "response", None)
    if response is None:
        return ArmError("", str(error.message), 0)
    try:
        found = read(response.json(), response.status_code)
    except ValueError:
        found = ArmError("", "", response.status_code)
    return found if found.code or found.message else ArmError("", str(error.message), response.status_code)


def classify(error: ArmError, doing: str, host: str) -> AzureFailed:
    """The error in our words.

    Args:
        error: what Azure said.
        doing: what was tried; completes "could not …".
        host: its name.
    """
    ours = _OURS[error.meaning]
    why = " ".join(error.message.split()) or f"Azure answered with status {error.status}"
    code = f" ({error.code})" if error.code else ""
    return AzureFailed(
        error, ours.code, f"could not {doing} on {host}: {why}{code}", retriable=ours.retriable, hint=ours.hint
    )
