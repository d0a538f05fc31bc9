"""Which Cloud PC something is of: in state by its key, on a host by a machine's id, in directories by its owner."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from cloudpc.model.machine_names import machine_name

_MACHINES = uuid.UUID("7d3cf6a4-5be1-4c86-9bb8-5d6f4f3c2a10")
_DEVICES = uuid.UUID("0b8d0f5e-3f8b-4f0c-9a39-5c2d8a1f7e64")


def key_of(user_id: str, service_plan_id: str) -> str:
    """A Cloud PC within an installation: `<user id>/<service plan id>`."""
    return f"{user_id}/{service_plan_id}"


def user_and_plan(key: str) -> tuple[str, str]:
    """The ids that a key is made of."""
    user_id, _, service_plan_id = key.rpartition("/")
    return user_id, service_plan_id


def machine_id(installation: str, user_id: str, service_plan_id: str) -> uuid.UUID:
    """The machine of a user's Cloud PC of one service plan, the same in every stack of an installation.

    Leaving the policy out makes the host itself refuse a second one (rule 1).
    """
    return uuid.uuid5(_MACHINES, "\0".join((installation, user_id, service_plan_id)))


@dataclass(frozen=True)
class Identity:
    """One generation of a user's Cloud PC."""

    installation: str
    user_id: str
    service_plan_id: str
    generation: int
    device_name: str

    @classmethod
    def of(cls, owner: str, device_name: str) -> Identity | None:
        """From what stands in a directory's object; None if that is not ours."""
        match owner.split("/"):
            case [installation, user_id, service_plan_id, generation] if generation.isdecimal():
                return cls(installation, user_id, service_plan_id, int(generation), device_name)
        return None

    @property
    def key(self) -> str:
        """`<user id>/<service plan id>`."""
        return key_of(self.user_id, self.service_plan_id)

    @property
    def machine_id(self) -> uuid.UUID:
        """Its machine's; all generations have the same."""
        return machine_id(self.installation, self.user_id, self.service_plan_id)

    @property
    def machine_name(self) -> str:
        """Its machine's name on a host."""
        return machine_name(self.installation, self.machine_id)

    @property
    def owner(self) -> str:
        """Whose it is; stands in each object of a directory that is made for it."""
        return f"{self.installation}/{self.key}/{self.generation}"

    @property
    def device_id(self) -> uuid.UUID:
        """The device's `deviceId`, the same whenever it is asked for."""
        return uuid.uuid5(_DEVICES, self.owner)


def installation_of(owner: str) -> str:
    """The installation in what stands in a directory's object."""
    return owner.partition("/")[0]


def without_generation(owner: str) -> str:
    """The Cloud PC, of whichever generation, in what stands in a directory's object."""
    return owner.rpartition("/")[0]
