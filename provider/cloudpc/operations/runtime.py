"""What the provider process works with, built once from the stack's configuration: hosts, images, scripts."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

from cloudpc import guests
from cloudpc.configuration import offers
from cloudpc.configuration.lookups import CONNECTIONS
from cloudpc.configuration.parsing import Surroundings
from cloudpc.connections.healthy import Connections
from cloudpc.files import regular_file
from cloudpc.images import sources
from cloudpc.images.sources import Places, Source
from cloudpc.model import drivers, patience
from cloudpc.model.cloud_pc import PolicySettings
from cloudpc.model.errors import ErrorCode, ProvisioningError, unexpected_told
from cloudpc.model.hosts import ByHand, HostConfig
from cloudpc.model.image import Image
from cloudpc.model.machines import Host, Machine
from cloudpc.model.remnants import Remnant, kept, of_machine
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from cloudpc.operations.consent import Consent
from cloudpc.operations.look import Place
from cloudpc.operations.organisation import Organisation
from cloudpc.operations.removal import Removal
from cloudpc.provisioning.ledger import Ledger
from cloudpc.provisioning.looks import Looks
from cloudpc.provisioning.resources import Form, Resources

log = logging.getLogger(__name__)


def connect(config: HostConfig) -> Host:
    """The host of an entry of `cloudpc:hosts`, by its driver. Opens nothing yet.

    Raises:
        ProvisioningError: its driver is not installed.
    """
    driver = drivers.named(config.driver)
    if driver is None:
        message = f"no driver for the host {config.name} ({config.where})"
        raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, message, retriable=False)
    return driver.open(config)


def _image(source: Source, settings: PolicySettings, watch: Watch) -> Image:
    return source.image(settings.image_id, settings.image_digests[source.kind], watch.note)


def _no_image(settings: PolicySettings, _watch: Watch) -> Image:
    message = f"no host of the policy takes images of the imageType {settings.image_type}"
    raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False)


@dataclass(frozen=True)
class _Place:
    """Implements `cloudpc.operations.look.Place`."""

    host: Host
    looks: Looks

    @property
    def name(self) -> str:
        return self.host.name

    def describe(self, machine_id: UUID) -> Machine | None:
        return self.host.describe(machine_id)

    def remnants(self, installation: str) -> list[Remnant]:
        return self.looks.remnants(self.host, installation)


class Runtime:
    """Opened hosts, directories and the files of one stack.

    Args:
        surroundings: as configured.
        stacks: the folder of the stacks' files.
        tell: is given what an admin should know though nothing failed.
    """

    def __init__(self, surroundings: Surroundings, stacks: Path, tell: Callable[[str], None] = log.warning) -> None:
        self.hosts = [connect(host) for host in surroundings.hosts]
        self._tell = tell
        self._told: set[str] = set()
        self._configured = surroundings.hosts
        self._places = Places(stacks, surroundings.images)
        self._stacks = stacks
        self._organisation = Organisation(surroundings, stacks / CONNECTIONS, tell)
        self._forms_of: dict[tuple[object, ...], dict[str, Form]] = {}
        self._consent = Consent.of_this_run()
        self._looks = Looks(Ledger(self.hosts, tell))
        self.removal = Removal(self.hosts, self._organisation, self._consent, self._looks)
        self._connections = Connections(self.hosts, stacks / CONNECTIONS)

    def resources(self, settings: PolicySettings) -> Resources:
        """What the pipeline needs for a Cloud PC with these settings."""
        forms = self._forms(settings)
        return Resources(
            hosts=self.hosts,
            taking=[host for host in self.hosts if host.name in forms] if forms else None,
            image=self._main(forms, settings),
            forms=forms,
            paid={config.name for config in self._configured if config.PAID_BY_THE_MACHINE},
            script=partial(self._script, settings),
            guest_os=guests.named,
            adoptable=self._consent.adopt,
            healthy=self._connections.healthy,
            registration=self._organisation.registration(),
            shared=self._looks,
        )

    def by_hand(self, host_name: str) -> ByHand:
        """How an admin works on the host of this name without us."""
        return next((config.by_hand for config in self._configured if config.name == host_name), ByHand())

    @staticmethod
    def _main(forms: Mapping[str, Form], settings: PolicySettings) -> Callable[[Watch], Image]:
        finds = {form.kind: form.find for form in forms.values()}
        return finds.get(settings.image_kind) or next(iter(finds.values()), partial(_no_image, settings))

    def _forms(self, settings: PolicySettings) -> dict[str, Form]:
        """By host: the form in which it gets the image that these settings name; hosts that take none are left out."""
        image = (settings.image_type, settings.image_id, *settings.image_digests.items())  # its first kind counts first
        if image not in self._forms_of:  # as many Cloud PCs as a policy has ask for the same, of each of its hosts
            self._forms_of[image] = self._forms_by_host(settings)
        return self._forms_of[image]

    def _forms_by_host(self, settings: PolicySettings) -> dict[str, Form]:
        meant = sources.of(settings.image_type, self._places)
        chosen = [sources.chosen(meant, kind, settings.image_id) for kind in settings.image_digests]
        forms = {each.kind: Form(each.kind, partial(_image, each, settings)) for each in chosen if each is not None}
        taken = ((config.name, offers.form(config, forms)) for config in self._configured)
        return {name: forms[kind] for name, kind in taken if kind is not None}

    def _script(self, settings: PolicySettings) -> bytes | None:
        script = settings.script
        if script is None:
            return None
        try:
            content = regular_file.read(self._stacks / script.path)
        except OSError as error:
            message = f"the post-provisioning script {script.path} can't be read: {error.strerror}"
            raise ProvisioningError(ErrorCode.SET_UP_FAILED, message, retriable=False) from None
        if hashlib.sha256(content).hexdigest() != script.sha256:
            message = f"the post-provisioning script {script.path} was changed during this run"
            raise ProvisioningError(ErrorCode.SET_UP_FAILED, message, retriable=False)
        return content

    def tell_once(self, text: str) -> None:
        """What would be said of each Cloud PC, and is no different for any."""
        if text not in self._told:
            self._told.add(text)
            self._tell(text)

    def tell_slow(self) -> None:
        """A line that stays, unlike reports during a call, for each host that was slow and still is."""
        for host in self.hosts:
            if patience.met(host.name) and patience.is_slow(host.name):
                self.tell_once(
                    f"{host.name} is slow to answer. `cloudpc doctor` says since when, and what it took long for."
                )

    def host(self, name: str) -> Host:
        """The host of this name. Raises ProvisioningError: it is not in cloudpc:hosts."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, f"the host {name} is not in cloudpc:hosts")

    def places(self) -> list[Place]:
        """The hosts, for looks at many machines of which many may be missing: they share a list of what is left."""
        return [_Place(host, self._looks) for host in self.hosts]

    def discard_kept(self, installation: str, machine_id: UUID) -> None:
        """Remove what is kept of a failed Cloud PC; on a host that is away it goes when it has expired."""
        for host in self.hosts:
            try:
                self._looks.discard(host, kept(of_machine(self._looks.remnants(host, installation), machine_id)))
            except Exception:  # whatever goes wrong in a driver: making it again comes first
                log.exception("could not remove what is kept of %s on %s", machine_id, host.name)

    def start(self, machine_id: UUID, host_name: str) -> None:
        """Start a machine that is off. Raises ProvisioningError, whatever is wrong."""
        with unexpected_told(f"starting {machine_id}"):
            self.host(host_name).power_on(machine_id, Watch(), until_ready=False)

    def hand_over(self, machine_id: str, host_name: str) -> None:
        """Mark a machine as its user's; if its host is away now, `tidy` of a later run does it."""
        with contextlib.suppress(ProvisioningError), unexpected_told(f"handing over {machine_id}"):
            self.host(host_name).finish(UUID(machine_id), Phase.HANDED_OVER)
