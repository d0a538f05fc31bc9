"""What Azure Resource Manager says went wrong, and what that means to whoever asked.

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

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError


class Meaning(Enum):
    """What somebody who gets an error does next."""

    WAIT = auto()
    """The same call succeeds later."""
    NO_ROOM = auto()
    """Another size or zone may have room."""
    SUBNET_FULL = auto()
    """No address is left."""
    RIGHTS = auto()
    """Of whoever signs in; the next ones, too, are a person's business."""
    REGISTRATION = auto()
    SUBSCRIPTION = auto()
    """It, the resource group or the region is not to be had."""
    LOCKED = auto()
    SIGN_IN = auto()
    """There is none, or Azure refuses it."""
    POLICY = auto()
    """Azure Policy forbids it."""
    NETWORK = auto()
    """The network or subnet is not there."""
    IMAGE_MISSING = auto()
    IMAGE_REFUSED = auto()
    NOT_READY_IN_TIME = auto()
    FIRST_BOOT = auto()
    """The guest's own set-up has failed."""
    EXTENSION = auto()
    """What was to be added to the guest has failed."""
    AGENT = auto()
    """The guest's agent says nothing, or is busy for ever."""
    TAKEN = auto()
    """There is one already, or it is another than was meant: `If-None-Match`, or an unchangeable property."""
    GOING = auto()
    """What it is about is being removed, or held for a while by something that is."""
    MISSING = auto()
    UNREACHABLE = auto()
    OURS = auto()
    """The request itself is wrong: a mistake of ours, or of the configuration."""
    UNKNOWN = auto()


_MEANINGS: Final[Mapping[Meaning, str]] = {
    Meaning.WAIT: "TooManyRequests RetryableError RetryableErrorDueToAnotherOperation AnotherOperationInProgress "
    "OperationPreempted InternalServerError InternalExecutionError InternalError InternalOperationError ServerTimeout "
    "ServerBusy ServiceUnavailable GatewayTimeout RequestTimeout SubscriptionRequestsThrottled "
    "CanceledAndSupersededDueToAnotherOperation NetworkingInternalOperationError ReferencedResourceNotProvisioned",
    Meaning.NO_ROOM: "AllocationFailed ZonalAllocationFailed OverconstrainedAllocationRequest "
    "OverconstrainedZonalAllocationRequest SkuNotAvailable ResourceQuotaExceeded QuotaExceeded",
    Meaning.SUBNET_FULL: "SubnetIsFull PublicIPCountLimitReached",
    Meaning.RIGHTS: "AuthorizationFailed LinkedAuthorizationFailed",
    Meaning.REGISTRATION: "MissingSubscriptionRegistration SubscriptionNotRegistered "
    "InvalidSubscriptionRegistrationState NoRegisteredProviderFound",
    Meaning.SUBSCRIPTION: "ReadOnlyDisabledSubscription DisabledSubscription SubscriptionNotFound "
    "InvalidSubscriptionId RegionDoesNotAllowProvisioning LocationNotAvailableForResourceType RequestDisallowedByAzure "
    "InvalidResourceLocation ResourceGroupNotFound ResourceGroupBeingDeleted",
    Meaning.LOCKED: "ScopeLocked",
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
    Meaning.SIGN_IN: "InvalidAuthenticationTokenTenant InvalidAuthenticationTokenAudience InvalidAuthenticationToken "
    "ExpiredAuthenticationToken AuthenticationFailed",
    Meaning.OURS: "InvalidParameter InvalidRequestContent BadRequest InvalidResource",
}
_BY_CODE: Final = {code: meaning for meaning, codes in _MEANINGS.items() for code in codes.split()}


_GENERAL: Final = ("BadRequest", "NotFound", "InternalServerError")
_QUOTA = re.compile(r"\bquota", re.IGNORECASE)
_MARKED = re.compile(r"marked for deletion|being deleted|is attached to VM", re.IGNORECASE)
_TOO_SMALL = re.compile(r"disk size .*is smaller than the size of the", re.IGNORECASE)
_BUSY = re.compile(r"run command extension execution is in progress", re.IGNORECASE)
_ELSEWHERE = re.compile(r"for location '", re.IGNORECASE)
_REFERENCE = re.compile(r"/(?:subnets|virtualNetworks)/", re.IGNORECASE)


