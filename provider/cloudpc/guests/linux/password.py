"""How the password of a Linux guest's account is set, where its host can't do that itself."""

from __future__ import annotations

from cloudpc.model.guests import Script

_SECONDS = 60.0
# The shell's own printf: no command line shows what chpasswd reads.
_SET = """
export LC_ALL=C
command -v chpasswd >/dev/null || { echo "the image has no chpasswd" >&2; exit 1; }
printf '%s:%s\\n' "$CLOUDPC_USER" "$CLOUDPC_PASSWORD" | { unset CLOUDPC_USER CLOUDPC_PASSWORD; chpasswd; }
"""


def script(user: str, password: str) -> Script:
    """Sets it; twice does no harm."""
    secrets = {"CLOUDPC_USER": user, "CLOUDPC_PASSWORD": password}
    return Script(text=_SET, name="set-password", secrets=secrets, timeout=_SECONDS, repeatable=True)
