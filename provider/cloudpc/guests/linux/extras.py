"""The extras of a set-up after the first boot, whose failure leaves a usable Cloud PC with a warning.

Windows 365 calls them post-provisioning steps ("Automated provisioning steps"): non-fatal.
"""

from __future__ import annotations

from dataclasses import replace

from cloudpc.model.cloud_pc import PolicySettings
from cloudpc.model.errors import ErrorCode
from cloudpc.model.guests import Extra, Script

_KEEP_SECONDS = 30.0

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
# The guest's own timers use apt, too, often just after a boot. apt waits for dpkg's lock itself, but not for those of
# its lists and archives. An installation that a time-out ended is continued.
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
"""Seconds before the time-out at which waiting for apt's lock ends, so that the message says what was waited for."""
_SCRIPT = """
file=$(mktemp) && trap 'rm -f "$file"' EXIT && cat > "$file" && chmod 700 "$file" && "$file"
"""
# The seed is removed. A cloud-init that then finds no data source may take the next start for another machine's
# first one, with new host keys and another name, unless it is told to trust what it has; its ds-identify looks at
# the marker for that.
_KEEP_FIRST_BOOT = """
[ -d "$1/etc/cloud" ] || exit 0
mkdir -p "$1/etc/cloud/cloud.cfg.d" || exit 1
printf 'manual_cache_clean: true\\nssh_deletekeys: false\\n' > "$1/etc/cloud/cloud.cfg.d/99_cloudpc.cfg" || exit 1
[ ! -d "$1/var/lib/cloud/instance" ] || : > "$1/var/lib/cloud/instance/manual-clean"
"""
# Output goes through a file: there is more of it than the agent carries, and a daemon that a script starts would keep
# a pipe open, whose end the agent waits for.
_TAIL = """
log=$(mktemp) || exit 1
( %s ) > "$log" 2>&1
code=$?
tail -c 16384 "$log"
rm -f "$log"
exit $code
"""


def wanted(settings: PolicySettings, script: bytes | None) -> list[Extra]:
    """What a policy asks for beyond the image. `en-US` and `UTC`, the defaults, are what images come with."""
    extras: list[Extra] = []
    if settings.image_type == "custom":  # recipes see to it themselves
        extras.append(keep_first_boot())
    locale, time_zone, packages, seconds = (
        settings.locale, settings.time_zone, settings.packages, settings.set_up_in_seconds
    )  # fmt: skip
    if time_zone != "UTC":
        made = _script(f"time zone {time_zone}", _TIME_ZONE, seconds, time_zone)
        extras.append(Extra(made, ErrorCode.TIME_ZONE_FAILED))
    if packages:
        waits = str(max(1, int(seconds) - _SPARE))
        made = _script(f"packages {', '.join(packages)}", _PACKAGES, seconds, waits, *packages)
        extras.append(Extra(made, ErrorCode.PACKAGES_FAILED))
    if locale != "en-US":
        made = _script(f"locale {locale}", _LOCALE, seconds, locale.replace("-", "_"))
        extras.append(Extra(made, ErrorCode.LOCALE_FAILED))
    if script is not None:
        made = replace(_script("post-provisioning script", _SCRIPT, seconds), stdin=script)
        extras.append(Extra(made, ErrorCode.POST_PROVISIONING_SCRIPT_FAILED))
    return extras


def keep_first_boot(root: str = "") -> Extra:
    """Has cloud-init remember this first boot for good; does nothing where there is none, or none is recognised.

    It is a precaution: nobody is kept from working by it.
    """
    script = Script(
        text=_KEEP_FIRST_BOOT,
        name="set-up",
        arguments=(root,),
        timeout=_KEEP_SECONDS,
        interpreter=("/bin/sh", "-c"),  # nothing that it starts outlives it, and a custom image may have no setsid
        repeatable=True,
    )
    return Extra(script, None)


def _script(title: str, text: str, seconds: float, *arguments: str) -> Script:
    return Script(text=_TAIL % text, title=title, name="set-up", arguments=arguments, timeout=seconds)
