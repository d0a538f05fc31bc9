"""What a Windows guest says of itself: its version, its certificate for remote desktop, its device of Entra."""

from __future__ import annotations

import re
from uuid import UUID

from cloudpc.guests.windows.powershell import INTERPRETER
from cloudpc.model.guests import Facts, Script
from cloudpc.model.text import told

_SECONDS = 120.0
# Windows knows the certificate by its SHA-1; whoever connects pins the SHA-256 of the same one.
_TEXT = r"""
$release = Get-ItemProperty 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion'
"system $((Get-CimInstance Win32_OperatingSystem).Caption) $($release.DisplayVersion)"
$terminal = @{ Namespace = 'root/cimv2/TerminalServices'; ClassName = 'Win32_TSGeneralSetting' }
$used = (Get-CimInstance @terminal -Filter "TerminalName='RDP-Tcp'").SSLCertificateSHA1Hash
$stores = 'Cert:\LocalMachine\Remote Desktop', 'Cert:\LocalMachine\My'
$certificate = Get-ChildItem $stores | Where-Object Thumbprint -eq $used | Select-Object -First 1
if ($certificate) {
    $hash = [Security.Cryptography.SHA256]::Create().ComputeHash($certificate.RawData)
    "thumbprint $([BitConverter]::ToString($hash).Replace('-', ''))"
}
dsregcmd.exe /status | ForEach-Object { if ($_ -match '^\s*DeviceId\s*:\s*(\S+)') { "device $($Matches[1])" } }
exit 0
"""
_SYSTEM = re.compile(r"^system (?:Microsoft )?([^\r\n]{1,64})", re.MULTILINE)
_THUMBPRINT = re.compile(r"^thumbprint ([0-9A-Fa-f]{64})\s*$", re.MULTILINE)
_DEVICE = re.compile(r"^device ([0-9A-Fa-f-]{36})\s*$", re.MULTILINE)


def script() -> Script:
    """Asks for all of them."""
    return Script(text=_TEXT, name="facts", timeout=_SECONDS, interpreter=INTERPRETER, repeatable=True)


def read(said: str) -> Facts:
    """What `script` has said; what is no fingerprint and no deviceId is left out."""
    system, thumbprint, device = _SYSTEM.search(said), _THUMBPRINT.search(said), _DEVICE.search(said)
    return Facts(
        version=told(system[1].strip()) if system else "",
        proof=thumbprint[1].upper() if thumbprint else "",
        device_id=_uuid(device[1]) if device else None,
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
