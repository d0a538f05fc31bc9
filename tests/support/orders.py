"""Orders of machines, for tests of hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloudpc.guests.linux import first_boot
from cloudpc.model.cloud_pc import Account
from cloudpc.model.guests import Seed
from cloudpc.model.image import DiskImage, Image, ImageFile
from cloudpc.model.machine_names import machine_name
from cloudpc.model.machines import Amount, Network, Order
from cloudpc.model.tags import Tag

IMAGE = DiskImage(image_id="micro", digest="ab" * 32, disk=ImageFile(Path("/none/disk.qcow2"), "ab" * 32, 1))


def seed(user: str) -> Seed:
    """A first boot with alice's account."""
    account = Account(name="alice", display_name="Alice")
    return first_boot.seed(instance_id=user, device_name=user, account=account, local_admin=False)


def order(tag: Tag, size: Amount, network: Network | None = None, *, image: Image = IMAGE, **changes: Any) -> Order:
    """A machine of this tag; by default of an image that nobody can open."""
    identity = tag.machine_id
    name = machine_name(tag.installation, identity)
    what: dict[str, Any] = {"id": identity, "name": name, "title": f"{tag.user_id}: test", "size": size, "tag": tag}
    how: dict[str, Any] = {"first_boot_in_seconds": 180, "image": lambda _: image, "seed": lambda _: seed(tag.user_id)}
    return Order(**{**what, "network": network or Network(), **how, **changes})
