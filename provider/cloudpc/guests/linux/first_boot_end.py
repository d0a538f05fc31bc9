"""The end of a Linux guest's first boot: the file that cloud-init writes last, and what it says."""

from __future__ import annotations

import json

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Script
from cloudpc.model.text import last_lines

RESULT_FILE = "/run/cloud-init/result.json"
"""cloud-init writes it last, when every stage is over."""
_ERRORS_SHOWN, _ERROR_LENGTH = 10, 400
_SPARE = 15.0
"""Seconds after which a script that did not end its wait itself is ended."""
_NOT_OVER = 75
"""The exit code where it is not over."""
# A file in memory: after each start there is none until cloud-init has finished, so it serves later boots, too.
_WAIT = """
export LC_ALL=C
now() { cut -d. -f1 /proc/uptime; }
until=$(($(now) + $1))
while [ ! -s "$2" ]; do
  if [ "$(now)" -ge "$until" ]; then
    command -v cloud-init >/dev/null || echo "the image has no cloud-init"
    timeout 10 cloud-init status --long 2>/dev/null | tail -n 3
    exit 75
  fi
  sleep 1
done
head -c 2500 "$2"
"""


def script(seconds: float) -> Script:
    """Waits so long at most, and shows the file."""
    return Script(
        text=_WAIT,
        title="waiting for first-boot set-up",
        name="first-boot",
        arguments=(str(max(1, int(seconds))), RESULT_FILE),
        timeout=seconds + _SPARE,
        repeatable=True,
    )


def problem(ended: Completed) -> ProvisioningError | None:
    """What the script has found wrong: BOOT_TIMEOUT, FIRST_BOOT_FAILED; None where all is well."""
    if ended.timed_out or ended.exit_code == _NOT_OVER:
        message = f"First-boot set-up was not over in time: {last_lines(ended.output)}."
        hint = "If the guest is merely slow: timeouts.firstBootInSeconds in the policy."
        return ProvisioningError(ErrorCode.BOOT_TIMEOUT, message, hint=hint)
    errors = errors_in(ended.output.encode())
    if ended.exit_code or errors is None:
        errors = [last_lines(ended.output)]  # more than a host carries, or not a file of cloud-init's
    if not errors:
        return None
    return ProvisioningError(ErrorCode.FIRST_BOOT_FAILED, f"First-boot set-up failed: {'; '.join(errors)}.")


def errors_in(result: bytes) -> list[str] | None:
    """What cloud-init's result file says went wrong; None while the file is still being written."""
    try:
        report = json.loads(result)["v1"]["errors"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(report, list):
        return [f"{RESULT_FILE} is not what cloud-init writes: its v1.errors is no list"]
    return [str(error)[:_ERROR_LENGTH] for error in report[:_ERRORS_SHOWN]]
