"""What a host in Azure finds of machines before it is asked for them: nothing is made."""

from __future__ import annotations

from collections.abc import Mapping

from cloudpc.machines.azure.images import Images
from cloudpc.machines.azure.sizes import Sizes
from cloudpc.model.abilities import OrderChecks
from cloudpc.model.check import Check
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import Image
from cloudpc.model.machines import Amount
from cloudpc.model.watch import Watch

_LARGE = Amount(disk_gib=1 << 20)
"""A size for any image: where nobody has a licence, only the image is checked."""
_OF_THE_IMAGE = frozenset({ErrorCode.IMAGE_NOT_FOUND, ErrorCode.IMAGE_INVALID})


def check_order(images: Images, sizes: Sizes, image: Image, plans: Mapping[str, Amount], watch: Watch) -> OrderChecks:
    """See ChecksOrders; each thing that is wrong with the image is reported once, whichever plans it concerns."""
    what = f"image {image.image_id}"
    of_image: dict[Check, None] = {}
    of_sizes: dict[str, Check] = {}
    for plan_id, size in (plans or {"": _LARGE}).items():
        try:
            found = images.find(image, size, watch)
            if plans:
                image.check_memory(size.memory_mib)
        except ProvisioningError as error:
            if error.code not in _OF_THE_IMAGE:
                raise
            of_image[Check(what, "failed", error.message, error.hint)] = None
            continue
        of_image |= {Check(what, "warning", warning): None for warning in found.warnings}
        if plans:
            of_sizes[plan_id] = sizes.plan_check(plan_id, size, found, watch)
    return OrderChecks(tuple(of_image), of_sizes)
