"""What Azure refuses of an order for a virtual machine."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.azure.account import Size
from tests.azure.errors import ArmFault, Json, invalid
from tests.azure.resources import Resource
from tests.azure.routing import Call

if TYPE_CHECKING:
    from tests.azure.arm import FakeArm

_FORBIDDEN_NAMES = frozenset(
    "administrator admin user user1 test user2 test1 user3 admin1 1 123 a actuser adm admin2 aspnet backup console "
    "david guest john owner root server sql support support_388945a0 sys test2 test3 user4 user5".split()
)
_MOST_CUSTOM_DATA = 65535
_MOST_USER_DATA = 65536


@dataclass(frozen=True)
class Image:
    """What an image reference means."""

    os: str
    disk_gb: int
    generation: str
    version: str | None
    plan: Json | None
    trusted_launch: bool
    generalized: bool
    controllers: str


def image_of(arm: FakeArm, reference: Json) -> Image:
    """The image of an order, or ArmFault."""
    if id_ := reference.get("id"):
        return _own_image(arm, id_)
    key = tuple(str(reference.get(name, "")).lower() for name in ("publisher", "offer", "sku"))
    known = arm.marketplace.get((key[0], key[1], key[2]))
    version = str(reference.get("version", ""))
    if known is None or (version.lower() != "latest" and version not in known.versions):
        raise ArmFault("PlatformImageNotFound", f"The platform image '{':'.join(key)}:{version}' is not available. "
                       "Verify that all fields in the storage profile are correct.",
                       target="imageReference")  # fmt: skip
    if known.state == "Deprecated":
        raise ArmFault("ImageVersionDeprecated", target="imageReference")
    exact = known.versions[-1] if version.lower() == "latest" else version
    return Image(known.os, known.disk_gb, known.generation, exact, known.plan, known.trusted_launch, True,
                 known.controllers)  # fmt: skip


def _own_image(arm: FakeArm, id_: str) -> Image:
    found = arm.resources.find(id_)
    if found is None:
        code = "GalleryImageNotFound" if "/galleries/" in id_.lower() else "NotFound"
        raise ArmFault(code, f"The image '{id_}' is not available. Verify that image id passed is correct.",
                       target="imageReference")  # fmt: skip
    if found.type == "Microsoft.Compute/images":
        disk = found.properties["storageProfile"]["osDisk"]
        return Image(disk["osType"], disk.get("diskSizeGB", 30), found.properties.get("hyperVGeneration", "V1"), None,
                     None, False, disk["osState"] == "Generalized", "SCSI")  # fmt: skip
    version, definition = _gallery_image(arm, found)
    features = {f["name"]: f["value"] for f in definition.properties.get("features", ())}
    return Image(
        definition.properties["osType"], version.properties["storageProfile"]["osDiskImage"]["sizeInGB"],
        definition.properties.get("hyperVGeneration", "V1"), version.name, definition.properties.get("purchasePlan"),
        "TrustedLaunch" in features.get("SecurityType", ""), definition.properties["osState"] == "Generalized",
        features.get("DiskControllerTypes", "SCSI"),
    )  # fmt: skip


def _gallery_image(arm: FakeArm, found: Resource) -> tuple[Resource, Resource]:
    if found.type == "Microsoft.Compute/galleries/images/versions":
        return found, arm.resources.get(found.id.partition("/versions/")[0])
    versions = arm.resources.of("Microsoft.Compute/galleries/images/versions", f"{found.id}/")
    latest = [v for v in versions if not v.properties.get("publishingProfile", {}).get("excludeFromLatest")]
    if not latest:
        raise ArmFault("GalleryImageNotFound", f"The gallery image {found.id} has no version.", target="imageReference")
    return max(latest, key=lambda v: [int(part) for part in v.name.split(".")]), found


def check_name(name: str) -> None:
    """Of the resource."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}[A-Za-z0-9_]|[A-Za-z0-9]", name):
        raise invalid(f"The entity name 'vmName' is invalid: '{name}'.", "vmName")


