"""Disks, images, sizes and quotas."""

from __future__ import annotations

import copy
import re

from tests.azure.api_subscription import checked_tags
from tests.azure.errors import ArmFault, invalid, not_found
from tests.azure.machine import DISK
from tests.azure.quota import usages
from tests.azure.routing import Call, Routes, listed
from tests.support.http_server import Answer

ROUTES = Routes()
_LOCATION = re.compile(r"location eq '([^']+)'$")


@ROUTES.add("ResourceSkus_List")
def _sizes(call: Call) -> Answer:
    asked = call.query.get("$filter")
    location = call.arm.account.location
    if asked is not None:
        found = _LOCATION.match(asked)
        if not found:
            raise invalid(f"The filter '{asked}' is not supported: only location can be filtered.", "$filter")
        location = found[1]
    if location.lower() not in call.arm.locations:
        return listed(call, [])
    disk = {"resourceType": "disks", "name": "StandardSSD_LRS", "tier": "Standard", "size": "E10",
            "locations": [location], "locationInfo": [{"location": location, "zones": []}], "capabilities": [],
            "restrictions": []}  # fmt: skip
    return listed(call, [disk, *(size.shown(location) for size in call.arm.sizes.values())])


@ROUTES.add("Usage_List")
def _usages(call: Call) -> Answer:
    if call.parameters["location"].lower() not in call.arm.locations:
        raise ArmFault("NoRegisteredProviderFound", f"No registered resource provider found for location "
                       f"'{call.parameters['location']}' and API version.", 400)  # fmt: skip
    return listed(call, usages(call.arm))


@ROUTES.add("VirtualMachineImages_Get")
def _marketplace(call: Call) -> Answer:
    publisher, offer, sku = (call.parameters[name] for name in ("publisherName", "offer", "skus"))
    known = call.arm.marketplace.get((publisher.lower(), offer.lower(), sku.lower()))
    version = call.parameters["version"]
    if known is None or (version.lower() != "latest" and version not in known.versions):
        raise ArmFault("NotFound", f"Artifact: VMImage was not found in {call.arm.account.location} location. "
                       f"(publisher {publisher}, offer {offer}, sku {sku}, version {version})")  # fmt: skip
    exact = known.versions[-1] if version.lower() == "latest" else version
    features = {"DiskControllerTypes": known.controllers, "IsAcceleratedNetworkSupported": "True"}
    if known.trusted_launch:
        features["SecurityType"] = "TrustedLaunchSupported"
    return Answer(200, {
        "id": f"{call.path.rpartition('/')[0]}/{exact}", "name": exact, "location": call.arm.account.location,
        "properties": {
            "osDiskImage": {"operatingSystem": known.os}, "dataDiskImages": [],
            "automaticOSUpgradeProperties": {"automaticOSUpgradeSupported": False},
            "hyperVGeneration": known.generation, "architecture": known.architecture,
            "features": [{"name": name, "value": value} for name, value in features.items()],
            "imageDeprecationStatus": {"imageState": known.state},
            **({"plan": known.plan} if known.plan else {}),
        },
    })  # fmt: skip


@ROUTES.add("VirtualMachineImages_List")
def _marketplace_versions(call: Call) -> Answer:
    publisher, offer, sku = (call.parameters[name] for name in ("publisherName", "offer", "skus"))
    known = call.arm.marketplace.get((publisher.lower(), offer.lower(), sku.lower()))
    if known is None:
        raise ArmFault("NotFound", f"Artifact: VMImage was not found in {call.arm.account.location} location. "
                       f"(publisher {publisher}, offer {offer}, sku {sku})")  # fmt: skip
    location = call.arm.account.location
    return Answer(200, [{"id": f"{call.path}/{name}", "name": name, "location": location} for name in known.versions])


@ROUTES.add("Images_Get", "GalleryImages_Get", "GalleryImageVersions_Get")
def _own(call: Call) -> Answer:
    found = call.arm.resources.find(call.path)
    if found is None:
        raise not_found(call.path)
    return Answer(200, found.shown())


@ROUTES.add("GalleryImageVersions_ListByGalleryImage")
def _versions(call: Call) -> Answer:
    image = call.arm.resources.get(call.path.rpartition("/")[0])
    kind = "Microsoft.Compute/galleries/images/versions"
    return listed(call, [r.shown() for r in call.arm.resources.of(kind, f"{image.id}/")])


@ROUTES.add("Disks_ListByResourceGroup")
def _disks(call: Call) -> Answer:
    call.arm.resources.get(call.group)
    return listed(call, [r.shown() for r in call.arm.resources.listed(DISK, f"{call.group}/")])


@ROUTES.add("Disks_Get")
def _disk(call: Call) -> Answer:
    return Answer(200, call.arm.resources.get(_disk_id(call)).shown())


@ROUTES.add("Disks_Update")
def _change_disk(call: Call) -> Answer:
    disk = call.arm.resources.get(_disk_id(call))
    given = copy.deepcopy(call.body)
    if "tags" in given:
        disk.body["tags"] = checked_tags(given["tags"])
    disk.properties.update(given.get("properties") or {})
    return Answer(200, disk.shown())


@ROUTES.add("Disks_Delete")
def _delete_disk(call: Call) -> Answer:
    disk = call.arm.resources.find(_disk_id(call))
    if disk is None:
        return Answer(204)
    if holder := disk.body.get("managedBy"):
        raise ArmFault("OperationNotAllowed", f"Disk {disk.name} is attached to VM {holder}.")
    failure = call.failure
    operation = call.arm.operations.begin("Microsoft.Compute", disk.id, call.operation)

    def done() -> None:
        if not failure:
            call.arm.resources.remove(disk)
        call.arm.operations.end(operation, failure)

    call.arm.operations.later(0, done)
    return Answer(202, None, call.arm.following(operation))


def _disk_id(call: Call) -> str:
    return f"{call.group}/providers/{DISK}/{call.parameters['diskName']}"