def _of_words(code: str, message: str) -> Meaning:
    """The meaning of an ambiguous code: only Azure's English words tell which one it is."""
    if code == "OperationNotAllowed":
        if _QUOTA.search(message):
            return Meaning.NO_ROOM
        if _TOO_SMALL.search(message):
            return Meaning.IMAGE_REFUSED
        return Meaning.GOING if _MARKED.search(message) else Meaning.UNKNOWN
    if code == "InvalidResourceReference" and _REFERENCE.search(message):
        return Meaning.NETWORK
    if code == "NoRegisteredProviderFound" and _ELSEWHERE.search(message):
        return Meaning.SUBSCRIPTION
    if code == "Conflict":
        return Meaning.AGENT if _BUSY.search(message) else Meaning.UNKNOWN
    return _BY_CODE.get(code, Meaning.UNKNOWN)


def _of_status(status: int) -> Meaning:
    match status:
        case 0:
            return Meaning.UNREACHABLE
        case 401:
            return Meaning.SIGN_IN
        case 403:
            return Meaning.RIGHTS
        case 404:
            return Meaning.MISSING
        case 412:
            return Meaning.TAKEN
        case 408 | 429:
            return Meaning.WAIT
    return Meaning.WAIT if status >= 500 else Meaning.UNKNOWN


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
    """

    code: str
    message: str
    status: int = 0
    target: str = ""
    details: tuple[ArmError, ...] = ()
    additional: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    def all(self) -> Iterator[ArmError]:
        """Itself and its details."""
        yield self
        for detail in self.details:
            yield from detail.all()

    @property
    def telling(self) -> ArmError:
        """Of itself and its details the first whose code is known, such as say little last; itself if none is."""
        known = [error for error in self.all() if _of_words(error.code, error.message) is not Meaning.UNKNOWN]
        return next((error for error in known if error.code not in _GENERAL), known[0] if known else self)

    @property
    def meaning(self) -> Meaning:
        """What whoever gets it does next."""
        telling = self.telling
        found = _of_words(telling.code, telling.message)
        return found if found is not Meaning.UNKNOWN else _of_status(self.status)

    @property
    def is_of_quota(self) -> bool:
        """Whether what there is too little of is a quota."""
        return bool(_QUOTA.search(self.message)) or "Quota" in self.code

    @property
    def is_missing(self) -> bool:
        """What it is about is not there. Not said where the group or the subscription can't be found: a mistake in an
        entry would make all of its machines lost.
        """
        return self.meaning is Meaning.MISSING


def read(body: Any, status: int = 0) -> ArmError:
    """The error in an answer's content, `{"error": {…}}` or what stands in there."""
    error = body.get("error", body) if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return ArmError("", "", status)
    inner = error.get("innererror")
    details = [*_listed(error.get("details")), *([inner] if isinstance(inner, Mapping) else ())]
    return ArmError(
        code=str(error.get("code") or ""),
        message=str(error.get("message") or ""),
        status=status,
        target=str(error.get("target") or ""),
        details=tuple(read({"error": detail}, status) for detail in details),
        additional=tuple(_listed(error.get("additionalInfo"))),
    )


def _listed(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def of(error: AzureError) -> ArmError:
    """What one of azure-core's exceptions is about."""
    response = getattr(error, "response", None)
    if response is None:
        return ArmError("", _no_answer(error))
    try:
        found = read(response.json(), response.status_code)
    except ValueError:
        found = ArmError("", "", response.status_code)
    return found if found.code or found.message else ArmError("", str(error.message), response.status_code)


def _no_answer(error: BaseException) -> str:
    """Why there was no answer: the system's words if it has any, else a library's."""
    chain = list(_behind(error))
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno and cause.strerror:
            return cause.strerror
    if any("timed out" in str(cause).lower() for cause in chain):
        return "no answer in time"
    return re.sub(r"<[^>]*>:? ?", "", str(error))


def _behind(error: BaseException) -> Iterator[BaseException]:
    """An exception and all its causes, however its library keeps them."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        own = (getattr(one, name, None) for name in ("inner_exception", "reason"))
        kept = (one.__cause__, one.__context__, *own, *one.args)
        waiting += [other for other in kept if isinstance(other, BaseException)]
