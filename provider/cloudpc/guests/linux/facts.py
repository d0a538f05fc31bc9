"""What a Linux guest says of itself: its version, its ssh host key, its desktop's certificate, its device in Entra."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from uuid import UUID

from cloudpc.model import ssh_keys
from cloudpc.model.guests import Facts, Script
from cloudpc.model.text import told

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
DEVICE_ID_FILE = "/var/lib/cloudpc/entra-device-id"
"""Where what joins a guest to Entra may write the deviceId it has got: the guest's own word on which device it is."""
DESKTOP_CERTIFICATE = "/etc/xrdp/cloudpc-certificate.pem"
"""What the desktop of an image that has one proves itself by; made at the first boot."""
_OS_RELEASE = "/etc/os-release"
_SECONDS = 90.0
_SHELL = ("/bin/sh", "-c")
"""Nothing that it starts outlives it, and a custom image may have no setsid."""
# One line for each that is there. A guest is not trusted: its file may have no end, or very long lines. The shell looks
# through them itself: under software emulation each program that it starts takes longer than all of that.
_TEXT = r"""
export LC_ALL=C
first() { # NAME PATTERN FILE: the first line that is like the pattern
    [ -e "$3" ] || return 0
    head -c 65536 "$3" 2>/dev/null | while IFS= read -r line || [ -n "$line" ]; do
        case $line in $2) printf '%s %.1000s\n' "$1" "$line"; break ;; esac
    done
}
first system 'PRETTY_NAME=*' "$1"
first key '?*' "$2"
first device '?*' "$3"
if [ -e "$4" ]; then
    head -c 8192 "$4" 2>/dev/null | sed -n 's/^[A-Za-z0-9+\/=]\{1,76\}$/desktop &/p'
fi
"""
_PRETTY_NAME = re.compile(r'^system PRETTY_NAME="?([^"\n]{1,64})', re.MULTILINE)
_KEY = re.compile(r"^key (\S+ \S+)", re.MULTILINE)
_DESKTOP = re.compile(r"^desktop (\S+)$", re.MULTILINE)
_DEVICE = re.compile(r"^device (\S+)\s*$", re.MULTILINE)


def script() -> Script:
    """Asks for all of them."""
    return Script(
        text=_TEXT,
        name="facts",
        arguments=(_OS_RELEASE, HOST_KEY, DEVICE_ID_FILE, DESKTOP_CERTIFICATE),
        timeout=_SECONDS,
        interpreter=_SHELL,
        repeatable=True,
    )


def read(said: str) -> Facts:
    """What `script` has said; what is no key, no deviceId and no certificate is left out."""
    name, key, device = _PRETTY_NAME.search(said), _KEY.search(said), _DEVICE.search(said)
    return Facts(
        version=told(name[1]) if name else "",
        proof=key[1] if key and ssh_keys.is_ed25519(key[1]) else "",
        device_id=_uuid(device[1]) if device else None,
        desktop=_thumbprint("".join(_DESKTOP.findall(said))),
    )


def _thumbprint(pem: str) -> str:
    """SHA-256 of a certificate, in hex, of the lines of its PEM file between the marks."""
    try:
        der = base64.b64decode(pem, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return hashlib.sha256(der).hexdigest() if der else ""


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
