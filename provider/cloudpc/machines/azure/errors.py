"""Turns Azure's errors into ours: which code, whether trying again helps, and what the admin can do.

Branches on `error.code`, then on the codes in `details` and `innererror`, never on HTTP's status or on classes of
exceptions: a failed operation is reported with status 200, and 409 means many things.
Source: Microsoft Learn "Troubleshoot common Azure deployment errors"; azure-sdk-for-go-extensions' consts.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

from cloudpc.machines.azure import wording
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


class AzureFailed(ProvisioningError):  # noqa: N818 - an answer as well: what is not there, or is going
    """A request to Azure failed.

    Args:
        arm: what Azure said, for those who know what to do about it.
        code: ours.
        message: what could not be done, and why.
        why: the latter alone.
        retriable: see ProvisioningError.
        hint: the same.
    """

    def __init__(
        self, arm: ArmError, code: ErrorCode, message: str, *, why: str, retriable: bool | None, hint: str
    ) -> None:
        super().__init__(code, message, retriable=retriable, hint=hint)
        self.arm = arm
        self.why = why


@dataclass(frozen=True)
class _Ours:
    """Our error for a meaning: code, whether it is retriable (if that differs from the code's), what to do."""

    code: ErrorCode
    retriable: bool | None = None
    hint: Callable[[ArmError, str], str] = lambda _error, _host: ""


def _room(error: ArmError, host: str) -> str:
    if _QUOTA.search(error.message) or "Quota" in error.code:
        return (
            "raise the quota (Azure portal, Quotas: Compute), or name others, with quota left, in sizeFamilies or "
            f"sizes of {host}"
        )
    if error.code == "SkuNotAvailable":
        return f"name other sizes or zones in the entry of {host}: this subscription does not get this one there"
    return f"try again later, or let sizeFamilies, sizes and zones of {host} name more to choose from"


def _rights(error: ArmError, _host: str) -> str:
    action, scope = wording.right(error)
    what = f"give whoever signs in {action}" if action else "give whoever signs in the role of docs/azure.md"
    where = f" on {scope}" if scope else ""
    return f"{what}{where} (docs/azure.md has the whole role); a role that was given just now takes some minutes"


def _registration(error: ArmError, host: str) -> str:
    name = wording.namespace(error) or "Microsoft.Compute"
    return f"run `az provider register --namespace {name}` for the subscription of {host}; that takes some minutes"


def _subscription(error: ArmError, host: str) -> str:
    match error.code:
        case "ResourceGroupNotFound":
            return f"make the resource group, or correct resourceGroup and subscriptionId of {host}"
        case "ResourceGroupBeingDeleted":
            return f"somebody is deleting the resource group: wait, make it again, or name another one in {host}"
        case "SubscriptionNotFound" | "InvalidSubscriptionId":
            return f"correct subscriptionId of {host}, or sign in to its tenant (tenantId says which)"
        case "ReadOnlyDisabledSubscription" | "DisabledSubscription":
            return "have the subscription enabled again"
        case "NoRegisteredProviderFound":
            return f"correct location of {host}: `az account list-locations` prints the names of regions"
        case "InvalidResourceLocation":
            return f"correct location of {host}: what is there of that name is in another region"
    return f"correct location of {host}: this subscription may not create anything in that region"


def _locked(error: ArmError, _host: str) -> str:
    scopes = wording.locked(error)
    return f"have the lock on {scopes} removed" if scopes else "have the lock removed"


def _forbidden(error: ArmError, host: str) -> str:
    names = wording.policies(error)
    said = f" {names}" if names else ""
    return f"have Azure Policy{said} exempt the resource group of {host}, or let the entry satisfy it"


def _sign_in(error: ArmError, host: str) -> str:
    if error.code == "InvalidAuthenticationTokenTenant":
        return f"sign in to the subscription's tenant: give its id as tenantId of {host}, and sign in there"
    if error.code and not error.code.endswith(("Token", "Audience", "Failed")):
        return ""  # the sign-in's own message says what to do
    return "sign in again"


def _image(error: ArmError, _host: str) -> str:
    if error.code == "MarketplacePurchaseEligibilityFailed":
        return "accept the image's terms once: `az vm image terms accept`, or choose another image"
    if error.code == "OperationNotAllowed":
        return "choose a service plan with more storage, or a smaller image"
    if error.code == "ImageVersionDeprecated":
        return "choose another version or image"
    return "correct the policy's imageId"


def _mistake(_error: ArmError, host: str) -> str:
    return f"check the entry of {host}; if nothing is wrong with it, this is a bug in cloudpc; please report it"


_OURS: Final[Mapping[Meaning, _Ours]] = {
    Meaning.WAIT: _Ours(ErrorCode.HOST_UNREACHABLE),
    Meaning.NO_ROOM: _Ours(ErrorCode.NO_CAPACITY, hint=_room),
    Meaning.SUBNET_FULL: _Ours(
        ErrorCode.CONNECTION_NOT_HEALTHY, hint=lambda *_: "free addresses in the subnet, or enlarge it"
    ),
    Meaning.NETWORK: _Ours(ErrorCode.NETWORK_NOT_FOUND),
    Meaning.RIGHTS: _Ours(ErrorCode.HOST_REFUSES, hint=_rights),
    Meaning.REGISTRATION: _Ours(ErrorCode.HOST_REFUSES, hint=_registration),
    Meaning.SUBSCRIPTION: _Ours(ErrorCode.HOST_REFUSES, hint=_subscription),
    Meaning.LOCKED: _Ours(ErrorCode.HOST_REFUSES, hint=_locked),
    Meaning.SIGN_IN: _Ours(ErrorCode.HOST_REFUSES, hint=_sign_in),
    Meaning.POLICY: _Ours(ErrorCode.DISALLOWED_BY_POLICY, hint=_forbidden),
    Meaning.IMAGE_MISSING: _Ours(ErrorCode.IMAGE_NOT_FOUND, retriable=False, hint=_image),
    Meaning.IMAGE_REFUSED: _Ours(ErrorCode.IMAGE_INVALID, hint=_image),
    Meaning.NOT_READY_IN_TIME: _Ours(ErrorCode.BOOT_TIMEOUT),
    Meaning.FIRST_BOOT: _Ours(ErrorCode.FIRST_BOOT_FAILED),
    Meaning.EXTENSION: _Ours(ErrorCode.DEVICE_REGISTRATION_FAILED),
    Meaning.AGENT: _Ours(ErrorCode.GUEST_AGENT_LOST),
    Meaning.TAKEN: _Ours(ErrorCode.INTERNAL_ERROR, retriable=False),
    Meaning.GOING: _Ours(ErrorCode.MACHINE_GOING),
    Meaning.MISSING: _Ours(ErrorCode.HYPERVISOR_ERROR),
    Meaning.UNREACHABLE: _Ours(ErrorCode.HOST_UNREACHABLE),
    Meaning.OURS: _Ours(ErrorCode.INTERNAL_ERROR, retriable=False, hint=_mistake),
    Meaning.UNKNOWN: _Ours(ErrorCode.HYPERVISOR_ERROR),
}
_LONGEST = 600
"""Characters of Azure's words; some of its messages are pages."""


def classify(error: ArmError, doing: str, host: str) -> AzureFailed:
    """The error in our words.

    Args:
        error: what Azure said.
        doing: what was tried; completes "could not …".
        host: its name.
    """
    ours, telling = _OURS[error.meaning], error.telling
    why = _why(telling, error.status)
    hint = ours.hint(telling, host)
    message = f"could not {doing} on {host}: {why}"
    return AzureFailed(error, ours.code, message, why=why, retriable=ours.retriable, hint=hint)


def _why(error: ArmError, status: int) -> str:
    words = wording.sentence(error) or " ".join(error.message.split()).rstrip(".")
    if len(words) > _LONGEST:
        words = words[: _LONGEST - 1] + "…"
    code = ", ".join(part for part in (error.code, error.target and f"of {error.target}") if part)
    return (words or f"Azure answered with status {status}") + (f" ({code})" if code else "")
