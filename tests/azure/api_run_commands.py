"""Managed run commands (v2): scripts that run in a guest, each a resource below its machine."""

from __future__ import annotations

import copy
import threading
from typing import Any

from tests.azure.back_ends import Command, Outcome
from tests.azure.errors import ArmFault, Json, invalid
from tests.azure.machine import KIND, Machine, agent_ready, instance_view, machine_of
from tests.azure.operations import Operation
from tests.azure.resources import Resource
from tests.azure.routing import Call, Routes, listed
from tests.support.http_server import Answer

ROUTES = Routes()
RUN_COMMAND = f"{KIND}/runCommands"
_TAIL = 4096
_USUAL_TIMEOUT = 90 * 60
_MOST = 25


@ROUTES.add("VirtualMachineRunCommands_ListByVirtualMachine")
def _list(call: Call) -> Answer:
    call.arm.resources.get(call.vm_id)
    return listed(call, [_shown(call, r) for r in call.arm.resources.of(RUN_COMMAND, f"{call.vm_id}/")])


@ROUTES.add("VirtualMachineRunCommands_GetByVirtualMachine")
def _get(call: Call) -> Answer:
    call.arm.resources.get(call.vm_id)
    return Answer(200, _shown(call, call.arm.resources.get(_id(call))))


@ROUTES.add("VirtualMachineRunCommands_CreateOrUpdate")
def _put(call: Call) -> Answer:
    vm = call.arm.resources.get(call.vm_id)
    machine = machine_of(vm)
    existing = call.arm.resources.find(_id(call))
    _check(call, vm, machine, existing)
    properties = copy.deepcopy(call.body["properties"])
    properties.pop("protectedParameters", None)
    properties.pop("runAsPassword", None)
    properties |= {"provisioningState": "Updating" if existing else "Creating"}
    resource = Resource(
        _id(call), RUN_COMMAND,
        {"location": call.body["location"], "tags": call.body.get("tags") or {}, "properties": properties},
        sent=copy.deepcopy(call.body),
        runtime={"executionState": "Pending", "exitCode": 0, "output": "", "error": ""},
    )  # fmt: skip
    failure = call.failure
    call.arm.resources.add(resource)
    operation = call.arm.operations.begin(
        "Microsoft.Compute", resource.id, call.operation, lambda: _shown(call, resource)
    )
    running = _Running(call, resource, machine, operation)
    if failure:
        call.arm.operations.later(0, lambda: running.refused(failure))
    elif not call.arm.run_commands_stick:
        call.arm.operations.later(call.arm.delays.run_command, running.start)
    else:
        call.arm.operations.later(0, running.stick)
    return Answer(200 if existing else 201, _shown(call, resource), call.arm.following(operation))


def _check(call: Call, vm: Resource, machine: Machine, existing: Resource | None) -> None:
    properties = call.body.get("properties") or {}
    source = properties.get("source") or {}
    if not any(source.get(name) for name in ("script", "scriptUri", "commandId", "galleryScriptReferenceId")):
        raise invalid("A run command needs a 'source'.", "properties.source")
    if call.body["location"].replace(" ", "").lower() != vm.body["location"].replace(" ", "").lower():
        raise ArmFault("BadRequest", "The location of a run command must be that of its virtual machine.")
    if vm.properties["provisioningState"] == "Deleting":
        raise ArmFault("OperationNotAllowed", f"The VM '{vm.name}' is marked for deletion.")
    if machine.power != "running" or not call.arm.back_end.status(machine.vm).running:
        raise ArmFault("OperationNotAllowed", "Cannot modify extensions in the VM when the VM is not running.")
    if existing is not None and existing.runtime["executionState"] in ("Pending", "Running"):
        raise ArmFault("Conflict")
    if existing is None and len(call.arm.resources.of(RUN_COMMAND, f"{vm.id}/")) >= _MOST:
        raise ArmFault("OperationNotAllowed", f"A virtual machine can have {_MOST} run commands at most.")


@ROUTES.add("VirtualMachineRunCommands_Delete")
def _delete(call: Call) -> Answer:
    vm = call.arm.resources.get(call.vm_id)
    resource = call.arm.resources.find(_id(call))
    if resource is None:
        return Answer(204)
    failure = call.failure
    operation = call.arm.operations.begin("Microsoft.Compute", resource.id, call.operation)

    def done() -> None:
        if not failure:
            if cancelled := machine_of(vm).commands.pop(resource.id.lower(), None):
                cancelled.set()
            call.arm.resources.remove(resource)
        call.arm.operations.end(operation, failure)

    call.arm.operations.later(0, done)
    return Answer(202, None, call.arm.following(operation))


