"""Carrying out what the lifecycle decided for one Cloud PC: outputs in, complete outputs out.

Only Cancel raises: trouble is an outcome, or leaves things as they are until the next run (design rules 5 and 8).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from cloudpc.iac import outputs, plugin_process
from cloudpc.iac.progress import EngineReporter
from cloudpc.model import patience
from cloudpc.model.cloud_pc import (
    USABLE,
    DesiredCloudPC,
    RecordedCloudPC,
    Status,
)
from cloudpc.model.directory import GUID
from cloudpc.model.errors import ErrorCode, ProvisioningError, TagUnreadable, unexpected_told
from cloudpc.model.machines import Host, Machine, PowerState, State
from cloudpc.model.remnants import of_machine
from cloudpc.model.tags import Phase
from cloudpc.operations.runtime import Runtime
from cloudpc.provisioning import pipeline
from cloudpc.provisioning.afterwards import Afterwards
from cloudpc.rules import lifecycle
from cloudpc.rules.actions.action import Action
from cloudpc.rules.actions.reprovision import REPROVISION
from cloudpc.rules.actions.retry import RETRY
from cloudpc.rules.actions.update_kernel import UPDATE_KERNEL
from cloudpc.rules.step import Step

_LOSS, _CHANGE = "beforeLoss", "beforeChange"
"""The outputs that keep what it was; see RecordedCloudPC."""


def update(runtime: Runtime, olds: dict[str, Any], desired: DesiredCloudPC, *, look: bool = False) -> dict[str, Any]:
    """Take the step that leads from what is recorded to what is desired.

    Args:
        runtime: what it works with.
        olds: what is recorded.
        desired: what the run was planned to make of it.
        look: whether the run has seen that the machine is not what is recorded, and planned for what it is.
    """
    with patience.telling(_reporter(desired).step):
        outs = _step(runtime, olds, desired, look=look)
    runtime.tell_slow()
    return outs


def _step(runtime: Runtime, olds: dict[str, Any], desired: DesiredCloudPC, *, look: bool) -> dict[str, Any]:
    recorded = RecordedCloudPC.model_validate(olds)
    if look and lifecycle.next_step(recorded, desired) is not REPROVISION:  # which a killed one looks like, too
        olds = _looked(runtime, olds)
        recorded = RecordedCloudPC.model_validate(olds)
    step = lifecycle.next_step(recorded, desired)
    if isinstance(step, Action):
        return _act(step, runtime, olds, recorded, desired)
    match step:
        case Step.NONE:
            return olds
        case Step.PROVISION:
            return provision(runtime, desired, recorded)
        case Step.START:
            return _start(runtime, olds, recorded)
        case Step.BEGIN_GRACE:
            before = recorded.status_if_there
            return _changed(olds, recorded, desired, Status.IN_GRACE_PERIOD, desired.why, before.value)
        case Step.RESTORE:
            return _restore(runtime, olds, recorded, desired)
        case Step.END:
            return _end(runtime, olds, recorded, desired)


def _act(
    action: Action, runtime: Runtime, olds: dict[str, Any], recorded: RecordedCloudPC, desired: DesiredCloudPC
) -> dict[str, Any]:
    if action is REPROVISION:
        return _reprovision(runtime, olds, recorded, desired)
    if action is UPDATE_KERNEL:
        return _update_kernel(runtime, olds, recorded, desired)
    if action is RETRY and recorded.status is not Status.FAILED:
        return _set_up_again(runtime, olds, recorded, desired)
    return provision(runtime, desired, recorded)


def provision(runtime: Runtime, desired: DesiredCloudPC, recorded: RecordedCloudPC | None = None) -> dict[str, Any]:
    """Make the Cloud PC; failing is an outcome."""
    reporter, begin = _reporter(desired), time.monotonic()
    if recorded is not None and recorded.status is Status.FAILED:
        runtime.discard_kept(recorded.installation, recorded.machine_id)
    outcome = pipeline.provision(desired, runtime.resources(desired.settings), reporter, plugin_process.cancellation)
    reporter.ended(outcome, time.monotonic() - begin)
    runtime.tell_slow()
    return outputs.from_outcome(desired, outcome, recorded.events if recorded else (), _asked(desired, recorded))


def _asked(desired: DesiredCloudPC, recorded: RecordedCloudPC | None) -> str:
    if recorded is not None and desired.generation > recorded.generation:
        return "reprovision"
    return "retry" if recorded is not None and recorded.status is Status.FAILED else ""


def read(runtime: Runtime, props: dict[str, Any]) -> dict[str, Any]:
    """What a refresh sees of the machine; a host that does not answer says nothing about it."""
    seen = _looked(runtime, props)
    after = RecordedCloudPC.model_validate(seen)
    if seen != props and after.stands_still:
        _reporter(after).milestone(f"is {told_still(after)}")
    return seen


def is_looked_at(recorded: RecordedCloudPC) -> bool:
    """Whether it is to have a machine that is worth a look."""
    return recorded.has_machine and recorded.status is not Status.DEPROVISIONING


def _looked(runtime: Runtime, props: dict[str, Any]) -> dict[str, Any]:
    recorded = RecordedCloudPC.model_validate(props)
    if not is_looked_at(recorded):
        return props
    try:
        named = next((host for host in runtime.hosts if host.name == recorded.host), None)
        seen = as_seen(named, props, recorded, runtime.hosts)
    except ProvisioningError as error:
        runtime.tell_once(f"nothing is known of the machines on {recorded.host}: {error.message} [{error.code}]")
        return props
    if seen.get("events") != props.get("events"):
        after = RecordedCloudPC.model_validate(seen)
        _reporter(after).milestone(told_seen(after), warning=after.status_detail is not None)
    return seen


def told_seen(seen: RecordedCloudPC) -> str:
    """What a look at its machine has changed, in words."""
    if detail := seen.status_detail:
        return f"{seen.status}: {detail.message} [{detail.code}]"
    return seen.events[-1].split(" ", 2)[-1]


def told_still(pc: RecordedCloudPC) -> str:
    """How one that stands still does so, and what becomes of it; to be shown."""
    if pc.power_state == "paused":
        return f"paused: {pc.paused_because}; the next run resumes it"
    return "off; the next run starts it"


def as_seen(
    where: Host | None, props: dict[str, Any], recorded: RecordedCloudPC, hosts: Iterable[Host] = ()
) -> dict[str, Any]:
    """What is recorded of one with a machine, as its host has it now.

    Args:
        where: the host of the name that state has; None if cloudpc:hosts has no such name any more.
        props: what is recorded, as Pulumi has it.
        recorded: the same.
        hosts: the policy's; one that is missed is looked for on them.

    Raises:
        ProvisioningError: the host does not say.
    """
    if where is None:
        if followed := _followed(props, recorded, hosts):
            return followed
        raise ProvisioningError(ErrorCode.HOST_UNREACHABLE, f"the host {recorded.host} is not in cloudpc:hosts")
    with unexpected_told(f"looking at {recorded.machine_id}"):
        try:
            machine = where.describe(recorded.machine_id)
        except TagUnreadable as error:
            return _unreadable(props, recorded, error)
        if machine is not None and machine.state is State.GOING:  # its data is as good as gone
            machine = None
        left = "" if machine or recorded.is_lost else _what_is_left(where, recorded)
    if machine is not None and _is_newer(machine, recorded):
        message = (
            f"its machine on {where.name} is of generation {machine.tag.generation}, and this state, an older copy, "
            f"of {recorded.generation}; it is left untouched: `cloudpc adopt` takes it back"
        )
        return outputs.wrong(props, Status.FAILED, ErrorCode.MACHINE_NOT_IN_STATE, message, _LOSS)
    is_there = machine is not None and machine.tag.generation == recorded.generation
    if not is_there and (followed := _followed(props, recorded, hosts)):
        return followed
    if machine is None or not is_there or not machine.has_disk:
        if recorded.is_lost:
            return props
        message = left or f"its machine is no longer on {where.name}; its data is gone"
        if is_there:
            message = f"its machine is defined on {where.name}, but its disk is not there"
        return outputs.wrong(props, Status.FAILED, ErrorCode.MACHINE_LOST, message, _LOSS)
    if recorded.is_lost:
        props = outputs.well_again(props, _LOSS, "its machine is back")
        recorded = RecordedCloudPC.model_validate(props)
    if recorded.status is Status.IN_GRACE_PERIOD and recorded.has_code(ErrorCode.TAG_UNREADABLE):
        props = outputs.readable_in_grace(props, _CHANGE)
    seen = outputs.powered(props, machine.power, machine.paused_because)
    if recorded.status not in USABLE:
        return seen
    plan, size = recorded.service_plan, machine.size
    memory = plan.memory_mib
    if (size.vcpus, size.memory_mib) != (plan.v_cpu_count, memory):
        has, should = f"{size.vcpus} vCPU and {size.memory_mib} MiB", f"{plan.v_cpu_count} and {memory}"
        message = f"its machine has {has}, the service plan {should}"
        return outputs.wrong(seen, Status.PROVISIONED_WITH_WARNINGS, ErrorCode.MACHINE_CHANGED, message, _CHANGE)
    if recorded.has_code(ErrorCode.MACHINE_CHANGED):
        return outputs.well_again(seen, _CHANGE, "its machine is the service plan's size again")
    if recorded.has_code(ErrorCode.TAG_UNREADABLE):
        return outputs.well_again(seen, _CHANGE, "its machine's tag can be read again")
    return seen


def _is_newer(machine: Machine, recorded: RecordedCloudPC) -> bool:
    """Whether its user was given it after what this state remembers."""
    return machine.tag.generation > recorded.generation and machine.tag.phase is Phase.HANDED_OVER


def _followed(props: dict[str, Any], recorded: RecordedCloudPC, hosts: Iterable[Host]) -> dict[str, Any] | None:
    """As another host has it, if one does."""
    if (place := _elsewhere(recorded, hosts)) is None:
        return None
    return as_seen(place, outputs.moved(props, place.name), recorded.model_copy(update={"host": place.name}))


def _elsewhere(recorded: RecordedCloudPC, hosts: Iterable[Host]) -> Host | None:
    """Another host that has it: it was migrated, or hosts are called otherwise in cloudpc:hosts than before."""
    its_own = (recorded.policy_id, recorded.generation, Phase.HANDED_OVER)
    for other in (each for each in hosts if each.name != recorded.host):
        with suppress(ProvisioningError), unexpected_told(f"looking for {recorded.machine_id} on {other.name}"):
            machine = other.describe(recorded.machine_id)
            if machine and (machine.tag.policy_id, machine.tag.generation, machine.tag.phase) == its_own:
                return other
    return None


def _unreadable(props: dict[str, Any], recorded: RecordedCloudPC, error: TagUnreadable) -> dict[str, Any]:
    """Its user may go on working, but nothing is done to it any more; one that counted as lost goes on doing so."""
    code = error.code
    if recorded.status is Status.IN_GRACE_PERIOD:
        return outputs.wrong(props, recorded.status, code, error.message)
    if recorded.status in USABLE:
        return outputs.wrong(props, Status.PROVISIONED_WITH_WARNINGS, code, error.message, _CHANGE)
    raise error


def _what_is_left(where: Host, recorded: RecordedCloudPC) -> str:
    """Somebody may have undefined it, and can define it again."""
    its = of_machine(where.remnants(recorded.installation), recorded.machine_id)
    disks = [remnant.name for remnant in its if remnant.kind.may_hold_data]
    if not disks:
        return ""
    return (
        f"its machine is no longer defined on {where.name}, but its disk is there ({', '.join(disks)}): it works again "
        "once it is defined again; a reprovision makes a new one, and deletes that disk"
    )


def _reprovision(
    runtime: Runtime, olds: dict[str, Any], recorded: RecordedCloudPC, desired: DesiredCloudPC
) -> dict[str, Any]:
    reporter = _reporter(recorded)
    if recorded.has_machine:
        try:
            pipeline.check_before(desired, runtime.resources(desired.settings), reporter)
        except ProvisioningError as error:
            said = f"not reprovisioned, its machine is untouched: {error.message} [{error.code}]"
            reporter.milestone(said, warning=True)
            return olds
    reporter.step("removing the machine of before")
    # one of the new generation is what an interrupted run of this made: the pipeline adopts or removes it
    if left := runtime.removal.remove(recorded.machine_id, recorded, below=desired.generation):
        reporter.milestone(f"not reprovisioned, tried again by the next run: {'; '.join(left)}", warning=True)
        return olds
    return provision(runtime, desired, recorded)


def _restore(
    runtime: Runtime, olds: dict[str, Any], recorded: RecordedCloudPC, desired: DesiredCloudPC
) -> dict[str, Any]:
    """Somebody counts on it from now on: a machine that is gone is told, whatever took it."""
    before = recorded.status_before_grace or Status.PROVISIONED
    return read(runtime, _changed(olds, recorded, desired, before, "entitled again", None))


def _changed(
    olds: dict[str, Any],
    recorded: RecordedCloudPC,
    desired: DesiredCloudPC,
    status: Status,
    why: str,
    before: str | None,
) -> dict[str, Any]:
    """Into its grace period or out of it; what is lost meanwhile stays so, and is that when its machine is back."""
    if not recorded.is_lost:
        return outputs.changed(olds, desired, status, why, statusBeforeGrace=before)
    was = {**olds[_LOSS], "status": status.value}
    return outputs.changed(olds, desired, recorded.status, why, statusBeforeGrace=before, **{_LOSS: was})


def _set_up_again(
    runtime: Runtime, olds: dict[str, Any], recorded: RecordedCloudPC, desired: DesiredCloudPC
) -> dict[str, Any]:
    reporter = _reporter(recorded)
    try:
        warned = _on_its_machine(runtime, recorded, desired, reporter).try_extras(recorded.failed_extras)
    except ProvisioningError as error:
        reporter.milestone(f"its set-up was not tried again: {error.message} [{error.code}]", warning=True)
        return olds
    outs = outputs.set_up_again(outputs.powered(olds, PowerState.RUNNING), desired, warned)
    detail = outs.get("statusDetail")
    said = f"still fails: {detail['message']}" if detail else "its set-up is complete"
    reporter.milestone(said, warning=bool(detail))
    return outs


def _update_kernel(
    runtime: Runtime, olds: dict[str, Any], recorded: RecordedCloudPC, desired: DesiredCloudPC
) -> dict[str, Any]:
    reporter = _reporter(recorded)
    build = desired.settings.model_copy(update={"image_digest": desired.kernel_digest})
    wanted = desired.model_copy(update={"settings": build})
    try:
        came = _on_its_machine(runtime, recorded, wanted, reporter).move_kernel()
    except ProvisioningError as error:
        said = f"keeps its kernel, tried again by the next run: {error.message} [{error.code}]"
        reporter.milestone(said, warning=True)
        return olds
    reporter.milestone(came)
    return outputs.kernel_moved(outputs.powered(olds, PowerState.RUNNING), desired, came)


def _on_its_machine(
    runtime: Runtime, recorded: RecordedCloudPC, desired: DesiredCloudPC, reporter: EngineReporter
) -> Afterwards:
    """Raises ProvisioningError: its host is not in cloudpc:hosts."""
    where, resources = runtime.host(recorded.host), runtime.resources(desired.settings)
    return Afterwards(desired, where, resources, reporter, plugin_process.cancellation)


def _start(runtime: Runtime, olds: dict[str, Any], recorded: RecordedCloudPC) -> dict[str, Any]:
    reporter, (was, doing, done) = _reporter(recorded), _words(recorded)
    reporter.step(f"{doing} on {recorded.host}")
    try:
        runtime.start(recorded.machine_id, recorded.host)
    except ProvisioningError as error:
        reporter.milestone(f"it is {was} and could not be {done}: {error.message} [{error.code}]", warning=True)
        return olds
    reporter.milestone(f"was {was}, {done} on {recorded.host}")
    return outputs.with_event(outputs.powered(olds, PowerState.RUNNING), recorded.status, f"was {was}, {done}")


def _words(recorded: RecordedCloudPC) -> tuple[str, str, str]:
    if recorded.power_state == "paused":
        return f"paused ({recorded.paused_because})", "resuming", "resumed"
    return "off", "starting", "started"


def _end(runtime: Runtime, olds: dict[str, Any], recorded: RecordedCloudPC, desired: DesiredCloudPC) -> dict[str, Any]:
    reporter = _reporter(recorded)
    reporter.step("removing")
    left = runtime.removal.remove(recorded.machine_id, recorded)
    if left:
        reporter.milestone(f"not removed whole, tried again by each run: {'; '.join(left)}", warning=True)
    else:
        reporter.milestone(f"ended: {desired.why}")
    return outputs.ended(olds, desired, left)


def _reporter(cloud_pc: DesiredCloudPC) -> EngineReporter:
    call = plugin_process.current_call()
    # a tenant's ids, which resources are named by, say nothing to people
    who = cloud_pc.user_principal_name if GUID.fullmatch(cloud_pc.user_id) else ""
    return EngineReporter(call.urn if call else "", who)
