"""What a stack's configuration names outside its own file: directory, groups, connections, image, script."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeVar

from cloudpc import guests
from cloudpc.configuration import offers
from cloudpc.connections import files
from cloudpc.directory.configuration import DirectoryConfig, LocalDirectoryConfig
from cloudpc.directory.opening import Directories, Known
from cloudpc.files import audit_file, regular_file, script_file
from cloudpc.graph.configuration import GraphConfig
from cloudpc.images import counterparts, sources
from cloudpc.images.entries import ImageEntry
from cloudpc.model import drivers
from cloudpc.model.cloud_pc import NetworkChoice, PinnedScript
from cloudpc.model.directory import Snapshot
from cloudpc.model.hosts import HostConfig
from cloudpc.model.image import UsedImage
from cloudpc.model.machines import HOSTED, Network
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.model.problems import InvalidConfigurationError, Problem, closest

CONNECTIONS = "connections"
"""The folder of network connections, beside the stacks' files."""
_T = TypeVar("_T")


class References:
    """Looks up what a configuration names, and collects what is wrong with it.

    Args:
        file: the stack's file, for messages.
        directories: reads the directory; paths in the file are relative to its folder.
    """

    def __init__(self, file: str, directories: Directories) -> None:
        self.file = file
        self._directories = directories
        self._folder = directories.folder
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        """What somebody should know though nothing is wrong."""
        self.minimum_memory_mib = 0
        """What the policy's image needs, once it has been looked at."""

    def directory(
        self, config: DirectoryConfig, graph: GraphConfig, policy: ProvisioningPolicy | None, known: Known
    ) -> Snapshot | None:
        """The directory, for the policy's groups and what state knows.

        Raises:
            DirectoryError: it can't be read.
        """
        groups = [a.target.group_id for a in policy.assignments] if policy else []
        return self._collect(lambda: self._directories.snapshot(config, graph, groups, known))

    def check_groups(
        self,
        policy: ProvisioningPolicy,
        config: DirectoryConfig,
        snapshot: Snapshot | None,
        malformed: Collection[str],
    ) -> None:
        """Each assignment must name exactly one group; also where the directory has problems of its own.

        Args:
            policy: whose assignments.
            config: its directory.
            snapshot: what was read of it, if it could be.
            malformed: entries that are reported already, such as `assignments[1]`.
        """
        shown = "the tenant"
        if isinstance(config, LocalDirectoryConfig):
            shown = config.path
            with contextlib.suppress(InvalidConfigurationError):  # not even YAML, which is reported
                snapshot = snapshot or self._directories.local(config).groups()
        if snapshot is not None:
            self.problems.extend(
                problem
                for i, problem in self._group_problems(policy, snapshot, shown)
                if f"assignments[{i}]" not in malformed
            )

    def network(self, index: int, policy: ProvisioningPolicy, hosts: Sequence[HostConfig]) -> NetworkChoice | None:
        """The network behind one of the domainJoinConfigurations.

        Args:
            index: which of them.
            policy: whose.
            hosts: where its Cloud PCs may be made; none if that is not known.
        """
        name = policy.domain_join_configurations[index].on_premises_connection_id
        if name is None:
            return self._hosted(index, hosts)
        folder = self._folder / CONNECTIONS
        field = f"domainJoinConfigurations[{index}].onPremisesConnectionId"
        shown = f"{self._folder.name}/{CONNECTIONS}/{name}.yaml"
        if name not in (known := files.names(folder)):
            there = ", ".join(known) or "none"
            self._add(field, f"there is no {shown}{closest(name, known)}; connections there: {there}", name)
            return None
        connection = self._collect(lambda: files.read(folder, name))
        if connection is None:
            return None
        network = connection.network
        if hosts and not any(offers.has(host, network) for host in hosts):
            wanted, there = drivers.words_of(network), offers.told(hosts)
            message = f"is of the {wanted}, and no host of the policy has {_such(network, hosts)}: {there}"
            self._add(field, message, name)
            return None
        join = policy.domain_join_configurations[index].domain_join_type
        if join == "hybridAzureADJoin" and connection.ad_domain_name is None:
            self._add(field, f"hybridAzureADJoin needs a domain to join: {shown} has no adDomainName", name)
            return None
        return NetworkChoice(kind=network.kind, source=network.source, connection=name, domain_join_type=join)

    def _hosted(self, index: int, hosts: Sequence[HostConfig]) -> NetworkChoice | None:
        if hosts and not any(offers.has(host, Network()) for host in hosts):
            message = (
                f"no host of the policy offers a network of its own: {offers.told(hosts)}; name a connection "
                "(onPremisesConnectionId), or let the host's entry say which network that is"
            )
            self._add(f"domainJoinConfigurations[{index}].regionName", message, "automatic")
            return None
        return NetworkChoice(kind=HOSTED)

    def image(
        self,
        policy: ProvisioningPolicy,
        images: Mapping[str, ImageEntry],
        malformed: Collection[str],
        hosts: Sequence[HostConfig],
    ) -> Mapping[str, UsedImage] | None:
        """What the policy's image is now, in its form of each kind that hosts take: that of the first host first.

        Args:
            policy: names it.
            images: custom images.
            malformed: names of custom images that are there, but reported already.
            hosts: as `network` has them.
        """
        if policy.image_type == "custom" and policy.image_id in malformed:
            return None
        places = sources.Places(self._folder, images)
        self.problems += counterparts.problems(places.recipes) if policy.image_type == "gallery" else []
        meant = sources.of(policy.image_type, places)
        used = offers.forms(meant, policy.image_id, hosts)
        if not used:
            kinds, there = ", ".join(dict.fromkeys(each.kind for each in meant)), offers.told_with_images(hosts)
            message = f"means images of the kind {kinds}, and no host of the policy takes those: {there}"
            self._add("imageType", message, policy.image_type)
            return None
        looks = {source.kind: source.look(policy.image_id, self._tell) for source in used}
        self.warnings += offers.left_out(meant, looks, policy.image_id, hosts)
        forms = {kind: found for kind, found in looks.items() if found is not None}
        if len(forms) < len(looks) or not self._is_one_system(policy, forms):
            return None
        self.minimum_memory_mib = max(form.minimum_memory_mib for form in forms.values())
        return forms

    def script(self, policy: ProvisioningPolicy) -> PinnedScript | None:
        """The post-provisioning script, if there is one."""
        path = policy.post_provisioning_script
        if path is None:
            return None
        try:
            file = (self._folder / path).resolve()
            if not file.is_relative_to(self._folder.resolve()):
                # a policy is proposed by whoever may open a pull request; the machine that runs it has other files
                self._add("postProvisioningScript", f"must be a file in {self._folder.name}/ or below it", path)
                return None
            content = regular_file.read(file, script_file.LARGEST)
        except (OSError, ValueError, RuntimeError) as error:  # a name that no file can have; links in a circle
            reason = error.strerror if isinstance(error, OSError) else error
            self._add("postProvisioningScript", f"can't be read: {reason}", path)
            return None
        # nobody knows here what a custom image has, or what packages bring
        known = None if policy.packages or policy.image_type == "custom" else script_file.INTERPRETERS
        for message in script_file.problems(content, known):
            self._add("postProvisioningScript", message, path)
        return PinnedScript(path=path, sha256=hashlib.sha256(content).hexdigest())

    def check_audit(self, path: str | None) -> None:
        """The audit file is made by the first run. Who only validates may not be allowed to write it."""
        if wrong := audit_file.problem(path, self._folder, self.file):
            self.problems.append(wrong)

    def _group_problems(
        self, policy: ProvisioningPolicy, snapshot: Snapshot, directory: str
    ) -> Iterator[tuple[int, Problem]]:
        for i, assignment in enumerate(policy.assignments):
            group = assignment.target.group_id
            found = snapshot.find_groups(group)
            field = f"cloudpc:policy.assignments[{i}].target.groupId"
            if others := snapshot.of_another_now(group):
                yield i, Problem(self.file, field, _now_another(group, others, snapshot), group)
            elif not found:
                names = [*snapshot.groups, *(g.display_name for g in snapshot.groups.values())]
                known = ", ".join(sorted(snapshot.groups)[:10]) or "none"
                # of a tenant, only the groups that were asked for are known
                there = f"; groups there: {known}" if directory != "the tenant" else ""
                message = f"is not a group of {directory}{closest(group, names) if there else ''}{there}"
                yield i, Problem(self.file, field, message, group)
            elif len(found) > 1:
                ids = ", ".join(sorted(g.id for g in found))
                message = f"is the displayName of {len(found)} groups; write the id of one: {ids}"
                yield i, Problem(self.file, field, message, group)

    def _is_one_system(self, policy: ProvisioningPolicy, forms: Mapping[str, UsedImage]) -> bool:
        systems = {kind: form.guest_os for kind, form in forms.items()}
        for kind, name in systems.items():
            if name not in (there := guests.of_images(kind)):
                self._tell_of_system(policy, name, there)
                return False
        if len(set(systems.values())) > 1:
            told = ", ".join(f"{kind}: {name}" for kind, name in systems.items())
            message = f"has forms of different systems ({told}), and a policy is for one"
            self._add("imageId", message, policy.image_id)
            return False
        return True

    def _tell_of_system(self, policy: ProvisioningPolicy, guest_os: str, there: Sequence[str]) -> None:
        wrong = f"is not a guest system{closest(guest_os, there)}; there are: {', '.join(there)}"
        if policy.image_type == "custom":
            self._tell(f"cloudpc:images.{policy.image_id}.guestOS", wrong, guest_os)
        else:
            self._add("imageId", f"has a recipe whose guestOS {wrong}", policy.image_id)

    def _add(self, field: str, message: str, found: object) -> None:
        self._tell(f"cloudpc:policy.{field}", message, found)

    def _tell(self, field: str, message: str, found: object) -> None:
        self.problems.append(Problem(self.file, field, message, found))

    def _collect(self, read: Callable[[], _T]) -> _T | None:
        try:
            return read()
        except InvalidConfigurationError as error:
            self.problems.extend(error.problems)
            return None


def _such(network: Network, hosts: Sequence[HostConfig]) -> str:
    is_known = any(network.kind in drivers.network_kinds(host.driver) for host in hosts)
    return "it, by what its entry says" if is_known else "networks of that kind"


def _now_another(name: str, others: list[str], snapshot: Snapshot) -> str:
    first, now = snapshot.meant[name], " and ".join(others)
    change = f"{now} to change (who was in the former alone then loses the assignment)"
    if first not in snapshot.groups:
        return f"was the name of the group {first}, which is gone, and is that of {now}; write the id {change}"
    called = snapshot.groups[first].display_name
    return (
        f"was the name of the group {first}, which is called {called!r} now, and is that of {now}; write the id "
        f"{first} to stay with that group, or {change}"
    )
