"""Errors as Azure Resource Manager answers them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

KNOWN: dict[str, tuple[int, str]] = {
    # lack of room
    "AllocationFailed": (409, "Allocation failed. We do not have sufficient capacity for the requested VM size in "
        "this region. Read more about improving likelihood of allocation success."),
    "ZonalAllocationFailed": (409, "Allocation failed. We do not have sufficient capacity for the requested VM size "
        "in this zone."),
    "OverconstrainedAllocationRequest": (409, "Allocation failed. VM(s) with the following constraints cannot be "
        "allocated, because the condition is too restrictive."),
    "OverconstrainedZonalAllocationRequest": (409, "Allocation failed. VM(s) with the following constraints cannot "
        "be allocated in this zone, because the condition is too restrictive."),
    "SkuNotAvailable": (409, "The requested VM size for resource is currently not available in this location. "
        "Please try another size or deploy to a different location or different zone."),
    "QuotaExceeded": (409, "Operation could not be completed as it results in exceeding approved Total Regional "
        "Cores quota. Submit a request for Quota increase."),
    "SubnetIsFull": (400, "Subnet with address prefix does not have enough capacity for 1 IP addresses."),
    # come back later
    "TooManyRequests": (429, "The request is being throttled as the limit has been reached for this operation."),
    "RetryableError": (429, "A retryable error occurred."),
    "RetryableErrorDueToAnotherOperation": (429, "Operation was not performed due to another operation."),
    "AnotherOperationInProgress": (409, "Another operation on this or dependent resource is in progress."),
    "OperationPreempted": (409, "Operation execution has been preempted by a more recent operation."),
    "InternalServerError": (500, "An internal server error occurred."),
    "InternalExecutionError": (500, "An internal execution error occurred. Please retry later."),
    "ServerTimeout": (503, "The server is busy. Please retry later."),
    "ServiceUnavailable": (503, "The service is unavailable."),
    "GatewayTimeout": (504, "The gateway did not receive a response within the specified time period."),
    "Conflict": (409, "Run command extension execution is in progress. Please wait for completion before invoking a "
        "run command."),
    # a person's business
    "AuthorizationFailed": (403, "The client does not have authorization to perform the action, or the scope is "
        "invalid. If access was recently granted, please refresh your credentials."),
    "ExpiredAuthenticationToken": (401, "The access token expiry UTC time is earlier than current UTC time."),
    "LinkedAuthorizationFailed": (403, "The client has permission to perform the action on the scope, however it "
        "does not have permission to perform the action 'join/action' on the linked scope."),
    "MissingSubscriptionRegistration": (409, "The subscription is not registered to use the namespace. See "
        "https://aka.ms/rps-not-found for how to register subscriptions."),
    "ReadOnlyDisabledSubscription": (409, "The subscription is disabled and therefore marked as read only. You "
        "cannot perform any write actions on this subscription until it is re-enabled."),
    "SubscriptionNotFound": (404, "The subscription could not be found."),
    "ResourceGroupNotFound": (404, "The resource group could not be found."),
    "ResourceGroupBeingDeleted": (409, "The resource group is in deprovisioning state and cannot perform this "
        "operation."),
    "RegionDoesNotAllowProvisioning": (409, "Location is not accepting creation of new resources for the customer."),
    "ScopeLocked": (409, "The scope cannot perform the operation because following scope(s) are locked. Please "
        "remove the lock and try again."),
    "RequestDisallowedByPolicy": (403, "Resource was disallowed by policy."),
    "MarketplacePurchaseEligibilityFailed": (400, "Marketplace purchase eligibility check returned errors."),
    # what was asked for can't be
    "InvalidParameter": (400, "A parameter is not valid."),
    "InvalidRequestContent": (400, "The request content was invalid and could not be deserialized."),
    "BadRequest": (400, "The request is not valid."),
    "PropertyChangeNotAllowed": (409, "Changing property is not allowed."),
    "ImageNotFound": (404, "The image was not found."),
    "PlatformImageNotFound": (404, "The platform image is not available. Verify that all fields in the storage "
        "profile are correct."),
    "GalleryImageNotFound": (404, "The gallery image is not available. Verify that image id passed is correct."),
    "ImageVersionDeprecated": (400, "The image version is deprecated. Virtual machines can't be made of it."),
    # of the machine and its guest
    "OSProvisioningTimedOut": (409, "OS Provisioning for VM did not finish in the allotted time. The VM may still "
        "finish provisioning successfully. Please check provisioning state later."),
    "OSProvisioningClientError": (409, "OS provisioning failure reason: the guest reported an error."),
    "OSProvisioningInternalError": (409, "OS Provisioning failed due to an internal error."),
    "VMExtensionProvisioningError": (409, "VM has reported a failure when processing extension."),
    "VMExtensionHandlerNonTransientError": (409, "The handler for VM extension type has reported terminal failure "
        "for VM extension."),
    "VMAgentStatusCommunicationError": (409, "VM has not reported status for VM agent or extensions. Verify that the "
        "OS is up and healthy, the VM has a running VM agent, and that it can establish outbound connections to "
        "Azure storage."),
    "PreconditionFailed": (412, "The condition specified using HTTP conditional header(s) is not met."),
    "NicReservedForAnotherVm": (400, "Nic(s) in request is reserved for another Virtual Machine for 180 seconds. "
        "Please provide another nic(s) or retry after 180 seconds."),
    "NicInUse": (400, "Network Interface is used by existing resource."),
    "OperationNotAllowed": (409, "The operation is not allowed."),
    "ResourceNotFound": (404, "The resource was not found. For more details please go to "
        "https://aka.ms/ARMResourceNotFoundFix"),
    "NotFound": (404, "The entity was not found."),
}  # fmt: skip


class ArmFault(Exception):
    """An answer that is no success, or the end of an operation that failed.

    Args:
        code: ARM's word for it; of a known one status and message may be left out.
        message: for people.
        status: of HTTP.
        target: what it is about.
        details: further errors below this one.
        additional: `additionalInfo`, where policies say which of them it was.
        headers: further ones, for example Retry_After.
    """

    def __init__(
        self, code: str, message: str | None = None, status: int | None = None, *, target: str | None = None,
        details: list[Json] | None = None, additional: list[Json] | None = None, **headers: str,
    ) -> None:  # fmt: skip
        known = KNOWN.get(code, (400, code))
        self.code = code
        self.status = status or known[0]
        self.message = message or known[1]
        self.target = target
        self.details = details
        self.additional = additional
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(f"{self.status} {code}: {self.message}")

    @property
    def error(self) -> Json:
        """What stands below `error`."""
        optional = {"target": self.target, "details": self.details, "additionalInfo": self.additional}
        return {"code": self.code, "message": self.message} | {k: v for k, v in optional.items() if v is not None}


def invalid(message: str, target: str | None = None) -> ArmFault:
    """A value that can't be."""
    return ArmFault("InvalidParameter", message, target=target)


def not_found(resource_id: str) -> ArmFault:
    """No such resource."""
    parts = resource_id.strip("/").split("/")
    group = parts[3] if len(parts) > 3 else ""
    return ArmFault(
        "ResourceNotFound",
        f"The Resource '{'/'.join(parts[5:])}' under resource group '{group}' was not found. For more details please "
        "go to https://aka.ms/ARMResourceNotFoundFix",
    )
