"""One generation of a user's Cloud PC as directories know it: Entra, Intune, Active Directory."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from cloudpc.model.cloud_pc import DesiredCloudPC
from cloudpc.model.devices import NewDevice
from cloudpc.model.tags import Tag

_NAMESPACE = uuid.UUID("0b8d0f5e-3f8b-4f0c-9a39-5c2d8a1f7e64")


@dataclass(frozen=True)
class Identity:
    """One generation of a user's Cloud PC, as directories know it."""

    installation: str
    user_id: str
    service_plan_id: str
    generation: int
    device_name: str

    @classmethod
    def of(cls, owner: str, device_name: str) -> Identity:
        """From what stands in an object.

        Raises:
            ValueError: what stands there is not ours.
        """
        installation, user_id, service_plan_id, generation = owner.split("/")
        return cls(installation, user_id, service_plan_id, int(generation), device_name)

    @classmethod
    def of_tag(cls, tag: Tag) -> Identity:
        """From what its machine carries."""
        return cls(tag.installation, tag.user_id, tag.service_plan_id, tag.generation, tag.device_name)

    @classmethod
    def of_cloud_pc(cls, wanted: DesiredCloudPC) -> Identity:
        """From what is asked for, or recorded."""
        return cls(wanted.installation, wanted.user_id, wanted.service_plan.id, wanted.generation, wanted.device_name)

    @property
    def owner(self) -> str:
        """Whose it is; stands in each object that is made for it."""
        return f"{self.installation}/{self.user_id}/{self.service_plan_id}/{self.generation}"

    @property
    def device_id(self) -> uuid.UUID:
        """The device's `deviceId`, the same whenever it is asked for."""
        return uuid.uuid5(_NAMESPACE, self.owner)

    def new_device(self, group_tag: str, version: str) -> NewDevice:
        """The device to be registered."""
        return NewDevice(
            self.device_id, self.device_name, self.user_id, self.owner, group_tag, operating_system_version=version
        )