@ROUTES.add("VirtualMachines_RunCommand")
def _version_1(call: Call) -> Answer:
    raise ArmFault("OperationNotAllowed", "The action runCommand (v1) is not offered by this fake: use runCommands.")


class _Running:
    """A script on its way. Its methods but `_work` are called with the fake's lock held."""

    def __init__(self, call: Call, resource: Resource, machine: Machine, operation: Operation) -> None:
        self._call = call
        self._arm = call.arm
        self._resource = resource
        self._machine = machine
        self._operation = operation
        properties: Json = resource.sent["properties"]
        given = (properties.get("parameters") or []) + (properties.get("protectedParameters") or [])
        self._command = Command(
            properties["source"].get("script", ""),
            {p["name"]: p["value"] for p in given},
            float(properties.get("timeoutInSeconds") or _USUAL_TIMEOUT),
            name=resource.name,
        )
        self._asynchronous = bool(properties.get("asyncExecution"))
        machine.commands[resource.id.lower()] = self._command.cancelled

    def start(self) -> float | None:
        """As soon as the agent is there."""
        if not self._is_there:
            return None
        vm = self._arm.resources.find(self._call.vm_id)
        if vm is None or not agent_ready(instance_view(self._arm, vm)):
            return 0.2  # it waits: Azure hands it over when the agent asks for it
        self._begin()
        thread = threading.Thread(target=self._work, daemon=True, name=f"run command {self._resource.name}")
        if self._arm.instant_scripts:
            self._end(self._outcome())
        else:
            thread.start()
        return None

    def stick(self) -> None:
        """It began, and nobody will ever hear how it went."""
        self._begin()

    def refused(self, failure: ArmFault) -> None:
        """It never began."""
        self._resource.properties["provisioningState"] = "Failed"
        self._resource.runtime |= {"executionState": "Failed", "exitCode": -1, "executionMessage": failure.message}
        self._arm.operations.end(self._operation, failure)

    def _begin(self) -> None:
        self._resource.runtime |= {"executionState": "Running", "startTime": self._arm.clock.iso()}
        if self._asynchronous:
            self._resource.properties["provisioningState"] = "Succeeded"
            self._arm.operations.end(self._operation)

    def _work(self) -> None:
        outcome = self._outcome()
        with self._arm.lock:
            self._end(outcome)

    def _outcome(self) -> Outcome | TimeoutError:
        try:
            return self._arm.back_end.run(self._machine.vm, self._command)
        except TimeoutError as error:
            return error

    def _end(self, outcome: Outcome | TimeoutError) -> None:
        self._machine.commands.pop(self._resource.id.lower(), None)
        if not self._is_there:
            return
        view: dict[str, Any] = {"endTime": self._arm.clock.iso()}
        if isinstance(outcome, TimeoutError):
            view |= {"executionState": "TimedOut", "exitCode": -1, "executionMessage": "Timed out"}
        else:
            state = "Failed" if outcome.exit_code else "Succeeded"
            view |= {"executionState": state, "exitCode": outcome.exit_code, "executionMessage": "Execution completed",
                     "output": _tail(outcome.output), "error": _tail(outcome.error)}  # fmt: skip
        self._resource.runtime |= view
        self._resource.properties["provisioningState"] = "Succeeded"
        strict = self._resource.sent["properties"].get("treatFailureAsDeploymentFailure")
        if strict and view["exitCode"]:
            self._resource.properties["provisioningState"] = "Failed"
            self._arm.operations.end(self._operation, ArmFault("VMExtensionProvisioningError"))
        self._arm.operations.end(self._operation)

    @property
    def _is_there(self) -> bool:
        return self._arm.resources.find(self._resource.id) is self._resource


def _tail(text: str) -> str:
    return text.encode()[-_TAIL:].decode(errors="replace")


def _shown(call: Call, resource: Resource) -> Json:
    shown = resource.shown()
    if "instanceView" in call.query.get("$expand", ""):
        shown["properties"]["instanceView"] = copy.deepcopy(resource.runtime)
    return shown


def _id(call: Call) -> str:
    return f"{call.vm_id}/runCommands/{call.parameters['runCommandName']}"
