"""Azure's errors in our words: by code, by the codes of details, by Azure's texts where a code means several things."""

from __future__ import annotations

from typing import Any

import pytest

from cloudpc.machines.azure import arm_error, errors
from cloudpc.machines.azure.arm_error import Meaning
from cloudpc.model.errors import ErrorCode
from tests.azure.errors import KNOWN, ArmFault

C = ErrorCode
_TABLE = {
    "AllocationFailed": (Meaning.NO_ROOM, C.NO_CAPACITY, True, "let sizeFamilies, sizes and zones of weu name more"),
    "ZonalAllocationFailed": (Meaning.NO_ROOM, C.NO_CAPACITY, True, "zones of weu"),
    "OverconstrainedAllocationRequest": (Meaning.NO_ROOM, C.NO_CAPACITY, True, "zones of weu"),
    "OverconstrainedZonalAllocationRequest": (Meaning.NO_ROOM, C.NO_CAPACITY, True, "zones of weu"),
    "SkuNotAvailable": (Meaning.NO_ROOM, C.NO_CAPACITY, True, "name other sizes or zones in the entry of weu"),
    "QuotaExceeded": (Meaning.NO_ROOM, C.NO_CAPACITY, True, "raise the quota"),
    "ResourceQuotaExceeded": (Meaning.NO_ROOM, C.NO_CAPACITY, True, "raise the quota"),
    "SubnetIsFull": (Meaning.SUBNET_FULL, C.CONNECTION_NOT_HEALTHY, True, "free addresses in the subnet"),
    "TooManyRequests": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "RetryableError": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "RetryableErrorDueToAnotherOperation": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "AnotherOperationInProgress": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "OperationPreempted": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "InternalServerError": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "InternalExecutionError": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "ServerTimeout": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "ServiceUnavailable": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "GatewayTimeout": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "Conflict": (Meaning.AGENT, C.GUEST_AGENT_LOST, True, ""),
    "AuthorizationFailed": (Meaning.RIGHTS, C.HOST_REFUSES, True, "docs/azure.md"),
    "LinkedAuthorizationFailed": (Meaning.RIGHTS, C.HOST_REFUSES, True, "docs/azure.md"),
    "MissingSubscriptionRegistration": (Meaning.REGISTRATION, C.HOST_REFUSES, True, "az provider register"),
    "ReadOnlyDisabledSubscription": (Meaning.SUBSCRIPTION, C.HOST_REFUSES, True, "enabled again"),
    "SubscriptionNotFound": (Meaning.SUBSCRIPTION, C.HOST_REFUSES, True, "correct subscriptionId of weu"),
    "ResourceGroupNotFound": (Meaning.SUBSCRIPTION, C.HOST_REFUSES, True, "make the resource group, or correct"),
    "ResourceGroupBeingDeleted": (
        Meaning.SUBSCRIPTION,
        C.HOST_REFUSES,
        True,
        "somebody is deleting the resource group",
    ),
    "RegionDoesNotAllowProvisioning": (Meaning.SUBSCRIPTION, C.HOST_REFUSES, True, "correct location of weu"),
    "ScopeLocked": (Meaning.LOCKED, C.HOST_REFUSES, True, "have the lock removed"),
    "RequestDisallowedByPolicy": (Meaning.POLICY, C.DISALLOWED_BY_POLICY, False, "have Azure Policy exempt"),
    "MarketplacePurchaseEligibilityFailed": (Meaning.IMAGE_REFUSED, C.IMAGE_INVALID, False, "az vm image terms accept"),
    "ImageVersionDeprecated": (Meaning.IMAGE_REFUSED, C.IMAGE_INVALID, False, "another version"),
    "ImageNotFound": (Meaning.IMAGE_MISSING, C.IMAGE_NOT_FOUND, False, "imageId"),
    "PlatformImageNotFound": (Meaning.IMAGE_MISSING, C.IMAGE_NOT_FOUND, False, "imageId"),
    "GalleryImageNotFound": (Meaning.IMAGE_MISSING, C.IMAGE_NOT_FOUND, False, "imageId"),
    "InvalidParameter": (Meaning.OURS, C.INTERNAL_ERROR, False, "check the entry of weu"),
    "InvalidRequestContent": (Meaning.OURS, C.INTERNAL_ERROR, False, "check the entry of weu"),
    "BadRequest": (Meaning.OURS, C.INTERNAL_ERROR, False, "check the entry of weu"),
    "OSProvisioningTimedOut": (Meaning.NOT_READY_IN_TIME, C.BOOT_TIMEOUT, True, ""),
    "OSProvisioningClientError": (Meaning.FIRST_BOOT, C.FIRST_BOOT_FAILED, True, ""),
    "OSProvisioningInternalError": (Meaning.FIRST_BOOT, C.FIRST_BOOT_FAILED, True, ""),
    "VMExtensionProvisioningError": (Meaning.EXTENSION, C.DEVICE_REGISTRATION_FAILED, True, ""),
    "VMExtensionHandlerNonTransientError": (Meaning.EXTENSION, C.DEVICE_REGISTRATION_FAILED, True, ""),
    "VMAgentStatusCommunicationError": (Meaning.AGENT, C.GUEST_AGENT_LOST, True, ""),
    "PreconditionFailed": (Meaning.TAKEN, C.INTERNAL_ERROR, False, ""),
    "PropertyChangeNotAllowed": (Meaning.TAKEN, C.INTERNAL_ERROR, False, ""),
    "NicReservedForAnotherVm": (Meaning.GOING, C.MACHINE_GOING, True, ""),
    "NicInUse": (Meaning.GOING, C.MACHINE_GOING, True, ""),
    "ResourceNotFound": (Meaning.MISSING, C.HYPERVISOR_ERROR, True, ""),
    "SubscriptionRequestsThrottled": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "CanceledAndSupersededDueToAnotherOperation": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "ReferencedResourceNotProvisioned": (Meaning.WAIT, C.HOST_UNREACHABLE, True, ""),
    "NoRegisteredProviderFound": (Meaning.REGISTRATION, C.HOST_REFUSES, True, "az provider register"),
    "InvalidSubscriptionId": (Meaning.SUBSCRIPTION, C.HOST_REFUSES, True, "correct subscriptionId of weu"),
    "RequestDisallowedByAzure": (Meaning.SUBSCRIPTION, C.HOST_REFUSES, True, "correct location of weu"),
    "InvalidResourceLocation": (Meaning.SUBSCRIPTION, C.HOST_REFUSES, True, "is in another region"),
    "ExpiredAuthenticationToken": (Meaning.SIGN_IN, C.HOST_REFUSES, True, "sign in again"),
    "NotFound": (Meaning.MISSING, C.HYPERVISOR_ERROR, True, ""),
    "OperationNotAllowed": (Meaning.UNKNOWN, C.HYPERVISOR_ERROR, True, ""),
}


