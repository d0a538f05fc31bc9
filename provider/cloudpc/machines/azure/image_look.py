"""Looks at an image of Azure, and refuses what no Cloud PC can be made of, before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import parse_qsl, urlsplit

from cloudpc.machines.azure import arm_error
from cloudpc.machines.azure.configuration import AzureHostConfig
from cloudpc.machines.azure.found_image import FoundImage, Generation, System
from cloudpc.machines.azure.image_names import LATEST, GalleryImage, ManagedImage, MarketplaceImage, numbers
from cloudpc.model.errors import ErrorCode, ProvisioningError

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

_Json = Mapping[str, Any]
_T = TypeVar("_T")
_WINDOWS_GIB = 127
"""Disk of Microsoft's own images of Windows, where Azure doesn't say a size."""
_SOON_DAYS = 60
"""So long before its end of life an image is warned of."""
_LIST = "`az vm image list --all --publisher … --offer …` prints what there is"
_AS_URN = f"where an offer has a `_` in its name, write publisher:offer:sku:version; {_LIST}"
_LATEST = "name another version, or the image without one for its latest"
_TO_GALLERY = "put it into a Compute Gallery, which is shared over regions and subscriptions"


class ImageLook:
    """One look at an image, inside `Arm.asking`; raises ProvisioningError IMAGE_NOT_FOUND, IMAGE_INVALID.

    Args:
        name: of the image, for people.
        arm: asks Azure.
        config: the host's.
    """

    def __init__(self, name: str, arm: Arm, config: AzureHostConfig) -> None:
        self._name = name
        self._arm = arm
        self._config = config
        self._location = config.location

    def at_marketplace(self, named: MarketplaceImage) -> FoundImage:
        """What the marketplace of the location has of it."""
        versions = (
            f"/subscriptions/{self._config.subscription_id}/providers/Microsoft.Compute/locations/{self._location}"
            f"/publishers/{named.publisher}/artifacttypes/vmimage/offers/{named.offer}/skus/{named.sku}/versions"
        )
        exact = self._latest_of_marketplace(named) if named.version == LATEST else named.version
        body = self._get(f"{versions}/{exact}", "compute") if exact else None
        if body is None:
            self._missing(f"the marketplace of {self._location} has no {named}", _AS_URN if "_" in named.sku else _LIST)
        properties = body.get("properties") or {}
        features, system = (
            _features(properties),
            self._system((properties.get("osDiskImage") or {}).get("operatingSystem")),
        )
        self._refuse_unusable(properties, features)
        self._refuse_data_disks(properties.get("dataDiskImages"))
        plan = {key: str(value) for key, value in (properties.get("plan") or {}).items() if value}
        size = (properties.get("osDiskImage") or {}).get("sizeInGb") or (_WINDOWS_GIB if system == "Windows" else 0)
        reference = {"publisher": named.publisher, "offer": named.offer, "sku": named.sku, "version": exact}
        return FoundImage(
            name=self._name,
            reference=reference,
            exact_version=exact,
            generation=_generation(properties),
            system=system,
            disk_gib=int(size),
            purchase_plan=plan,
            trusted_launch=_trusted(properties, features),
            nvme=_nvme(features),
            accelerated_networking=features.get("isacceleratednetworksupported", "true").lower() != "false",
            warnings=(*self._deprecation(properties.get("imageDeprecationStatus") or {}), *_terms(named, plan)),
        )

    def at_gallery(self, named: GalleryImage) -> FoundImage:
        """What its gallery has for the location."""
        definition = self._get(named.path, "galleries")
        if definition is None:
            self._missing(
                f"there is no image {named.path}", "correct azureResourceId, or let the sign-in read the gallery"
            )
        about = definition.get("properties") or {}
        self._refuse_specialised(about.get("osState"))
        version = self._version(named)
        exact, properties = str(version.get("name")), version.get("properties") or {}
        features = _features(about, exact)
        self._refuse_unusable(about, features)
        storage = properties.get("storageProfile") or {}
        self._refuse_data_disks(storage.get("dataDiskImages"))
        ends = [about.get("endOfLifeDate"), (properties.get("publishingProfile") or {}).get("endOfLifeDate")]
        return FoundImage(
            name=self._name,
            reference={"id": f"{named.path}/versions/{exact}"},
            exact_version=exact,
            generation=_generation(about),
            system=self._system(about.get("osType")),
            disk_gib=int((storage.get("osDiskImage") or {}).get("sizeInGB") or 0),
            purchase_plan={key: str(value) for key, value in (about.get("purchasePlan") or {}).items() if value},
            trusted_launch=_trusted(about, features),
            nvme=_nvme(features),
            accelerated_networking=features.get("isacceleratednetworksupported", "true").lower() != "false",
            warnings=tuple(self._end_of_life(ends)),
        )

    def at_managed(self, named: ManagedImage) -> FoundImage:
        """What the resource says."""
        body = self._get(named.path, "compute")
        if body is None:
            self._missing(
                f"there is no image {named.path}", "correct azureResourceId, or let the sign-in read the image"
            )
        if named.subscription.lower() != self._config.subscription_id.lower():
            self._refuse("is of another subscription, and a managed image serves its own only", _TO_GALLERY)
        if (at := str(body.get("location") or "")).lower().replace(" ", "") != self._location.lower():
            self._refuse(f"is in {at}, and a managed image serves its own region only: {self._location}", _TO_GALLERY)
        properties = body.get("properties") or {}
        storage = properties.get("storageProfile") or {}
        disk = storage.get("osDisk") or {}
        self._refuse_specialised(disk.get("osState"))
        self._refuse_data_disks(storage.get("dataDisks"))
        return FoundImage(
            name=self._name,
            reference={"id": named.path},
            generation=_generation(properties),
            system=self._system(disk.get("osType")),
            disk_gib=int(disk.get("diskSizeGB") or 0),
            trusted_launch=False,  # Azure has it for images of galleries and of the marketplace only
        )

    # ---- versions

    def _latest_of_marketplace(self, named: MarketplaceImage) -> str:
        """Of all that are listed: asked for by the name `latest`, Azure does not always answer."""
        images = self._arm.compute.virtual_machine_images
        found = _unless_missing(lambda: images.list(self._location, named.publisher, named.offer, named.sku)) or ()
        return max((str(version.name) for version in found), key=numbers, default="")

    def _version(self, named: GalleryImage) -> _Json:
        """The exact version, which must be in this region."""
        if named.version != LATEST:
            found = self._get(str(named), "galleries")
            if found is None:
                self._missing(f"there is no version {named.version} of {named.path}", _LATEST)
            if why := self._not_here(found):
                self._refuse(f"of the version {named.version} {why}", f"replicate it to {self._location}")
            return found
        listed = self._listed(f"{named.path}/versions", "galleries")
        usable = [v for v in listed if not self._not_here(v) and not self._is_left_out(v)]
        if not usable:
            self._missing(
                f"{named.path} has no version that is replicated to {self._location}",
                f"make one, with {self._location} among its target regions",
            )
        return max(usable, key=lambda version: numbers(str(version.get("name"))))

    def _not_here(self, version: _Json) -> str:
        """Why a version can't be used at this location; empty if it can."""
        properties = version.get("properties") or {}
        state = properties.get("provisioningState", "Succeeded")
        if state not in ("Succeeded", "Updating"):
            return f"is {str(state).lower()}"
        return "" if self._region(properties) is not None else f"is not replicated to {self._location}"

    def _is_left_out(self, version: _Json) -> bool:
        profile = (version.get("properties") or {}).get("publishingProfile") or {}
        region = self._region(version.get("properties") or {}) or {}
        return bool(profile.get("excludeFromLatest") or region.get("excludeFromLatest"))

    def _region(self, properties: _Json) -> _Json | None:
        """This region's entry among a version's targets; a version without targets is no obstacle."""
        targets = (properties.get("publishingProfile") or {}).get("targetRegions")
        if not targets:
            return {}
        here = self._location.lower()
        return next((t for t in targets if str(t.get("name")).lower().replace(" ", "") == here), None)

    # ---- what is refused, and warned of

    def _refuse_unusable(self, properties: _Json, features: Mapping[str, str]) -> None:
        if (architecture := str(properties.get("architecture") or "x64")).lower() != "x64":
            self._refuse(f"is for {architecture} processors, and machines here are x64", "choose its form for x64")
        if features.get("securitytype", "").lower() == "confidentialvm":
            self._refuse("is for confidential machines only, which are not made here", "choose another image")
        status = properties.get("imageDeprecationStatus") or {}
        if status.get("imageState") == "Deprecated":
            self._refuse("is deprecated: Azure no longer makes machines from it", _instead(status) or _LIST)

    def _refuse_specialised(self, state: object) -> None:
        if str(state).lower() == "specialized":
            self._refuse(
                "is specialised: it is one machine's, with its name and accounts",
                "generalise it (`waagent -deprovision`, sysprep) and make an image with osState Generalized",
            )

    def _refuse_data_disks(self, disks: Any) -> None:
        if disks:
            self._refuse("has data disks, and a Cloud PC has one disk", "make an image of the system's disk alone")

    def _system(self, value: object) -> System:
        return "Windows" if str(value).lower() == "windows" else "Linux"

    def _deprecation(self, status: _Json) -> Iterable[str]:
        if status.get("imageState") == "ScheduledForDeprecation":
            when = str(status.get("scheduledDeprecationTime") or "")[:10]
            instead = _instead(status)
            yield f"is deprecated{f' from {when} on' if when else ' soon'}" + (f": {instead}" if instead else "")

    def _end_of_life(self, dates: Iterable[object]) -> Iterable[str]:
        known = [when for date in dates if date and (when := _date(str(date))) is not None]
        if not known:
            return
        first, today = min(known), datetime.now(UTC)
        if first <= today:
            yield f"has been at its end of life since {first:%Y-%m-%d}"
        elif (first - today).days < _SOON_DAYS:
            yield f"reaches its end of life on {first:%Y-%m-%d}"

    def _refuse(self, why: str, hint: str) -> NoReturn:
        message = f"the image {self._name} {why}"
        raise ProvisioningError(ErrorCode.IMAGE_INVALID, message, retriable=False, hint=hint)

    def _missing(self, why: str, hint: str) -> NoReturn:
        message = f"the image {self._name} is not there for {self._config.name}: {why}"
        raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False, hint=hint)

    def _listed(self, path: str, api: str) -> Iterator[_Json]:
        """The entries of all pages of a list."""
        page = self._get(path, api)
        while page is not None:
            yield from page.get("value") or ()
            if not (link := urlsplit(str(page.get("nextLink") or ""))).path:
                return
            page = self._arm.get(link.path, api, **dict(parse_qsl(link.query)))

    def _get(self, path: str, api: str) -> _Json | None:
        return _unless_missing(lambda: self._arm.get(path, api))


