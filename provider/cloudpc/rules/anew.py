"""A Cloud PC as it is to be made: with the policy's current settings, and under a name that no other has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cloudpc.model import naming
from cloudpc.model.cloud_pc import Account, DesiredCloudPC, PlanSize, RecordedCloudPC
from cloudpc.model.directory import ServicePlan, User
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.reprovision import REPROVISION
from cloudpc.rules.entitlement import Entitlement
from cloudpc.rules.today import Today


class Anew:
    """What the Cloud PCs of one run are made as; each name is given once.

    Args:
        today: what they are made with.
        previous: what state has; their names are taken.
        last_generations: of those there have been, by key, so that a device name is not given again.
        names_elsewhere: device names that other policies' Cloud PCs have.
    """

    def __init__(
        self,
        today: Today,
        previous: Iterable[RecordedCloudPC],
        last_generations: Mapping[str, int] | None = None,
        names_elsewhere: Iterable[str] = (),
    ) -> None:
        self._today = today
        self._last_generations = last_generations or {}
        self._taken = {name.lower() for name in (*names_elsewhere, *(pc.device_name for pc in previous))}

    def first(self, owed: Entitlement) -> DesiredCloudPC:
        """One that there is none of."""
        asked = self._today.asked(REPROVISION.name, owed.key)
        generation = max(self._last_generations.get(owed.key, 0) + 1, asked if isinstance(asked, int) else 1)
        return self.again(owed, None, generation)

    def again(self, owed: Entitlement, recorded: RecordedCloudPC | None, generation: int) -> DesiredCloudPC:
        """One that may have existed before. Earlier requests are over: somebody has to ask again."""
        user, today = owed.user, self._today
        new = DesiredCloudPC(
            policy_id=today.policy_id,
            installation=today.installation,
            user_id=user.id,
            user_principal_name=user.user_principal_name,
            generation=generation,
            device_name=self._name(owed, recorded, generation),
            account=_account(user, today),
            service_plan=size_of(owed.service_plan),
            settings=today.settings,
        )
        for action in ACTIONS:
            new = action.spent(new, recorded, today.asked(action.name, owed.key))
        return new

    def _name(self, owed: Entitlement, recorded: RecordedCloudPC | None, generation: int) -> str:
        """The same name for the same generation, so that attempts and adoption keep it."""
        if recorded is not None and generation == recorded.generation:
            self._taken.discard(recorded.device_name.lower())
        today, user = self._today, owed.user
        seed = "\0".join((today.installation, user.id, owed.service_plan.id, str(generation)))
        name = naming.device_name(today.naming_template, user.username, seed, self._taken)
        self._taken.add(name.lower())
        return name


def _account(user: User, today: Today) -> Account:
    return Account(
        name=today.account_name(user.username), display_name=user.display_name, ssh_public_keys=user.ssh_public_keys
    )


def size_of(plan: ServicePlan) -> PlanSize:
    """What a Cloud PC of this plan is made for."""
    return PlanSize(
        id=plan.id,
        display_name=plan.display_name,
        v_cpu_count=plan.vcpu_count,
        ram_in_gb=plan.ram_in_gb,
        storage_in_gb=plan.storage_in_gb,
    )