def _failed(fault: ArmFault, *, status: int | None = None) -> errors.AzureFailed:
    found = arm_error.read({"error": fault.error}, fault.status if status is None else status)
    return errors.classify(found, "create the VM cpc1", "weu")


def test_every_code_that_the_fake_knows_has_its_row() -> None:
    assert set(KNOWN) <= set(_TABLE)


@pytest.mark.parametrize("status", [None, 200], ids=["at once", "of an operation"])
@pytest.mark.parametrize("code", _TABLE)
def test_what_a_code_means(code: str, status: int | None) -> None:
    meaning, ours, retriable, hint = _TABLE[code]
    failed = _failed(ArmFault(code), status=status)
    assert (failed.arm.meaning, failed.code, failed.retriable) == (meaning, ours, retriable)
    assert hint in failed.hint
    assert bool(hint) == bool(failed.hint)
    assert failed.message.startswith("could not create the VM cpc1 on weu: ")
    assert failed.message.endswith(f"({code})")


@pytest.mark.parametrize(
    "text",
    [
        "Operation could not be completed as it results in exceeding approved standardDSv5Family Cores quota.",
        "Operation results in exceeding quota limits of Core. Maximum allowed: 10, Current in use: 10.",
        "… exceeding approved Total Regional Cores quota. Submit a request for Quota increase at https://aka.ms/x",
    ],
)
def test_a_quota_hides_in_what_is_not_allowed(text: str) -> None:
    failed = _failed(ArmFault("OperationNotAllowed", text))
    assert (failed.arm.meaning, failed.code) == (Meaning.NO_ROOM, C.NO_CAPACITY)
    assert failed.hint.startswith("raise the quota")


def test_an_image_that_is_larger_than_the_disk_is_the_images_fault() -> None:
    text = "The specified disk size 64 GB is smaller than the size of the corresponding disk in the VM image: 127 GB."
    failed = _failed(ArmFault("OperationNotAllowed", text))
    assert (failed.code, failed.retriable) == (C.IMAGE_INVALID, False)
    assert failed.hint == "choose a service plan with more storage, or a smaller image"


@pytest.mark.parametrize(
    "text",
    [
        "VM 'cpc1' is marked for deletion. Only delete operations are allowed: you can only retry the Delete.",
        "Disk cpc1-os is attached to VM /subscriptions/s/…/cpc1.",
    ],
)
def test_what_is_marked_for_deletion_or_held_by_it_is_going(text: str) -> None:
    assert _failed(ArmFault("OperationNotAllowed", text)).arm.meaning is Meaning.GOING


@pytest.mark.parametrize("outer", ["DeploymentFailed", "Conflict", "BadRequest", ""])
def test_what_details_say_counts_where_the_code_says_little(outer: str) -> None:
    detail = {"code": "Inner", "message": "…", "details": [{"code": "AllocationFailed", "message": "No room there."}]}
    failed = _failed(ArmFault(outer, "It failed.", 409, details=[detail]))
    assert failed.arm.meaning is Meaning.NO_ROOM
    assert failed.message.endswith("No room there (AllocationFailed)")


def test_an_inner_error_counts_too() -> None:
    body = {"error": {"code": "Failed", "message": "x", "innererror": {"code": "SkuNotAvailable", "message": "none"}}}
    assert arm_error.read(body, 200).meaning is Meaning.NO_ROOM


