"""What a policy is going to ask of its hosts, as far as they can be asked beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloudpc.cli.context import Project
from cloudpc.model.problems import Problem
from cloudpc.rules.anew import size_of
from cloudpc.rules.entitlement import entitled
from cloudpc.rules.too_small import too_small as too_small_for

if TYPE_CHECKING:
    from cloudpc.model.machines import Host
    from cloudpc.operations.host_validation import Wishes


def too_small(project: Project, name: str) -> list[Problem]:
    """Service plans of the policy's users that have less memory than its image needs. Raises what `inputs` does."""
    inputs = project.inputs(name)
    if not (why := too_small_for(inputs.policy, inputs.snapshot, inputs.minimum_memory_mib)):
        return []
    message = f"{why}; give them a plan with more, or choose a smaller image"
    return [Problem(project.shown(name), "cloudpc:policy.imageId", message, inputs.policy.image_id)]


def of_policy(project: Project, name: str) -> tuple[Sequence[Host], Wishes]:
    """Its hosts, and what it asks of them. Raises what `Project.inputs` does."""
    from cloudpc.model.machines import Amount, Network
    from cloudpc.operations.host_validation import Wishes
    from cloudpc.operations.runtime import Runtime

    inputs = project.inputs(name)
    resources = Runtime(inputs.configuration.surroundings, project.stacks_folder).resources(inputs.settings)
    plans = [size_of(owed.service_plan) for owed in entitled(inputs.policy, inputs.snapshot)]
    wishes = Wishes(
        networks=[Network(choice.kind, choice.source) for choice in inputs.settings.networks],
        plans={plan.id: Amount(plan.v_cpu_count, plan.memory_mib, plan.storage_in_gb) for plan in plans},
        images={host: form.find for host, form in resources.forms.items()},
    )
    return resources.hosts, wishes
