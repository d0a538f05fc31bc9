"""Azure's errors as sentences of ours: its own name clients by two ids, say "scope", and are long.

Azure's words are read for what only they hold: which right, which lock, how much of a quota. Where a sentence lacks
them, or nobody has written one, Azure's stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from cloudpc.machines.azure.arm_error import ArmError

_ACTION = re.compile(r"perform (?:the )?action(?:\(s\))? '([^']+)'")
_LINKED = re.compile(r"does not have permission to perform (?:the )?action(?:\(s\))? '([^']+)'")
_SCOPE = re.compile(r"(?:over scope|linked scope(?:\(s\))?) '([^']+)'")
_LOCKED = re.compile(r"locked: (.+?)\. Please", re.DOTALL)
_NAMESPACE = re.compile(r"namespace '([^']+)'")
_GROUP = re.compile(r"[Rr]esource group '([^']+)'")
_SUBSCRIPTION = re.compile(r"subscription '([^']+)'")
_REGION = re.compile(r"location '([^']+)'")
_QUOTA = re.compile(r"approved (.+?) quota", re.IGNORECASE)
_NO_HARDWARE = re.compile(r"capacity|cannot be allocated", re.IGNORECASE)
_NO_SUBSCRIPTION: Final = "there is no subscription {}, or whoever signs in does not see it"
_AMOUNTS = re.compile(r"Current Limit: (\d+), Current Usage: (\d+), Additional Required: (\d+)")


def sentence(error: ArmError) -> str:
    """What is wrong; completes "could not …: ". Empty where Azure's own words have to do."""
    say = _SENTENCES.get(error.code)
    return say(error) if say else ""


def right(error: ArmError) -> tuple[str, str]:
    """Which action is not allowed, and on what; empty where Azure does not say."""
    action = _LINKED.search(error.message) or _ACTION.search(error.message)
    scope = _SCOPE.search(error.message)
    return (action[1] if action else ""), (scope[1] if scope else "")


def locked(error: ArmError) -> str:
    """What has the lock: ids of Azure's; empty where it does not say."""
    scopes = _LOCKED.search(error.message)
    return scopes[1].replace("'", "") if scopes else ""


def namespace(error: ArmError) -> str:
    """Which provider is meant; empty where Azure does not say."""
    found = _NAMESPACE.search(error.message)
    return found[1] if found else ""


def region(error: ArmError) -> str:
    """Which region is meant; empty where Azure does not say."""
    found = _REGION.search(error.message)
    return found[1] if found else ""


def policies(error: ArmError) -> str:
    """Names of what forbids it in Azure Policy, as people named them; empty where it does not say."""
    names = (_policy(info) for each in error.all() for info in each.additional)
    return ", ".join(dict.fromkeys(name for name in names if name))


def _policy(info: Mapping[str, Any]) -> str:
    content = info.get("info")
    if info.get("type") != "PolicyViolation" or not isinstance(content, Mapping):
        return ""
    keys = (
        "policyDefinitionDisplayName", "policyAssignmentDisplayName", "policyDefinitionName", "policyAssignmentName",
    )  # fmt: skip
    found = list(dict.fromkeys(str(content[key]) for key in keys if content.get(key)))
    return f"“{found[0]}”" + (f" (assigned as {found[1]})" if len(found) > 1 else "") if found else ""


def _short(resource_id: str) -> str:
    """The end of an id that tells people what is meant."""
    parts = resource_id.strip("/").split("/")
    if len(parts) == 2 and parts[0].lower() == "subscriptions":
        return "the subscription"
    if len(parts) == 4 and parts[2].lower() == "resourcegroups":
        return f"the resource group {parts[3]}"
    return parts[-1]


def _named(pattern: re.Pattern[str], text: str, error: ArmError) -> str:
    """The text, filled with what Azure names; empty where it names nothing."""
    found = pattern.search(error.message)
    return text.format(found[1]) if found else ""


