"""What most commands begin with: the project, its policies' files and its stacks."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from cloudpc.cli.names import check_name, of_user
from cloudpc.cli.output import CommandError, Exit
from cloudpc.configuration import parsing, reading
from cloudpc.configuration.installation import recorded_id
from cloudpc.configuration.values import NAMESPACE, Values
from cloudpc.directory.catalogue import short_name
from cloudpc.directory.opening import Directories, Known, names_of
from cloudpc.files import project_file, regular_file, yaml_file
from cloudpc.files.project import project_root
from cloudpc.iac import encryption_salt, file_backend, fleet, passphrase
from cloudpc.iac.engine import OWN_FOLDER, Engine, EngineError
from cloudpc.model.directory import GUID, DirectoryError, User
from cloudpc.model.hosts import HostConfig
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.model.problems import InvalidConfigurationError, Problem
from cloudpc.operations.records import CloudPCRecord, StackRecord
from cloudpc.rules import entitlement


class Project:
    """The project a command works in.

    Args:
        pass_over_sealed: whether encrypted values that can't be opened here are left out, and not problems.
    """

    def __init__(self, *, pass_over_sealed: bool = False) -> None:
        self._pass_over_sealed = pass_over_sealed
        self.passed_over: dict[str, list[Problem]] = {}
        """By policy, encrypted values that were left out, and why they can't be opened."""
        self._clear: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        """Encrypted values by policy, and what they are in clear."""

    @cached_property
    def root(self) -> Path:
        """The folder of Pulumi.yaml."""
        return project_root()

    @property
    def stacks_folder(self) -> Path:
        """Where policies are written."""
        return self.root / "stacks"

    @cached_property
    def engine(self) -> Engine:
        """Pulumi for this project."""
        return Engine(self.root)

    @cached_property
    def directories(self) -> Directories:
        """The directories of all policies, each read once."""
        groups: set[str] = set()
        for policy_id in self.policy_ids():
            with contextlib.suppress(InvalidConfigurationError):  # reported where the policy is used
                groups.update(parsing.group_references(self.values(policy_id)))
        return Directories(self.stacks_folder, frozenset(groups))

    def policy_ids(self) -> list[str]:
        """Policies that have a file, by name."""
        files = [f for f in self.stacks_folder.glob("Pulumi.*.yaml") if not encryption_salt.is_all(f)]
        return sorted(f.name.removeprefix("Pulumi.").removesuffix(".yaml") for f in files)

    def file(self, policy_id: str) -> Path:
        """A policy's file, whether or not there is one."""
        return self.stacks_folder / f"Pulumi.{policy_id}.yaml"

    def shown(self, policy_id: str) -> str:
        """A policy's file as messages name it."""
        return f"{self.stacks_folder.name}/{self.file(policy_id).name}"

    @cached_property
    def file_of_all(self) -> project_file.ProjectFile:
        """Pulumi.yaml. Raises InvalidConfigurationError."""
        return project_file.read(self.root)

    def values(self, policy_id: str) -> Values:
        """The configuration values of a policy, as the engine reads them.

        Raises:
            InvalidConfigurationError: its file is missing or no YAML mapping, or an encrypted value can't be read.
        """
        file = self.file(policy_id)
        shown = self.shown(policy_id)
        if other := regular_file.what_else(file):
            raise InvalidConfigurationError([Problem(shown, "file", other)])
        if not file.is_file():
            known = ", ".join(self.policy_ids()) or "none"
            message = f"there is no such file; policies in {self.stacks_folder.name}/: {known}"
            raise InvalidConfigurationError([Problem(shown, "file", message)])
        content = yaml_file.read(file, shown)
        config = content.get("config") if isinstance(content, dict) else None
        inherited = self.file_of_all.values
        if not isinstance(config, dict) and not (config is None and inherited):
            message = "is required, with cloudpc:policy and cloudpc:directory in it"
            raise InvalidConfigurationError([Problem(shown, "config", message)])
        problems: list[Problem] = []
        own = project_file.by_full_key(config or {}, self.file_of_all.name, shown, problems)
        if problems:
            raise InvalidConfigurationError(problems)
        opened = self._opened(policy_id, own)
        return Values(self._readable(policy_id, own), inherited, opened)

    def _readable(self, policy_id: str, own: dict[str, Any]) -> dict[str, Any]:
        """Without what was passed over."""
        fields = {problem.field for problem in self.passed_over.get(policy_id, ())}
        return {key: project_file.without(fields, value, key) for key, value in own.items() if key not in fields}

    def _opened(self, policy_id: str, own: Mapping[str, Any]) -> dict[str, Any]:
        """Encrypted values in clear; the engine opens them, only once as long as they are the same."""
        sealed = {
            key: value for key, value in own.items() if key.startswith(NAMESPACE) and project_file.is_sealed(value)
        }
        if not sealed:
            return {}
        known = self._clear.get(policy_id)
        if known is None or known[0] != sealed:
            known = self._clear[policy_id] = (sealed, self._open(policy_id, sealed))
        return known[1]

    def _open(self, policy_id: str, sealed: Mapping[str, Any]) -> dict[str, Any]:
        try:
            clear = json.loads(self.engine.read(["config", "--stack", policy_id, "--json", "--show-secrets"]))
        except EngineError as error:
            why = f"is encrypted, and Pulumi can't open it here: {' '.join(str(error).split())}"
            if not self._pass_over_sealed:
                raise InvalidConfigurationError([Problem(self.shown(policy_id), key, why) for key in sealed]) from None
            fields = [field for key, value in sealed.items() for field in project_file.sealed_fields(value, key)]
            self.passed_over[policy_id] = [Problem(self.shown(policy_id), field, why) for field in fields]
            return {}
        return {key: clear[key]["value"] for key in sealed}

    def host(self, cloud_pc: CloudPCRecord) -> HostConfig | None:
        """A Cloud PC's host as its policy's file has it today; None if that can't be read or names it no more."""
        with contextlib.suppress(InvalidConfigurationError):
            hosts = parsing.parse_surroundings(self.values(cloud_pc.policy)).hosts
            return next((host for host in hosts if host.name == cloud_pc.recorded.host), None)
        return None

    def is_marked_as_deleted(self, policy_id: str) -> bool:
        """Whether the policy's file says that it is to go (`cloudpc:deleted`)."""
        with contextlib.suppress(InvalidConfigurationError):
            # as text, too: the engine turns it into text whenever it writes the file for another reason
            return self.values(policy_id).get("cloudpc:deleted") in (True, "true")
        return False

    def entitled(self, policy_id: str) -> set[str]:
        """Keys of the Cloud PCs that a policy owes, as far as it alone says.

        Raises:
            InvalidConfigurationError, DirectoryError: that can't be known.
        """
        inputs = self.inputs(policy_id)
        return {owed.key for owed in entitlement.entitled(inputs.policy, inputs.snapshot)}

    def policy(self, policy_id: str) -> ProvisioningPolicy | None:
        """A policy as its file says now, without what it names; None: it is missing or wrong."""
        try:
            return parsing.policy_in(self.values(policy_id))
        except InvalidConfigurationError:
            return None

    def users(self, policy_id: str, ids: Collection[str]) -> Mapping[str, User]:
        """Those of these users whom the policy's directory has today, by id.

        Raises:
            InvalidConfigurationError, DirectoryError: that can't be known.
        """
        known = Known(users=frozenset(ids))
        values = self.values(policy_id)
        return reading.read_policy_and_directory(policy_id, values, self.directories, known).snapshot.users

    def problems(self, policy_id: str, *, by_state: bool = False) -> list[Problem]:
        """What is wrong with a policy and what it names; nothing if it can be run. Arguments as in `inputs`."""
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", policy_id):
            message = "it is the stack's name, which may only contain letters, digits, hyphens, underscores and periods"
            return [Problem(self.shown(policy_id), "file", message, policy_id)]
        try:
            self.inputs(policy_id, by_state=by_state)
        except InvalidConfigurationError as error:
            left_out = [problem.field for problem in self.passed_over.get(policy_id, ())]
            return [problem for problem in error.problems if not problem.field.startswith(tuple(left_out))]
        return []

    def sealing_problems(self, policy_id: str) -> list[Problem]:
        """What is wrong with the passphrase that a run would seal passwords with."""
        wrong = passphrase.problem(self.file(policy_id), self.engine)
        return [wrong] if wrong else []

    def inputs(self, policy_id: str, *, by_state: bool = False) -> reading.StackInputs:
        """A policy with all that it names, as a run reads it.

        Args:
            policy_id: the policy.
            by_state: whether state is asked, too, if groups have become others': a run sees that by itself.

        Raises:
            InvalidConfigurationError: with all problems of all files.
            DirectoryError: the directory can't be read.
        """
        values = self.values(policy_id)
        found: reading.StackInputs | InvalidConfigurationError
        try:
            found = reading.read(policy_id, values, self.directories)
        except InvalidConfigurationError as error:
            found = error
        # which group a name has meant is known to state alone, which costs an engine's start to read
        if _about_groups(found) if isinstance(found, Exception) else by_state and _names_groups(found):
            known = self._known(policy_id)
            if known.names:
                return reading.read(policy_id, values, self.directories, known)
        if isinstance(found, Exception):
            raise found
        return found

    def _known(self, policy_id: str) -> Known:
        """The groups that the policy has had; none where state can't be read, which others report."""
        with contextlib.suppress(EngineError, CommandError, InvalidConfigurationError):
            for record in self.records(policy_id):
                return Known(frozenset(record.group_names), names=names_of(record.group_names))
        return Known()

    def locks(self, policy_id: str) -> list[file_backend.Lock]:
        """Who works on a policy's stack, as far as its backend shows it."""
        return file_backend.locks(self.engine.backend_url, self.file_of_all.name, policy_id)

    def cut_off(self, policy_id: str) -> list[Path]:
        """Files of a policy's stack that a run died in the middle of writing."""
        return file_backend.cut_off(self.engine.backend_url, self.file_of_all.name, policy_id)

    @property
    def backend_has_stacks(self) -> bool:
        """Whether a stack of any project is in the backend: others may share it, by the shell that sourced our env."""
        is_there = (self.root / OWN_FOLDER).exists() or not self.engine.has_own_backend
        return is_there and bool(json.loads(self.engine.read(["stack", "ls", "--all", "--json"])))

    def records(self, policy: str | None = None) -> list[StackRecord]:
        """The state of all stacks of the project, or of one; a policy that has never run has none.

        Raises:
            EngineError, CommandError: it can't be read, or there is no such policy.
        """
        stacks = sorted(self.engine.stacks())
        if policy is not None:
            self.check_policy(policy, stacks)
            stacks = [stack for stack in stacks if stack == policy]
        return fleet.read(self.engine, stacks)

    def check_policy(self, policy: str, stacks: Iterable[str]) -> None:
        """Raises CommandError if there is neither a file nor one of these stacks of that name."""
        known = sorted({*stacks, *self.policy_ids()})
        if policy not in known:
            message = f"there is no policy {policy!r}; policies here: {', '.join(known) or 'none'}"
            raise CommandError(message, Exit.INVALID)

    def installation(self, policy_id: str, record: StackRecord | None) -> str | None:
        """Which installation a policy's machines carry in their tags: by state, its file, or this project's own."""
        if record is not None and record.installation:
            return record.installation
        if policy_id in self.policy_ids() and (configured := self.values(policy_id).get("cloudpc:installation")):
            return str(configured)
        return recorded_id(self.root / OWN_FOLDER)

    def of_user(self, user: str) -> list[CloudPCRecord]:
        """A user's Cloud PCs in state; see `of_user`."""
        return of_user(user, [c for stack in self.records() for c in stack.cloud_pcs])

    def with_secrets(self, user: str, plan: str | None, policy: str | None) -> CloudPCRecord:
        """The user's Cloud PC, with credentials; of the service plan or policy named if there are several machines.

        Only its own stack's secrets are opened.

        Raises:
            CommandError: see `of_user`; or several and not enough named.
        """
        all_ = self.of_user(user)
        found = [c for c in all_ if policy in (None, c.policy) and (plan is None or c.has_plan(plan))]
        choices = ", ".join(f"{short_name(c.service_plan)} of {c.policy}" for c in all_)
        if not found:
            raise CommandError(f"{user} has no such Cloud PC; there are: {choices}", Exit.INVALID)
        # what was never made, or has ended, does not count beside one that exists
        found = [c for c in found if c.recorded.access] or found
        if len(found) > 1:
            message = f"which Cloud PC of {user}? Name one with --service-plan or --policy: {choices}"
            raise CommandError(message, Exit.INVALID)
        self._check_name(user, found[0])
        [stack] = fleet.read(self.engine, [found[0].policy], show_secrets=True)
        return next(c for c in stack.cloud_pcs if c.key == found[0].key)

    def _check_name(self, name: str, cloud_pc: CloudPCRecord) -> None:
        """Where the directory is a file; whoever hands out passwords need not have a sign-in to a tenant."""
        with contextlib.suppress(InvalidConfigurationError, DirectoryError):
            if not parsing.uses_tenant(self.values(cloud_pc.policy)):
                users = self.users(cloud_pc.policy, [cloud_pc.user_id])
                check_name(name, cloud_pc, users.get(cloud_pc.user_id))


def _about_groups(error: InvalidConfigurationError) -> bool:
    return any("cloudpc:policy.assignments" in problem.field for problem in error.problems)


def _names_groups(inputs: reading.StackInputs) -> bool:
    """Whether a group is named otherwise than by its id."""
    references = [assignment.target.group_id for assignment in inputs.policy.assignments]
    return any(named not in inputs.snapshot.groups and not GUID.fullmatch(named) for named in references)
