"""What doctor says of tenants and domains: sign-in, permissions, and what of ours is left there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloudpc.cli.context import Project
from cloudpc.configuration.lookups import CONNECTIONS
from cloudpc.configuration.parsing import Surroundings
from cloudpc.connections import files
from cloudpc.model.check import Check
from cloudpc.model.devices import OwnedDevice
from cloudpc.model.errors import ProvisioningError
from cloudpc.model.identity import Identity
from cloudpc.model.machines import Machine
from cloudpc.model.problems import InvalidConfigurationError
from cloudpc.model.tags import Phase
from cloudpc.operations.organisation import Mode, Organisation
from cloudpc.operations.records import StackRecord


@dataclass
class SeenOnHosts:
    """What hosts have, whatever state says: it may be lost, or in another backend than this one."""

    owners: set[str] = field(default_factory=set)
    """`<installation>/<user>/<plan>/<generation>` of machines."""
    doubts: list[str] = field(default_factory=list)
    """Why there may be Cloud PCs that are neither seen nor in state."""
    lost: list[str] = field(default_factory=list)
    """Names of machines that users work on, and that state does not know."""

    def add(self, unknown: Iterable[Machine], known: Iterable[Machine]) -> None:
        """Machines of a host, by whether state knows them."""
        unknown = list(unknown)
        self.owners.update(machine.tag.identity.owner for machine in (*unknown, *known))
        self.lost += [machine.name for machine in unknown if machine.tag.phase is Phase.HANDED_OVER]


@dataclass(frozen=True)
class KnownOwners:
    """What there is of Cloud PCs, and whether things that belong to none may be removed.

    Args:
        installations: whose things are ours.
        owners: `<installation>/<user>/<plan>/<generation>` of all that are not gone, by state or by a machine's tag.
        seen: what hosts have.
        remove: whether to remove the rest.
    """

    installations: Sequence[str]
    owners: Collection[str]
    seen: SeenOnHosts
    remove: bool

    @property
    def may_remove(self) -> bool:
        """Only where every Cloud PC there may be is known."""
        return self.remove and not self.seen.doubts and not self.seen.lost

    def hint(self, otherwise: str) -> str:
        """What to do about something that belongs to no Cloud PC we know."""
        if self.seen.lost:
            names = ", ".join(self.seen.lost)
            return f"nothing is removed while users have machines that state does not know ({names}); `cloudpc adopt`"
        if self.remove and self.seen.doubts:
            return f"not removed: {'; '.join(self.seen.doubts)}"
        return otherwise


def owners(records: Sequence[StackRecord]) -> set[str]:
    """Of all Cloud PCs in state that are not gone."""
    return {c.recorded.identity.owner for record in records for c in record.cloud_pcs if not c.is_gone}


def findings(
    project: Project,
    configured: Mapping[str, tuple[Surroundings, bool]],
    records: Sequence[StackRecord],
    known: KnownOwners,
) -> Iterator[Check]:
    """Look at each tenant and each domain once.

    Args:
        project: where the connections' files are.
        configured: surroundings of each policy, and whether its directory is a tenant.
        records: what state has.
        known: what of ours should be there.
    """
    folder = project.stacks_folder / CONNECTIONS
    registered = {r.policy for r in records if any(c.recorded.device for c in r.cloud_pcs)}
    tenants: dict[str, tuple[Surroundings, set[Mode], bool]] = {}
    for policy, (surroundings, is_tenant) in configured.items():
        mode = surroundings.devices.registration
        if is_tenant or mode != "none" or policy in registered:
            _, modes, reads = tenants.setdefault(surroundings.graph.model_dump_json(), (surroundings, set(), False))
            found: set[Mode] = modes | ({mode} if mode != "none" else {"record"} if policy in registered else set())
            tenants[surroundings.graph.model_dump_json()] = (surroundings, found, reads or is_tenant)
    for surroundings, modes, reads in tenants.values():
        yield from _tenant(Organisation(surroundings, folder), surroundings, modes, reads, known)
    for name in files.names(folder):
        yield from _domain(folder, name, configured, known)


def _tenant(
    organisation: Organisation, surroundings: Surroundings, modes: set[Mode], reads: bool, known: KnownOwners
) -> Iterator[Check]:
    from cloudpc.graph import permissions
    from cloudpc.graph.client import Graph
    from cloudpc.graph.errors import GraphError

    what = f"tenant {surroundings.graph.tenant_id or surroundings.graph.endpoint}"
    calls = [
        *(permissions.DIRECTORY if reads else ()),
        *(permissions.RECORD if "record" in modes else ()),
        *(permissions.ADOPT if "adopt" in modes else ()),
        *(permissions.PASSES if surroundings.credentials.kind == "temporaryAccessPass" else ()),
    ]
    graph = Graph(surroundings.graph)
    try:
        missing = graph.missing(calls)
    except GraphError as error:
        yield Check(f"{what}: sign-in", "failed", str(error))
        return
    finally:
        graph.close()
    if missing is None:
        yield Check(f"{what}: permissions", "warning", "the sign-in does not tell its permissions")
    for permission in missing or ():
        hint = f"grant {permission.least}" + (f" (role: {permission.role})" if permission.role else "")
        yield Check(f"{what}: permissions", "failed", f"{permission.purpose} is not allowed", hint)
    if missing == []:
        yield Check(f"{what}: permissions", "passed", "all that is needed")
    if "adopt" in modes:
        yield Check(
            f"{what}: adopting devices",
            "passed",
            "of the devices with a Cloud PC's name that appear after its start, the one with the deviceId that "
            "the guest reports; if it reports none, the name alone decides",
        )
    if modes:
        yield from _left(what, organisation, next(iter(sorted(modes))), known)


def _left(what: str, organisation: Organisation, mode: Mode, known: KnownOwners) -> Iterator[Check]:
    registry = organisation.devices(mode)
    try:
        unknown = [d for i in known.installations for d in registry.owned(i) if d.owner not in known.owners]
        removed = []
        for device in unknown if known.may_remove else ():
            if device.enabled and (identity := Identity.of(device.owner, device.name)):
                registry.remove(device.name, identity.device_id, None)
                removed.append(device)
    except ProvisioningError as error:
        yield Check(f"{what}: left over", "failed", error.message, error.hint)
        return
    finally:
        registry.close()
    remaining = [device for device in unknown if device not in removed]
    if removed:
        yield Check(f"{what}: left over", "passed", f"removed {_names(removed)}")
        if not remaining:
            return
    yield from _unknown(
        what,
        remaining,
        enabled=known.hint("a run may be working on it; else --remove-leftovers"),
        disabled="the tenant refused to delete them; an administrator can",
    )


def _domain(
    folder: Path, name: str, configured: Mapping[str, tuple[Surroundings, bool]], known: KnownOwners
) -> Iterator[Check]:
    try:
        if files.read(folder, name).ad_domain_name is None:
            return
    except InvalidConfigurationError as error:
        for problem in error.problems:
            yield Check(f"connection {name}", "failed", str(problem))
        return
    what = f"domain of {name}"
    surroundings = next((each for each, _ in configured.values()), None)
    if surroundings is None:
        return
    try:
        domain = Organisation(surroundings, folder).domain(name)
        unknown = [account for i in known.installations for account in domain.owned(i, known.owners)]
    except ProvisioningError as error:
        yield Check(what, "failed", error.message, error.hint)
        return
    yield from _unknown(
        what,
        unknown,
        enabled=known.hint("a run may be working on it; else disable it"),
        disabled="of Cloud PCs that are gone; delete them yourself, cloudpc never deletes accounts",
    )


def _unknown(what: str, unknown: Sequence[OwnedDevice], *, enabled: str, disabled: str) -> Iterator[Check]:
    """What belongs to no known Cloud PC, with what to do about it, by whether it can still be signed in to."""
    for each in unknown:
        if each.enabled:
            yield Check(f"{what}: left over", "warning", f"{each} belongs to no known Cloud PC", enabled)
    if off := [each for each in unknown if not each.enabled]:
        yield Check(f"{what}: left over", "passed", f"disabled: {_names(off)}", disabled)
    if not unknown:
        yield Check(f"{what}: left over", "passed", "nothing")


def _names(found: Sequence[OwnedDevice]) -> str:
    return ", ".join(map(str, found))