def _unless_missing(ask: Callable[[], _T]) -> _T | None:
    """The answer; None if there is no such image."""
    from azure.core.exceptions import HttpResponseError

    try:
        return ask()
    except HttpResponseError as error:
        said = arm_error.of(error)
        if said.is_missing or said.meaning is arm_error.Meaning.IMAGE_MISSING:
            return None
        raise


def _features(properties: _Json, version: str = "") -> dict[str, str]:
    """By name in lower case; those that begin with a later version of a gallery's image are left out."""
    found = properties.get("features") or ()
    return {
        str(each.get("name")).lower(): str(each.get("value"))
        for each in found
        if not version or numbers(str(each.get("startsAtVersion") or "0")) <= numbers(version)
    }


def _generation(properties: _Json) -> Generation:
    """Azure says nothing where it is the first."""
    return "V2" if str(properties.get("hyperVGeneration")).upper() == "V2" else "V1"


def _trusted(properties: _Json, features: Mapping[str, str]) -> bool:
    return _generation(properties) == "V2" and features.get("securitytype", "").lower().startswith("trustedlaunch")


def _nvme(features: Mapping[str, str]) -> bool:
    return "nvme" in features.get("diskcontrollertypes", "").lower()


def _instead(status: _Json) -> str:
    other = (status.get("alternativeOption") or {}).get("value")
    return f"its publisher names {other} instead" if other else ""


def _terms(named: MarketplaceImage, plan: Mapping[str, str]) -> Iterable[str]:
    if plan:
        accept = f"`az vm image terms accept --urn {named}`"
        yield f"is bought from {plan.get('publisher')}: its terms are accepted once, by {accept}"


def _date(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
