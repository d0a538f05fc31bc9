"""What provisioning works with: the rim, as the core sees it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from cloudpc.model.cloud_pc import NetworkChoice, PolicySettings
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.guests import GuestOS
from cloudpc.model.image import Image
from cloudpc.model.machines import Host
from cloudpc.model.watch import Watch
from cloudpc.provisioning.ledger import Ledger
from cloudpc.provisioning.looks import Looks
from cloudpc.provisioning.registration import Registration


class Form(NamedTuple):
    """One form of an image: of which kind it is, and what finds it."""

    kind: str
    find: Callable[[Watch], Image]


@dataclass(frozen=True)
class Resources:
    """For a Cloud PC with certain settings.

    Args:
        hosts: all that the policy has: its user's machine may be on any of them.
        image: finds the image the settings name, verified; may take long.
        script: reads the post-provisioning script the settings name.
        guest_os: finds the system of guests by the name in settings; one that is taken over may have another's.
        pause: seconds before the second attempt; doubled before the third.
    """

    hosts: Sequence[Host]
    image: Callable[[Watch], Image]
    script: Callable[[], bytes | None]
    guest_os: Callable[[str], GuestOS]
    pause: float = 2.0
    taking: Sequence[Host] | None = None
    """Those that take its image, where that is not all."""
    paid: Container[str] = ()
    """Names of hosts on which each machine costs money: others come first."""
    forms: Mapping[str, Form] = field(default_factory=dict)
    """By the names of hosts: which form of the image each gets, where there are several."""
    adoptable: Container[str] = ()
    """Keys of Cloud PCs whose machine may be taken back though it was handed over and state does not know it."""
    healthy: Callable[[NetworkChoice, bool], ProvisioningError | None] | None = None
    """Why a network must not be used now, if so; may take long, the first time, or if it is to be looked at afresh.
    None: nobody looks."""
    registration: Registration = field(default_factory=Registration)
    shared: Looks | None = None
    """At these hosts, of all Cloud PCs of the run; None: this one is alone."""

    @cached_property
    def looks(self) -> Looks:
        """At these hosts."""
        return self.shared or Looks(Ledger(self.hosts))

    @property
    def ledger(self) -> Ledger:
        """What these hosts have said."""
        return self.looks.ledger

    @property
    def places(self) -> Sequence[Host]:
        """Where a new machine may go."""
        return self.hosts if self.taking is None else self.taking

    def image_on(self, host: Host) -> Callable[[Watch], Image]:
        """Finds the image in the form that this host takes."""
        form = self.forms.get(host.name)
        return self.image if form is None else form.find

    def made_on(self, host: Host, settings: PolicySettings) -> PolicySettings:
        """What a machine on this host was made with: of an image with several forms, that one."""
        form = self.forms.get(host.name)
        return settings if form is None or form.kind not in settings.image_digests else settings.of_kind(form.kind)
