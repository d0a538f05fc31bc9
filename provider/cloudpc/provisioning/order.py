"""What is asked of a host for a Cloud PC, and what its machine carries."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from cloudpc.model.cloud_pc import DesiredCloudPC, PlanSize
from cloudpc.model.digest import digest
from cloudpc.model.guests import Seed
from cloudpc.model.image import Image
from cloudpc.model.machines import Amount, Network, Order
from cloudpc.model.stages import Stage
from cloudpc.model.tags import Tag
from cloudpc.model.watch import Watch
from cloudpc.provisioning.resources import Resources


def tag_of(desired: DesiredCloudPC, attempt: str = "") -> Tag:
    """What its machine carries from the beginning."""
    # the guests' system and desktop are the image's, whose digest is in the settings; how it started does not matter
    left_out = {"guest_os", "has_desktop", "start_from"} | (
        {"image_kind", "image_forms"} if desired.settings.has_one_file else set()
    )
    made_like = desired.settings.model_dump_json(exclude=left_out), desired.account.model_dump_json()
    return Tag(
        installation=desired.installation,
        policy_id=desired.policy_id,
        user_id=desired.user_id,
        service_plan_id=desired.service_plan.id,
        generation=desired.generation,
        device_name=desired.device_name,
        settings_hash=digest(*made_like).hex()[:16],
        attempt=attempt,
        made_with=desired.model_dump_json(by_alias=True, exclude_defaults=True),
    )


def order_of(desired: DesiredCloudPC, resources: Resources, before_guest: Callable[[], None]) -> Order:
    """A new attempt's; its network, and the form of its image, are chosen when it is placed.

    Args:
        desired: what is asked for.
        resources: for its settings.
        before_guest: is called at the last moment at which there is no guest of it yet.
    """
    plan = desired.service_plan

    def seed(_image: Image) -> Seed:
        before_guest()
        return resources.guest_os(desired.settings.guest_os).seed(
            instance_id=f"{desired.machine_id}-{desired.generation}",
            device_name=desired.device_name,
            account=desired.account,
            local_admin=desired.settings.local_admin_enabled,
        )

    return Order(
        id=desired.machine_id,
        name=desired.identity.machine_name,
        title=f"{desired.device_name} ({desired.user_principal_name})",
        size=Amount(plan.v_cpu_count, plan.memory_mib, plan.storage_in_gb),
        network=Network(),
        tag=tag_of(desired, secrets.token_hex(4)),
        first_boot_in_seconds=desired.settings.first_boot_in_seconds,
        image=fitting(plan, resources.image),
        seed=seed,
        may_be_cloned=desired.settings.start_from == "template",
    )


def fitting(plan: PlanSize, find: Callable[[Watch], Image]) -> Callable[[Watch], Image]:
    """Finds an image as `Order.image` does: refused where the service plan is too small for it."""

    def image(watch: Watch) -> Image:
        try:
            found = find(watch)
            found.check_fits(plan.memory_mib, plan.storage_in_gb)
        except Exception:
            if watch.now is not Stage.IMAGE:  # a host that needs it to give a place has asked for it then
                watch.stage(Stage.IMAGE)
            raise
        return found

    return image
