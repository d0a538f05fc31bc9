"""Service plans with less memory than a policy's image needs: their users' Cloud PCs fail, and nobody else's does."""

from __future__ import annotations

from cloudpc.model.directory import Snapshot
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.rules.anew import size_of
from cloudpc.rules.entitlement import entitled


def too_small(policy: ProvisioningPolicy, snapshot: Snapshot, minimum_memory_mib: int) -> str:
    """What the image needs and which of the users' plans have less, to follow its name; empty if each has enough."""
    sizes = {plan.id: size_of(plan).memory_mib for plan in snapshot.service_plans.values()}
    if all(memory >= minimum_memory_mib for memory in sizes.values()):
        return ""
    owed = {each.service_plan.id for each in entitled(policy, snapshot)}
    small = [f"{plan} has {memory}" for plan, memory in sizes.items() if memory < minimum_memory_mib and plan in owed]
    if not small:
        return ""
    return f"needs {minimum_memory_mib} MiB of memory, and of the service plans of its users {', '.join(sorted(small))}"
