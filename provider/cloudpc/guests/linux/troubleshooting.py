"""What troubleshooting checks and repairs inside a Linux guest: its disk, clock, ssh, remote desktop.

Whoever rules the guest may have written its answers: they are read as words for people, and decide nothing.
"""

from __future__ import annotations

import re
from datetime import datetime

from cloudpc.model.guests import Finding, Script
from cloudpc.model.text import told

_SECONDS = 120.0
# A line for each thing found: `mended …` or `found …`. Busybox has no ss and no systemctl; a full disk takes no file.
_TEXT = """
export LC_ALL=C
used() { df -P / 2>/dev/null | awk 'NR == 2 { sub("%", "", $5); print $5 }'; }
files() { df -Pi / 2>/dev/null | awk 'NR == 2 { sub("%", "", $5); print $5 }'; }
full() { case $1 in '' | *[!0-9]*) return 1 ;; esac; [ "$1" -ge 97 ]; }
listens() { # PORT IN FOUR HEXADECIMAL DIGITS
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v port="$1" '$4 == "0A" && $2 ~ (":" port "$") { found = 1 } END { exit !found }'
}
restart() { # SERVICES: the first that there is
    for service do
        if command -v systemctl >/dev/null 2>&1 && systemctl cat "$service" >/dev/null 2>&1; then
            systemctl reset-failed "$service" >/dev/null 2>&1
            systemctl restart "$service" >/dev/null 2>&1
            return
        elif [ -x "/etc/init.d/$service" ]; then
            "/etc/init.d/$service" restart >/dev/null 2>&1
            return
        fi
    done
    return 1
}
again() { # PORT NAME SERVICES
    port=$1 name=$2
    shift 2
    listens "$port" && return
    restart "$@"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        if listens "$port"; then
            echo "mended $name did not listen, and was started again"
            return
        fi
        sleep 1
    done
    echo "found $name does not listen, and could not be started again"
}

if full "$(used)"; then
    was=$(used)
    command -v apt-get >/dev/null 2>&1 && apt-get clean >/dev/null 2>&1
    command -v journalctl >/dev/null 2>&1 && journalctl --vacuum-size=16M >/dev/null 2>&1
    if full "$(used)"; then
        echo "found its disk is full ($(used) % used); its user has to remove files"
    else
        echo "mended its disk was full ($was % used): packages' archives and old logs were removed ($(used) % used)"
    fi
fi
full "$(files)" && echo "found its disk has no room for more files ($(files) % used); its user has to remove some"

off=$(($(date +%s) - $1))
if [ "$off" -gt 60 ] || [ "$off" -lt -60 ]; then
    if date -u -s "@$1" >/dev/null 2>&1; then
        echo "mended its clock was $off s off, and was set"
    else
        echo "found its clock is $off s off, and could not be set"
    fi
fi

again 0016 ssh ssh sshd dropbear
[ -e /etc/xrdp/xrdp.ini ] && again 0D3D 'remote desktop' xrdp
exit 0
"""
_LINE = re.compile(r"^(mended|found) (.+)$", re.MULTILINE)


def script(now: datetime) -> Script:
    """Checks, and repairs what it can.

    Args:
        now: what its clock should say.
    """
    return Script(
        _TEXT, _SECONDS, title="looking for what is wrong in its guest", name="troubleshoot",
        arguments=(f"{now.timestamp():.0f}",), repeatable=True,
    )  # fmt: skip


def read(said: str) -> list[Finding]:
    """What the script has said."""
    return [Finding(told(what), mended=how == "mended") for how, what in _LINE.findall(said)]
