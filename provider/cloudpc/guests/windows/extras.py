"""The extras of a Windows guest's set-up. What isn't done there yet is a warning, as what fails is."""

from __future__ import annotations

from cloudpc.guests.windows.powershell import INTERPRETER, quoted
from cloudpc.model.cloud_pc import PolicySettings
from cloudpc.model.errors import ErrorCode
from cloudpc.model.guests import Extra, Script

_SECONDS = 30.0
_SCRIPT = """
$file = [IO.Path]::ChangeExtension([IO.Path]::GetTempFileName(), 'ps1')
$to = [IO.File]::Create($file)
[Console]::OpenStandardInput().CopyTo($to)
$to.Close()
try { & $file; exit $LASTEXITCODE } finally { Remove-Item -Force $file }
"""


def wanted(settings: PolicySettings, script: bytes | None) -> list[Extra]:
    """What a policy asks for beyond the image."""
    extras = []
    if settings.time_zone != "UTC":
        extras.append(_not_yet(f"time zone {settings.time_zone}", ErrorCode.TIME_ZONE_FAILED))
    if settings.packages:
        extras.append(_not_yet(f"packages {', '.join(settings.packages)}", ErrorCode.PACKAGES_FAILED))
    if settings.locale != "en-US":
        extras.append(_not_yet(f"locale {settings.locale}", ErrorCode.LOCALE_FAILED))
    if script is not None:
        made = Script(
            text=_SCRIPT,
            title="post-provisioning script",
            name="set-up",
            timeout=settings.set_up_in_seconds,
            stdin=script,
            interpreter=INTERPRETER,
        )
        extras.append(Extra(made, ErrorCode.POST_PROVISIONING_SCRIPT_FAILED))
    return extras


def _not_yet(title: str, code: ErrorCode) -> Extra:
    text = f"{quoted('Windows guests are not given this yet: have the image or Intune do it')}\nexit 1"
    made = Script(text=text, title=title, name="set-up", timeout=_SECONDS, interpreter=INTERPRETER, repeatable=True)
    return Extra(made, code)