def _right(error: ArmError) -> str:
    action, scope = right(error)
    return f"whoever signs in lacks the right {action}" + (f" on {_short(scope)}" if scope else "") if action else ""


def _lock(error: ArmError) -> str:
    what = "deletion" if "delete operation" in error.message else "changes"
    scopes = ", ".join(_short(each.strip()) for each in locked(error).split(",") if each.strip())
    return f"{scopes} is locked against {what}" if scopes else ""


def _over_quota(error: ArmError) -> str:
    name = _QUOTA.search(error.message)
    if name is None:
        return ""
    said = f"it would exceed the {name[1]} quota"
    if amounts := _AMOUNTS.search(error.message):
        limit, used, needed = (int(each) for each in amounts.groups())
        said += f": {needed} needed, {max(0, limit - used)} of {limit} free"
    return said


def _forbidden(error: ArmError) -> str:
    names = policies(error)
    return f"Azure Policy {names} forbids it" if names else ""


def _unknown_region(error: ArmError) -> str:
    return f"Azure has no machines in a region {found}" if (found := region(error)) else ""


def _unregistered(error: ArmError) -> str:
    return f"the subscription is not registered for {name}" if (name := namespace(error)) else ""


def _always(text: str) -> Callable[[ArmError], str]:
    return lambda _error: text


def _no_hardware(text: str) -> Callable[[ArmError], str]:
    return lambda error: text if _NO_HARDWARE.search(error.message) else ""


def _of(codes: str, say: Callable[[ArmError], str]) -> Iterator[tuple[str, Callable[[ArmError], str]]]:
    yield from ((code, say) for code in codes.split())


_SENTENCES: Final[Mapping[str, Callable[[ArmError], str]]] = dict(
    [
        *_of("AuthorizationFailed LinkedAuthorizationFailed", _right),
        *_of("ScopeLocked", _lock),
        *_of("MissingSubscriptionRegistration SubscriptionNotRegistered", _unregistered),
        *_of("NoRegisteredProviderFound", _unknown_region),
        *_of("OperationNotAllowed QuotaExceeded ResourceQuotaExceeded", _over_quota),
        *_of("RequestDisallowedByPolicy", _forbidden),
        *_of("ResourceGroupNotFound", lambda error: _named(_GROUP, "there is no resource group {}", error)),
        *_of(
            "ResourceGroupBeingDeleted", lambda error: _named(_GROUP, "the resource group {} is being removed", error)
        ),
        *_of(
            "SubscriptionNotFound InvalidSubscriptionId",
            lambda error: _named(
                _SUBSCRIPTION, "there is no subscription {}, or whoever signs in does not see it", error
            ),
        ),
        *_of("ReadOnlyDisabledSubscription DisabledSubscription", _always("the subscription is disabled")),
        *_of("ExpiredAuthenticationToken", _always("the token of the sign-in has expired")),
        *_of(
            "InvalidAuthenticationToken InvalidAuthenticationTokenAudience AuthenticationFailed",
            _always("Azure does not accept the token of the sign-in"),
        ),
        *_of("InvalidAuthenticationTokenTenant", _always("the token of the sign-in is of another tenant")),
        *_of("AllocationFailed", _no_hardware("Azure does not have sufficient capacity in this region now")),
        *_of("ZonalAllocationFailed", _no_hardware("Azure does not have sufficient capacity in this zone now")),
        *_of("OverconstrainedAllocationRequest", _no_hardware("Azure finds no place in this region that fits it")),
        *_of("OverconstrainedZonalAllocationRequest", _no_hardware("Azure finds no place in this zone that fits it")),
        *_of("SkuNotAvailable", _always("it is not available in this location for the subscription now")),
        *_of("SubnetIsFull", _always("the subnet does not have enough capacity: no address is free")),
        *_of("MarketplacePurchaseEligibilityFailed", _always("the image's terms are not accepted in the subscription")),
        *_of("NicReservedForAnotherVm", _always("Azure holds it for 180 s for a machine that failed")),
    ]
)
