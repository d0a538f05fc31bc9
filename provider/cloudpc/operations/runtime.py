"""What the provider process works with, built once from the stack's configuration: hosts, images, scripts."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Collection, Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
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
from cloudpc.model.hosts import HostConfig
from cloudpc.model.image import Image
from cloudpc.model.machines import Host, Machine, Removed, State
from cloudpc.model.remnants import expired, kept, of_machine
from cloudpc.model.tags import Phase
from cloudpc.model.watch import REMOVED_WITHIN, Watch
from cloudpc.operations import twins
from cloudpc.operations.consent import Consent
from cloudpc.operations.organisation import Organisation
from cloudpc.operations.removal import Removal
from cloudpc.provisioning.resources import Resources

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


def _image(source: Source | None, settings: PolicySettings, watch: Watch) -> Image:
    if source is None:
        message = f"no host of the policy takes images of the imageType {settings.image_type}"
        raise ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False)
    return source.image(settings.image_id, settings.image_digest, watch.note)


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
        self._consent = Consent.of_this_run()
        self.removal = Removal(self.hosts, self._organisation, self._consent)
        self._connections = Connections(self.hosts, stacks / CONNECTIONS)

    def resources(self, settings: PolicySettings) -> Resources:
        """What the pipeline needs for a Cloud PC with these settings."""
        source = offers.source(sources.of(settings.image_type, self._places), settings.image_id, self._configured)
        return Resources(
            hosts=self.hosts if source is None else self._taking(source.kind),
            image=partial(_image, source, settings),
            script=partial(self._script, settings),
            guest_os=guests.named(settings.guest_os),
            adoptable=self._consent.adopt,
            healthy=self._connections.healthy,
            registration=self._organisation.registration(),
        )

    def _taking(self, kind: str) -> list[Host]:
        """The hosts that take images of this kind."""
        others = {config.name for config in self._configured if not offers.takes(config, kind)}
        return [host for host in self.hosts if host.name not in others]

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
        """A line that stays, unlike what is told while a call lasts, of each host that keeps being slow."""
        for host in self.hosts:
            if patience.is_slow(host.name):
                self.tell_once(f"{host.name} keeps being slow to answer: `cloudpc doctor` says what is known of it")

    def host(self, name: str) -> Host:
        """The host of this name. Raises ProvisioningError: it is not in cloudpc:hosts."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, f"the host {name} is not in cloudpc:hosts")

    def discard_kept(self, installation: str, identity: UUID) -> None:
        """Remove what is kept of a failed Cloud PC; on a host that is away it goes when it has expired."""
        for host in self.hosts:
            try:
                host.discard(kept(of_machine(host.remnants(installation), identity)))
            except Exception:  # whatever is wrong with a driver: making it anew comes first
                log.exception("could not remove what is kept of %s on %s", identity, host.name)

    def start(self, identity: UUID, host_name: str) -> None:
        """Start a machine that is off. Raises ProvisioningError, whatever is wrong."""
        with unexpected_told(f"starting {identity}"):
            self.host(host_name).power_on(identity, Watch(), until_ready=False)

    def hand_over(self, identity: str, host_name: str) -> None:
        """Mark a machine as its user's; if its host is away now, `tidy` of a later run does it."""
        with contextlib.suppress(ProvisioningError), unexpected_told(f"handing over {identity}"):
            self.host(host_name).finish(UUID(identity), Phase.HANDED_OVER)

    def tidy(
        self,
        installation: str,
        policy_id: str,
        recorded: Mapping[UUID, tuple[str, int]],
        wanted: Collection[UUID],
        known: Collection[UUID],
        handed_over: Callable[[str], Container[UUID]] = lambda _host: (),
        silent: Container[str] = (),
    ) -> list[str]:
        """Finish what dead runs of this policy left between a machine and its record; the stack's lock is held.

        A machine that state has is handed over, if a run died just before it could say so. One that nobody was ever
        given (phase `provisioning` or `ready`), that is neither recorded nor being made now, is removed. What was kept
        of failed ones for diagnosis goes when its time is over.

        Args:
            installation: whose machines.
            policy_id: of which policy; others are left alone.
            recorded: Cloud PCs of state that have a machine, with their host's name and their generation.
            wanted: what this run is making: its provider sees to it.
            known: all that state has anything of.
            handed_over: of a host, machines that are known to be: they need no look.
            silent: hosts that are not asked: nobody waits for them, nor knows which hypervisor they are.

        Returns:
            The names of removed machines and volumes.
        """
        names = {host.name for host in self.hosts}

        def one(host: Host) -> list[str]:
            removed: list[str] = []
            # a host that is away, or has trouble of its own, has its turn in a later run
            with contextlib.suppress(ProvisioningError), unexpected_told(f"tidying {host.name}"):
                for machine in host.owned(installation, handed_over(host.name)):
                    if (
                        machine.tag.policy_id != policy_id
                        or machine.tag.phase is Phase.HANDED_OVER
                        or machine.id in wanted
                    ):
                        continue
                    place, generation = recorded.get(machine.id, (None, 0))
                    # a host that was given another name is still the one that state means; another generation is what
                    # a reprovision had begun that nobody asks for any more, and may be half a machine
                    is_its = place == host.name or (place is not None and place not in names)
                    if is_its and machine.tag.generation == generation:
                        if machine.state is not State.GOING:  # whoever ends it or makes it anew looks at that one
                            host.finish(machine.id, Phase.HANDED_OVER)
                    else:
                        if generation == machine.tag.generation:
                            if not self._has_another(place or "", host, machine):
                                continue
                            # state has another of the same generation, which goes on
                            if host.delete(machine.id, Watch().within(REMOVED_WITHIN)) is Removed.GOING:
                                continue
                        elif left := self.removal.delete_unknown(host, machine):
                            log.warning("%s stays for now: %s", machine.name, "; ".join(left))
                            continue
                        removed.append(machine.name)
                removed += host.discard(expired(host.remnants(installation), wanted, known, datetime.now(UTC)))
            return removed

        asked = [host for host in self.hosts if host.name not in silent]
        with ThreadPoolExecutor(max(1, len(asked))) as pool:  # one that does not answer holds up no other
            return [name for removed in pool.map(one, asked) for name in removed]

    def _has_another(self, place: str, host: Host, machine: Machine) -> bool:
        """Whether the host that state names has one like it, so that this is not the very one that state means.

        Hosts' names may have been exchanged, and two of them be one hypervisor that did not say so when it was asked.

        Raises:
            ProvisioningError: that host does not say.
        """
        named = self.host(place)
        its = named.describe(machine.id)
        if its is None or its.tag.generation != machine.tag.generation:
            return False
        which = twins.ask([named, host])
        return not which.silent and not twins.twins(which.answers)
