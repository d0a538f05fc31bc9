"""Set-up after the first boot: the extras, whose failure leaves a usable Cloud PC with a warning.

Windows 365 calls them post-provisioning steps ("Automated provisioning steps"): non-fatal.
Arguments reach the guest as arguments and scripts as standard input, so nothing is ever quoted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloudpc.model.cloud_pc import PolicySettings
from cloudpc.model.errors import ErrorCode
from cloudpc.model.machines import Completed
from cloudpc.model.text import plain, told

Run = Callable[[Sequence[str], bytes, float], Completed]
"""Runs a command in the guest: arguments, standard input, seconds it may take."""


_KEEP_SECONDS = 30.0


@dataclass(frozen=True)
class Extra:
    """One extra of the set-up.

    Args:
        title: what users see while it runs.
        code: the warning's code if it fails.
        argv: the command in the guest.
        stdin: what it reads.
    """

    title: str
    code: ErrorCode
    argv: tuple[str, ...]
    stdin: bytes = b""


@dataclass(frozen=True)
class Warned:
    """An extra that failed."""

    code: ErrorCode
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", told(self.message))  # of what a guest's programs have said


_TIME_ZONE = """
[ -e "/usr/share/zoneinfo/$1" ] || { echo "the image has no time zone data for $1" >&2; exit 1; }
ln -sfn "/usr/share/zoneinfo/$1" /etc/localtime && printf '%s\\n' "$1" > /etc/timezone
"""
_LOCALE = """
name=$1.UTF-8
if ! locale -a 2>/dev/null | grep -qix "$1.utf-\\{0,1\\}8"; then
  command -v localedef >/dev/null && [ -e "/usr/share/i18n/locales/$1" ] ||
    { echo "the image has no locale $name and no 'locales' package to make it" >&2; exit 1; }
  localedef -i "$1" -f UTF-8 "$name" || exit 1
fi
printf 'LANG=%s\\n' "$name" > /etc/default/locale
"""
# The guest's own timers use apt, too, often just after a boot. dpkg's lock apt waits for itself; for those of its lists
# and archives it doesn't. An installation that a time-out ended is carried on.
_PACKAGES = """
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
command -v apt-get >/dev/null || { echo "the image has no apt-get" >&2; exit 1; }
now() { cut -d. -f1 /proc/uptime; }
until=$(($(now) + $1)); shift
said=$(mktemp) && trap 'rm -f "$said"' EXIT || exit 1
apt() {
  while :; do
    left=$((until - $(now)))
    apt-get -q -o DPkg::Lock::Timeout="$((left > 0 ? left : 1))" "$@" > "$said" 2>&1 && return
    code=$?
    if grep -q '^E: dpkg was interrupted' "$said"; then
      dpkg --configure -a || return
    elif ! grep -q '^E: \\(Could not get lock\\|Unable to lock\\|Unable to acquire\\)' "$said"; then
      cat "$said"
      return $code
    elif [ "$(now)" -ge "$until" ]; then
      cat "$said"
      echo "another program in the guest kept apt's lock for too long"
      return $code
    fi
    sleep 2
  done
}
apt update && apt install --yes --no-install-recommends -- "$@"
"""
_SPARE = 15
"""Seconds before the time-out at which waiting for apt's lock ends, so that it is told what was waited for."""
_SCRIPT = """
file=$(mktemp) && trap 'rm -f "$file"' EXIT && cat > "$file" && chmod 700 "$file" && "$file"
"""
# The seed is taken away. A cloud-init that then finds no data source may take the next start for another machine's
# first one, with new host keys and another name, unless it is told to believe what it has, for which its ds-identify
# looks at the marker.
_KEEP_FIRST_BOOT = """
[ -d "$1/etc/cloud" ] || exit 0
mkdir -p "$1/etc/cloud/cloud.cfg.d" || exit 1
printf 'manual_cache_clean: true\\nssh_deletekeys: false\\n' > "$1/etc/cloud/cloud.cfg.d/99_cloudpc.cfg" || exit 1
[ ! -d "$1/var/lib/cloud/instance" ] || : > "$1/var/lib/cloud/instance/manual-clean"
"""
# Output goes through a file: there is more of it than the agent carries, and a daemon that a script starts would keep
# a pipe open, for whose end the agent waits. A session of its own, so that a time-out ends all of it.
_TAIL = """
log=$(mktemp) || exit 1
( %s ) > "$log" 2>&1
code=$?
tail -c 16384 "$log"
rm -f "$log"
exit $code
"""


def of(settings: PolicySettings, script: bytes | None) -> list[Extra]:
    """What a policy asks for beyond the image. `en-US` and `UTC`, the defaults, are what images come with."""
    wanted: list[Extra] = []
    locale, time_zone, packages = settings.locale, settings.time_zone, settings.packages
    if time_zone != "UTC":
        wanted.append(Extra(f"time zone {time_zone}", ErrorCode.TIME_ZONE_FAILED, _sh(_TIME_ZONE, time_zone)))
    if packages:
        title, waits = f"packages {', '.join(packages)}", str(max(1, int(settings.set_up_in_seconds) - _SPARE))
        wanted.append(Extra(title, ErrorCode.PACKAGES_FAILED, _sh(_PACKAGES, waits, *packages)))
    if locale != "en-US":
        wanted.append(Extra(f"locale {locale}", ErrorCode.LOCALE_FAILED, _sh(_LOCALE, locale.replace("-", "_"))))
    if script is not None:
        title = "post-provisioning script"
        wanted.append(Extra(title, ErrorCode.POST_PROVISIONING_SCRIPT_FAILED, _sh(_SCRIPT), script))
    return wanted


def keep_first_boot(run: Run) -> None:
    """Have cloud-init remember this first boot for good; nothing where there is none, or none that can be told.

    Raises:
        ProvisioningError: the machine itself is in trouble.
    """
    with contextlib.suppress(TimeoutError):  # it is a precaution: nobody is kept from working by it
        run(("/bin/sh", "-c", _KEEP_FIRST_BOOT, "set-up", ""), b"", _KEEP_SECONDS)


def apply(extra: Extra, run: Run, timeout: float) -> Warned | None:
    """Run one extra; a failure is a warning, unless the guest or its host is gone.

    Raises:
        ProvisioningError: the machine itself is in trouble, which is fatal.
    """
    try:
        ended = run(extra.argv, extra.stdin, timeout)
    except TimeoutError as error:
        return Warned(extra.code, f"{extra.title}: {error}")
    if ended.exit_code == 0:
        return None
    return Warned(extra.code, f"{extra.title}: exit code {ended.exit_code}: {last_lines(ended.output)}")


def last_lines(output: str) -> str:
    """The end of what a command said, in one line."""
    return (" / ".join(line.strip() for line in plain(output).strip().split("\n")[-3:]) or "no output")[-400:]


def _sh(script: str, *arguments: str) -> tuple[str, ...]:
    return ("setsid", "/bin/sh", "-c", _TAIL % script, "set-up", *arguments)
