"""The two resources of a stack."""

from __future__ import annotations

import os
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from cloudpc.iac import outputs
from cloudpc.iac.provider import CloudPCProvider, ProvisioningPolicyProvider
from cloudpc.model.cloud_pc import DesiredCloudPC, Status


def leave_out_stack_traces() -> None:
    """Keep the place of the declaration out of state, where it would be a third of each Cloud PC's entry.

    Pulumi's SDK sends the program's whole call stack with each registration and knows no option against it. All our
    resources are declared in one place, so it says nothing, and costs time besides.
    """
    from pulumi.runtime import resource
    from pulumi.runtime.proto import source_pb2

    if hasattr(resource, "_get_stack_trace"):  # private: without it, state is only larger
        resource._get_stack_trace = source_pb2.StackTrace


def leave_out_debug_lines() -> None:
    """Spare the engine what the SDK tells it of each property of each resource, one waited-for call a line.

    Only `pulumi up --debug` shows these lines; with CLOUDPC_DEBUG set they are sent.
    """
    if not os.environ.get("CLOUDPC_DEBUG"):
        pulumi.log.debug = lambda *_args, **_options: None


class ProvisioningPolicy(Resource, module="cloudpc", name="ProvisioningPolicy"):
    """The policy as a whole; protected while it is assigned to a group, and while it remembers for Cloud PCs."""

    def __init__(self, policy_id: str, props: dict[str, Any], *, has_cloud_pcs: bool) -> None:
        options = pulumi.ResourceOptions(protect=has_cloud_pcs or bool(props["assignments"]))
        super().__init__(ProvisioningPolicyProvider(), policy_id, {**props, "policyId": policy_id}, options)


class CloudPC(Resource, module="cloudpc", name="CloudPC"):
    """One user's Cloud PC of one service plan; protected itself until it ends: a protected parent does not hold."""

    status: pulumi.Output[str]
    host: pulumi.Output[str]

    def __init__(self, desired: DesiredCloudPC, seen: str = "") -> None:
        props = outputs.pinned(desired) | ({outputs.SEEN: seen} if seen else {})
        protect = desired.desired_status is not Status.DEPROVISIONING
        options = pulumi.ResourceOptions(protect=protect, additional_secret_outputs=outputs.SECRET)
        super().__init__(CloudPCProvider(), desired.key, {**props, "status": None, "host": None}, options)