def test_a_code_that_says_much_counts_before_its_details() -> None:
    details = [{"code": "BadRequest", "message": "x"}, {"code": "TooManyRequests", "message": "y"}]
    assert _failed(ArmFault("SubnetIsFull", details=details)).arm.meaning is Meaning.SUBNET_FULL


def test_an_unknown_code_is_a_sentence_with_code_and_target() -> None:
    failed = _failed(ArmFault("FluxCapacitorDrained", "There is no flux.\nNone at all.", 409, target="flux"))
    assert failed.message == (
        "could not create the VM cpc1 on weu: There is no flux. None at all (FluxCapacitorDrained, of flux)"
    )
    assert (failed.code, failed.retriable) == (C.HYPERVISOR_ERROR, True)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (0, Meaning.UNREACHABLE), (401, Meaning.SIGN_IN), (403, Meaning.RIGHTS), (404, Meaning.MISSING),
        (412, Meaning.TAKEN), (429, Meaning.WAIT), (500, Meaning.WAIT), (503, Meaning.WAIT), (409, Meaning.UNKNOWN),
    ],
)  # fmt: skip
def test_without_a_code_the_status_says_it(status: int, meaning: Meaning) -> None:
    for body in (None, "<html>", {}, {"error": None}, {"error": {"code": "NeverHeardOf", "message": "x"}}):
        assert arm_error.read(body, status).meaning is meaning


@pytest.mark.parametrize(
    "body", [[], 4, {"error": 4}, {"error": []}, {"error": {"details": 4, "additionalInfo": {"a": 1}}}]
)
def test_what_is_no_error_at_all_is_read_nevertheless(body: Any) -> None:
    assert errors.classify(arm_error.read(body, 409), "look", "weu").message == (
        "could not look on weu: Azure answered with status 409"
    )


def test_a_right_that_is_missing_is_named_with_its_scope() -> None:
    text = (
        "The client 'a' with object id 'b' does not have authorization to perform action "
        "'Microsoft.Compute/disks/delete' over scope '/subscriptions/s/resourceGroups/rg' or the scope is invalid."
    )
    assert _failed(ArmFault("AuthorizationFailed", text)).hint.startswith(
        "give whoever signs in Microsoft.Compute/disks/delete on /subscriptions/s/resourceGroups/rg "
    )


def test_a_right_on_what_is_linked_is_the_one_that_is_missing() -> None:
    text = (
        "The client 'a' has permission to perform action 'Microsoft.Network/networkInterfaces/write' on scope '/nic'; "
        "however, it does not have permission to perform action(s) 'Microsoft.Network/virtualNetworks/subnets/join/"
        "action' on the linked scope(s) '/vnet/subnets/a' or the linked scope(s) are invalid."
    )
    assert _failed(ArmFault("LinkedAuthorizationFailed", text)).hint.startswith(
        "give whoever signs in Microsoft.Network/virtualNetworks/subnets/join/action on /vnet/subnets/a "
    )


def test_a_lock_is_named_by_its_scope() -> None:
    text = (
        "The scope '/rg/vm' cannot perform delete operation because following scope(s) are locked: '/rg'. Please "
        "remove the lock and try again."
    )
    assert _failed(ArmFault("ScopeLocked", text)).hint == "have the lock on /rg removed"


def test_a_namespace_that_is_not_registered_is_named() -> None:
    text = "The subscription is not registered to use namespace 'Microsoft.Network'. See https://aka.ms/rps-not-found"
    assert "--namespace Microsoft.Network`" in _failed(ArmFault("MissingSubscriptionRegistration", text)).hint


def test_policies_are_named_as_people_named_them() -> None:
    violated = {"policyDefinitionDisplayName": "Allowed sizes", "policyAssignmentName": "corp-7"}
    other = {"policyDefinitionName": "tags"}
    info = [{"type": "PolicyViolation", "info": violated}, {"type": "Other", "info": {"policyDefinitionName": "no"}}]
    details = [{"code": "x", "message": "y", "additionalInfo": [{"type": "PolicyViolation", "info": other}]}]
    hint = _failed(ArmFault("RequestDisallowedByPolicy", additional=info, details=details)).hint
    assert hint.startswith("have Azure Policy “Allowed sizes” (assigned as corp-7), “tags” exempt the resource group")


def test_a_token_of_another_tenant_says_which_field_is_to_be_given() -> None:
    failed = _failed(ArmFault("InvalidAuthenticationTokenTenant", "The access token is from the wrong issuer.", 401))
    assert failed.code is C.HOST_REFUSES
    assert "as tenantId of weu" in failed.hint


def test_a_subnet_that_is_not_there() -> None:
    text = "Resource /subscriptions/s/…/virtualNetworks/hub/subnets/x referenced by resource nic was not found."
    assert _failed(ArmFault("InvalidResourceReference", text)).code is C.NETWORK_NOT_FOUND


def test_pages_of_azures_words_are_cut() -> None:
    assert len(_failed(ArmFault("AllocationFailed", "word " * 1000)).message) < 700
