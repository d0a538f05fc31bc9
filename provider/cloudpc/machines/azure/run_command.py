"""One managed run command of a virtual machine: a script that Azure's agent runs in its guest, once.

Managed ones (`runCommands/{name}`, not the action `runCommand`) have an own time-out, secrets that are not part of the
script, and end when they are deleted.
"""

from __future__ import annotations

import logging
import math
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudpc.machines.azure.arm_error import Meaning
from cloudpc.machines.azure.errors import AzureFailed
from cloudpc.machines.azure.once import DONE
from cloudpc.machines.azure.pace import writes
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Script
from cloudpc.model.watch import Watch

if TYPE_CHECKING:
    from cloudpc.machines.azure.arm import Arm

log = logging.getLogger(__name__)
PREFIX = "cloudpc-"
_LARGEST = 256 * 1024
"""Bytes of a script; what Azure hands to agents as settings is not much larger."""
_BUSY = (Meaning.AGENT, Meaning.WAIT)
_BUSY_FOR = 120.0
"""Seconds that another script, or change of the machine, is waited for: an agent that hangs is busy for ever."""
_DELETE_WITHIN = 30.0
_OVER = frozenset({"Succeeded", "Failed", "TimedOut", "Canceled"})


@dataclass(frozen=True)
class Seen:
    """What Azure says of it.

    Args:
        state: Pending, Running, Succeeded, Failed, TimedOut, Canceled, Unknown.
        output: the last 4 kB of what it said.
        refused: why the agent could not run it, in its words.
    """

    state: str = "Unknown"
    output: str = ""
    refused: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether the script came to its end, whatever Azure says: it may go on calling that running."""
        return DONE.search(self.output) is not None

    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.is_whole or self.state in _OVER

    def has_begun(self) -> bool:
        """Whether the agent was heard of."""
        return self.is_over() or self.state == "Running" or bool(self.output)


class RunCommand:
    """One of a machine's, with a name of its own.

    Args:
        arm: reaches it.
        vm_name: whose.
        doing: what it does; completes "could not …".
    """

    def __init__(self, arm: Arm, vm_name: str, doing: str) -> None:
        self._arm = arm
        self._doing = doing
        self.name = PREFIX + secrets.token_hex(5)
        self._path = (arm.group, vm_name, self.name)

    def start(self, script: Script, watch: Watch) -> None:
        """Have Azure run its text, as soon as it is free to.

        Raises:
            AzureFailed, Cancelled.
            ProvisioningError: SET_UP_FAILED, it is too large; GUEST_AGENT_LOST, the agent is busy for ever.
        """
        body = self._body(script)
        busy = watch.within(_BUSY_FOR)
        for pause in writes(self._arm):
            try:
                with self._arm.asking(self._doing, watch):
                    self._calls.begin_create_or_update(*self._path, body, polling=False)
            except AzureFailed as failed:
                if failed.arm.status != 409 or failed.arm.meaning not in _BUSY:
                    raise
                if self._is_known(watch):  # the answer of a request before was lost
                    return
                if not busy.remaining:
                    raise self._is_busy(failed) from failed
                busy.wait(pause)
            else:
                return

    def _is_known(self, watch: Watch) -> bool:
        try:
            self.look(watch)
        except AzureFailed as failed:
            if failed.arm.is_missing:
                return False
            raise
        return True

    def look(self, watch: Watch) -> Seen:
        """Ask once. Raises AzureFailed, Cancelled."""
        with self._arm.asking(self._doing, watch):
            found = self._calls.get_by_virtual_machine(*self._path, expand="instanceView")
        properties = found.properties
        view = properties.instance_view if properties is not None else None
        if properties is None or view is None:
            return Seen()
        said = str(view.output or "")
        if properties.provisioning_state == "Failed" and not said:
            return Seen("Failed", refused=str(view.execution_message or view.error or "its agent says no more"))
        return Seen(str(getattr(view.execution_state, "value", view.execution_state or "Unknown")), said)

    def remove(self) -> None:
        """End it if it runs, and have Azure forget its text. What fails is only logged: it goes with its machine."""
        try:
            with self._arm.asking(self._doing, Watch().within(_DELETE_WITHIN)):
                self._calls.begin_delete(*self._path, polling=False)
        except ProvisioningError as error:
            log.warning("a script of %s could not be removed: %s", self._path[1], error.message)

    @property
    def _calls(self) -> Any:
        return self._arm.compute.virtual_machine_run_commands

    def _body(self, script: Script) -> dict[str, Any]:
        if (size := len(script.text.encode())) > _LARGEST:
            message = f"could not {self._doing}: the scripts have {size} bytes together, and Azure takes {_LARGEST}"
            raise ProvisioningError(ErrorCode.SET_UP_FAILED, message, retriable=False, hint="Make the script shorter.")
        return {
            "location": self._arm.config.location,
            "properties": {
                "source": {"script": script.text},
                "protectedParameters": [{"name": name, "value": value} for name, value in script.secrets.items()],
                "asyncExecution": True,
                "timeoutInSeconds": math.ceil(script.timeout),
                "treatFailureAsDeploymentFailure": False,
            },
        }

    def _is_busy(self, failed: AzureFailed) -> ProvisioningError:
        message = f"could not {self._doing}: its agent has been busy for {_BUSY_FOR:.0f} s ({failed.arm.message})"
        return ProvisioningError(ErrorCode.GUEST_AGENT_LOST, message)