def check_order(call: Call, image: Image, size: Size) -> None:
    """ArmFault: what is asked for can't be."""
    body: Json = call.body
    properties: Json = body.get("properties", {})
    if body["location"].replace(" ", "").lower() not in call.arm.locations:
        raise ArmFault("LocationNotAvailableForResourceType", f"The provided location '{body['location']}' is not "
                       "available for resource type 'Microsoft.Compute/virtualMachines'.", 400)  # fmt: skip
    _check_size(call, image, size)
    _check_image(body, image, size)
    _check_security(properties, image, size)
    if image.generalized:
        _check_os(properties.get("osProfile"), image.os, call.parameters["vmName"])
    elif properties.get("osProfile"):
        raise ArmFault("InvalidParameter", "Parameter 'osProfile' is not allowed.", 409, target="osProfile")
    if len(properties.get("userData", "")) > _MOST_USER_DATA * 4 // 3:
        raise invalid("Userdata in base64 format is too large.", "userData")


def _check_size(call: Call, image: Image, size: Size) -> None:
    location = call.body["location"]
    for restriction in size.restrictions:
        zones = restriction.get("restrictionInfo", {}).get("zones", [])
        if restriction["type"] == "Location" or set(call.body.get("zones", ())) & set(zones):
            raise ArmFault("SkuNotAvailable", f"The requested VM size for resource 'Following SKUs have failed for "
                           f"Capacity Restrictions: {size.name}' is currently not available in location '{location}'. "
                           "Please try another size or deploy to a different location or different zone. See "
                           "https://aka.ms/azureskunotavailable for details.")  # fmt: skip
    for zone in call.body.get("zones", ()):
        if zone not in size.zones:
            raise ArmFault("InvalidAvailabilityZone", f"The zone(s) '{zone}' for resource is not supported. The "
                           f"supported zones for location '{location}' are '{', '.join(size.zones)}'", 400)  # fmt: skip
    if image.generation not in size.generations:
        raise ArmFault(
            "BadRequest",
            f"The selected VM size '{size.name}' cannot boot Hypervisor Generation '{image.generation[-1]}'. If this "
            "was a Create operation please check that the Hypervisor Generation of the Image matches the Hypervisor "
            "Generation of the selected VM Size.",
        )
    if size.architecture != "x64":
        raise ArmFault(
            "BadRequest",
            f"Cannot create a VM of size '{size.name}' because this VM size only supports a CPU Architecture of "
            "'Arm64', but an image or disk with CPU Architecture 'x64' was given.",
        )
    if not set(size.controllers.split(", ")) & set(image.controllers.split(", ")):
        raise invalid(f"The VM size '{size.name}' cannot boot with OS image or disk. Please check that disk "
                      "controller types supported by the OS image or disk is one of the supported disk controller "
                      f"types for the VM size '{size.name}'.", "vmSize")  # fmt: skip


def _check_image(body: Json, image: Image, size: Size) -> None:
    disk = body["properties"]["storageProfile"].get("osDisk", {})
    if disk.get("createOption") != "FromImage":
        raise invalid("createOption must be FromImage for an image.", "osDisk.createOption")
    if (asked := disk.get("diskSizeGB")) and asked < image.disk_gb:
        raise ArmFault("OperationNotAllowed", f"The specified disk size {asked} GB is smaller than the size of the "
                       f"corresponding disk in the VM image: {image.disk_gb} GB. This is not allowed. Please choose "
                       "equal or greater size or do not specify an explicit size.",
                       target="osDisk.diskSizeGB")  # fmt: skip
    kind = (disk.get("managedDisk") or {}).get("storageAccountType", "")
    if kind.startswith("Premium") and not size.premium:
        raise invalid(f"Requested operation cannot be performed because the VM size {size.name} does not support the "
                      f"storage account type {kind} of disk. Consider updating the VM to a size that supports Premium "
                      "storage.", "osDisk.managedDisk.storageAccountType")  # fmt: skip
    if image.plan and body.get("plan") != image.plan:
        raise ArmFault("VMMarketplaceInvalidInput", "Creating a virtual machine from Marketplace image requires Plan "
                       "information in the request.", 400)  # fmt: skip


