"""Turns Azure's errors into ours: which code, whether trying again helps, and what the admin can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cloudpc.machines.azure import wording
from cloudpc.machines.azure.arm_error import ArmError, Meaning
from cloudpc.model.errors import ErrorCode, ProvisioningError

if TYPE_CHECKING:
    pass


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
    if error.is_of_quota:
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
