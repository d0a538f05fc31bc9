"""The end of a Windows guest's boot: remote desktop listens."""

from __future__ import annotations

from cloudpc.guests.windows.powershell import INTERPRETER
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Script
from cloudpc.model.text import last_lines

_SPARE = 30.0
_NOT_OVER = 75
_TEXT = """
$until = (Get-Date).AddSeconds(%d)
while (-not (Get-NetTCPConnection -State Listen -LocalPort 3389 -ErrorAction SilentlyContinue)) {
    if ((Get-Date) -ge $until) { 'nothing listens for remote desktop, on port 3389'; exit 75 }
    Start-Sleep -Seconds 2
}
"""


def script(seconds: float) -> Script:
    """Waits so long at most."""
    return Script(
        text=_TEXT % max(1, int(seconds)),
        title="waiting for remote desktop",
        name="first-boot",
        timeout=seconds + _SPARE,
        interpreter=INTERPRETER,
        repeatable=True,
    )


def problem(ended: Completed) -> ProvisioningError | None:
    """What the script has found wrong: BOOT_TIMEOUT, FIRST_BOOT_FAILED; None where all is well."""
    said = last_lines(ended.output)
    if ended.timed_out or ended.exit_code == _NOT_OVER:
        hint = "If the guest is merely slow: timeouts.firstBootInSeconds in the policy."
        return ProvisioningError(ErrorCode.BOOT_TIMEOUT, f"The guest was not ready in time: {said}.", hint=hint)
    if ended.exit_code:
        return ProvisioningError(ErrorCode.FIRST_BOOT_FAILED, f"The guest can't say whether it is ready: {said}.")
    return None
