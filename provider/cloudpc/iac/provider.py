"""The dynamic providers: thin, without rules of their own.

State stores a reference to these classes by module and name; delete and read are served through it. So both are an
interface that must stay importable here (docs/engine.md).

A run with nothing to do asks for diffs alone: what carries steps out is imported when there is one.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pulumi.dynamic import (
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

from cloudpc.configuration.values import KEYS, Values
from cloudpc.files.project import project_root
from cloudpc.iac import outputs, passphrase, plugin_process
from cloudpc.iac.engine import Engine
from cloudpc.iac.engine_log import Severity, log
from cloudpc.model.cloud_pc import DesiredCloudPC, RecordedCloudPC
from cloudpc.model.directory import GUID
from cloudpc.rules import lifecycle
from cloudpc.rules.step import Step

if TYPE_CHECKING:
    from cloudpc.iac.stages_now import Teller
    from cloudpc.operations.runtime import Runtime
    from cloudpc.operations.steps import Steps


class CloudPCProvider(ResourceProvider):
    """One Cloud PC: a user's machine for one service plan."""

    serialize_as_secret_always = False  # it holds no data: the reference in state is not worth encrypting

    def configure(self, req: ConfigureRequest) -> None:
        """Keep the stack's configuration for the calls of this process; opens nothing."""
        _process.configure(req)

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Inputs are made by the program, which has validated everything; an exception here would stop everybody."""
        return CheckResult(news, [])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Whether the lifecycle wants anything done. Compares outputs, so that a policy edit changes nothing."""
        recorded, desired = outputs.read(_olds), DesiredCloudPC.model_validate(_news)
        to_do = lifecycle.next_step(recorded, desired) is not Step.NONE
        return DiffResult(changes=to_do or outputs.SEEN in _news)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Provision. Raises only on Cancel: failing is an outcome."""
        desired = DesiredCloudPC.model_validate(props)
        _check_passphrase(desired.policy_id)
        with _steps(desired) as steps:
            made = steps.provision(desired)
        _process.audit(None, made)
        return CreateResult(str(made.machine_id), outputs.written(made))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Take the lifecycle's step. Returns the complete outputs: Pulumi keeps no others (pulumi/pulumi#7809)."""
        desired = DesiredCloudPC.model_validate(_news)
        _check_passphrase(desired.policy_id)
        recorded = outputs.read(_olds)
        with _steps(desired) as steps:
            after = steps.update(recorded, desired, seen=outputs.SEEN in _news)
        _process.audit(recorded, after)
        return UpdateResult(outputs.written(after, _olds))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """What a refresh sees of the machine, as a status; never as gone, or it would be made again."""
        recorded = outputs.read(props)
        with _steps(recorded) as steps:
            return ReadResult(id_, outputs.written(steps.refresh(recorded), props))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        """Nothing to do for one that has ended; else refuse, unless a flag names the policy (rule 10)."""
        from cloudpc.rules import transitions

        recorded = outputs.read(props)
        if recorded.is_gone:
            return
        _check_delete_allowed(
            recorded.policy_id,
            f"the Cloud PC {recorded.device_name} of {recorded.user_principal_name} is {recorded.status}",
        )
        if left := _process.runtime().removal.remove(UUID(id_), recorded):
            raise plugin_process.Refusal(f"not deleted: {'; '.join(left)}")
        _process.audit(recorded, transitions.removed(recorded, datetime.now(UTC)))


class ProvisioningPolicyProvider(ResourceProvider):
    """The policy itself: nothing outside Pulumi, but what later runs must remember of it."""

    serialize_as_secret_always = False

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """A change of what is shown or remembered."""
        return DiffResult(changes=any(_olds.get(name) != value for name, value in _news.items()))

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Record the policy."""
        return CreateResult(props["policyId"], dict(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Record the change."""
        return UpdateResult(dict(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Refuse while the policy is assigned (rule 11)."""
        if _props.get("assignments"):
            groups = ", ".join(f"{group['displayName']} ({group['groupId']})" for group in _props["assignments"])
            _check_delete_allowed(_props["policyId"], f"the provisioning policy is assigned to {groups}")


def _check_delete_allowed(policy_id: str, why: str) -> None:
    from cloudpc.operations.consent import Consent

    call = plugin_process.current_call()
    stack = call.urn.split(":")[2] if call else policy_id  # which may have been renamed since the policy was made
    if Consent.of_this_run().delete not in (policy_id, stack):
        raise plugin_process.Refusal(
            f"not deleted: {why}. Take the group's assignment out of the policy instead; "
            f"to remove a whole policy with everything on it, run `cloudpc down {policy_id}`"
        )


def _check_passphrase(policy_id: str) -> None:
    """Before there is a password. The program checks it as well, in all runs that have one."""
    root = project_root()
    if wrong := passphrase.problem(root / "stacks" / f"Pulumi.{policy_id}.yaml", Engine(root, inside_a_run=True)):
        raise plugin_process.Refusal(str(wrong))


class _Process:
    """What all calls of this process share. Providers are unpickled from a reference, so they can't carry it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values = Values({}, {}, {})
        self._runtime: Runtime | None = None

    def configure(self, req: ConfigureRequest) -> None:
        with self._lock:
            given = {key: value for key in KEYS if (value := req.config.get(key)) is not None}
            # any may be a secret, which can't be seen here; the program has dealt with those that are not
            self._values = Values({}, {}, {**self._values, **given})

    @cached_property
    def teller(self) -> Teller:
        from cloudpc.iac.stages_now import Teller

        return Teller(project_root())

    def audit(self, before: RecordedCloudPC | None, after: RecordedCloudPC) -> None:
        from cloudpc.operations import audit

        settings = self._values.get("cloudpc:audit")
        file = audit.target(settings["path"] if settings else None, project_root() / "stacks", _tell)
        audit.append(file, before, after, _tell)

    def runtime(self) -> Runtime:
        from cloudpc.configuration import parsing
        from cloudpc.operations.runtime import Runtime

        with self._lock:
            if self._runtime is None:
                surroundings = parsing.parse_surroundings(self._values)
                self._runtime = Runtime(surroundings, project_root() / "stacks", _tell)
            return self._runtime


@contextlib.contextmanager
def _steps(cloud_pc: DesiredCloudPC) -> Iterator[Steps]:
    from cloudpc.iac.progress import EngineReporter
    from cloudpc.operations.steps import Steps

    call = plugin_process.current_call()
    # resources are named by a tenant's ids, which mean nothing to people
    who = cloud_pc.user_principal_name if GUID.fullmatch(cloud_pc.user_id) else ""
    reporter = EngineReporter(call.urn if call else "", who, _process.teller)
    try:
        yield Steps(_process.runtime(), reporter, plugin_process.cancellation)
    finally:
        reporter.over()


def _tell(text: str) -> None:
    log("", text, severity=Severity.WARNING)


_process = _Process()
