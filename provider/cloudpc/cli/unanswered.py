"""Why a Cloud PC did not let ssh in, as its host knows it: asked only then."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from uuid import UUID

from cloudpc.model.errors import ProvisioningError
from cloudpc.model.guests import GuestOS
from cloudpc.model.hosts import HostConfig
from cloudpc.model.machines import Host, PowerState
from cloudpc.model.watch import Watch
from cloudpc.operations.runtime import connect
from cloudpc.provisioning import set_up

STARTED_WITHIN = 600.0
"""Seconds that a machine which its host leaves off may take to be ready."""


@dataclass(frozen=True)
class Seen:
    """What its host knows.

    Args:
        why: in words, with what to do.
        host_key: with which it is worth to try once more: the guest's own by now, if it is not the pinned one; the
            pinned one of a machine that was started.
    """

    why: str
    host_key: str = ""


def look(config: HostConfig, machine_id: UUID, guest_os: GuestOS, pinned: str, policy: str) -> Seen:
    """Ask its host. Never raises for what keeps it from answering."""
    try:
        host = connect(config)
        try:
            return _seen(config, host, machine_id, guest_os, pinned, policy)
        finally:
            host.close()
    except ProvisioningError as error:
        return Seen(f"its host can't say why: {error.message} [{error.code}]")


def _seen(config: HostConfig, host: Host, machine_id: UUID, guest_os: GuestOS, pinned: str, policy: str) -> Seen:
    machine = host.describe(machine_id)
    if machine is None:
        return Seen(f"{host.name} no longer has such a machine; `cloudpc up {policy}` says what became of it")
    if machine.power is PowerState.PAUSED:
        return Seen(f"its machine on {host.name} is paused: {machine.paused_because}; `cloudpc up {policy}` resumes it")
    if machine.power is PowerState.LEFT_OFF:
        host.power_on(machine_id, Watch().within(STARTED_WITHIN))
        return Seen(f"its machine on {host.name} was off; it is being started", pinned)
    if machine.power is not PowerState.RUNNING:
        return Seen(f"its machine on {host.name} is {machine.power}; `cloudpc up {policy}` starts it")
    try:
        found = set_up.facts(host.guest(machine_id), guest_os, Watch()).proof
    except ProvisioningError as error:
        return Seen(
            f"its machine runs on {host.name}, but its guest does not answer there either: it may be starting, or "
            f"hang; look at {config.by_hand.console_of(machine.name)} there ({error.message})"
        )
    if found and found != pinned:
        return Seen(
            f"its ssh host key is not the one it was set up with, {fingerprint(pinned)}; {host.name} has read the "
            f"current one in the guest, {fingerprint(found)}, which is used. This happens if an image's "
            f"cloud-init mistakes a later start for a first one, or if its user made a new key",
            found,
        )
    return Seen(f"its machine runs on {host.name} with the key that it was set up with{_way(config)}")


def _way(config: HostConfig) -> str:
    if config.way is None:
        return ", so ssh in the guest has ended, or something lies between here and there"
    command = config.way.shown
    return f": check that the way there works, `{command}`; where another one is right, {config.another_way}"


def fingerprint(key: str) -> str:
    """As `ssh-keygen -l` shows it."""
    try:
        digest = hashlib.sha256(base64.b64decode(key.partition(" ")[2], validate=True)).digest()
    except ValueError:
        return "(none)"
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")