def _check_security(properties: Json, image: Image, size: Size) -> None:
    profile = properties.get("securityProfile") or {}
    if profile.get("uefiSettings") and profile.get("securityType") not in ("TrustedLaunch", "ConfidentialVM"):
        raise invalid("'uefiSettings' needs a 'securityType'.", "securityProfile.uefiSettings")
    if profile.get("securityType") == "TrustedLaunch":
        if not image.trusted_launch:
            raise ArmFault("BadRequest", "The provided gallery image only supports creation of VMs and VM Scale Sets "
                           "with 'Standard' security type.")  # fmt: skip
        if not size.trusted_launch:
            raise ArmFault("BadRequest", f"The VM size '{size.name}' does not support TrustedLaunch.")


def _check_os(profile: Json | None, os: str, name: str) -> None:
    if profile is None:
        raise invalid("Required parameter 'osProfile' is missing (null).", "osProfile")
    most = 15 if os == "Windows" else 64
    computer = profile.get("computerName") or name
    if (
        len(computer) > most
        or not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", computer)
        or (os == "Windows" and computer.isdigit())
    ):
        raise invalid(f"{os} computer name cannot be more than {most} characters long, be entirely numeric, or contain "
                      "special characters.", "osProfile.computerName")  # fmt: skip
    user = profile.get("adminUsername", "")
    if not user or user.lower() in _FORBIDDEN_NAMES or user.endswith("."):
        raise invalid("The Admin Username specified is not allowed.", "adminUsername")
    _check_credentials(profile, os)
    try:
        data = base64.b64decode(profile.get("customData") or "", validate=True)
    except binascii.Error:
        raise invalid("Custom data in OSProfile must be in Base64 encoding and with a maximum length of 87380 "
                      "characters.", "customData") from None  # fmt: skip
    if len(data) > _MOST_CUSTOM_DATA:
        raise invalid("Custom data in OSProfile must be in Base64 encoding and with a maximum length of 87380 "
                      "characters.", "customData")  # fmt: skip


def _check_credentials(profile: Json, os: str) -> None:
    password = profile.get("adminPassword")
    linux = profile.get("linuxConfiguration") or {}
    if (os == "Windows" and linux) or (os == "Linux" and profile.get("windowsConfiguration")):
        raise invalid(f"Configuration of another system than the image's ({os}) is not allowed.", "osProfile")
    if password is not None and not strong(password):
        raise invalid("The supplied password must be between 8-123 characters long (72 for Linux) and must satisfy at "
                      "least 3 of password complexity requirements.", "adminPassword")  # fmt: skip
    if os == "Windows" and password is None:
        raise invalid("Required parameter 'adminPassword' is missing (null).", "adminPassword")
    keys = (linux.get("ssh") or {}).get("publicKeys") or []
    if os == "Linux" and password is None and not keys:
        raise invalid("Authentication using either SSH or by user name and password must be enabled in Linux profile.",
                      "linuxConfiguration")  # fmt: skip
    if os == "Linux" and linux.get("disablePasswordAuthentication") and (password is not None or not keys):
        raise invalid("Authentication by password is disabled: a public key is needed, and no password.",
                      "linuxConfiguration")  # fmt: skip
    for key in keys:
        expected = f"/home/{profile['adminUsername']}/.ssh/authorized_keys"
        if key.get("path") != expected:
            raise invalid(f"Destination path for SSH public keys is currently limited to its default value {expected} "
                          "due to a known issue in Linux provisioning agent.", "linuxConfiguration.ssh")  # fmt: skip
        if not re.match(r"(ssh-rsa|ssh-ed25519) [A-Za-z0-9+/=]+", key.get("keyData", "")):
            raise invalid("The key data is not a valid OpenSSH public key.", "linuxConfiguration.ssh")


def strong(password: str) -> bool:
    """As Azure wants them."""
    classes = (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^a-zA-Z0-9]")
    return 8 <= len(password) <= 123 and sum(bool(re.search(c, password)) for c in classes) >= 3
