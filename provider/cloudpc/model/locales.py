"""Time zones and locales by their names: those that guests know, and what somebody meant who wrote another."""

from __future__ import annotations

import locale
import re
from collections.abc import Callable
from functools import cache
from importlib import resources

from cloudpc.model.problems import closest

_NO_PLACES = ("Factory", "localtime", "posixrules")
"""Files beside the time zones that mean another one on each machine, or none."""
_TIME_ZONE = "must be a time zone of the IANA database, for example Europe/Berlin or UTC"
_LOCALE = "must be a language and a region such as en-US or de-DE"
# Python's list of what locales have ever been called follows glibc's, except for these.
_UNLISTED = {"dsb-DE", "mnw-MM", "rif-MA", "sah-RU"}
_OF_OTHERS = set(
    "ar-AA ee-EE en-BE en-DL en-EN en-ZS eo-EO eo-US eo-XX iw-IL no-NO ny-NO pap-AN pd-DE pd-US ph-PH pp-AN sd-PK "
    "sh-HR sl-CS sr-CS".split()
)
_RENAMED = {"no": "nb", "iw": "he", "sh": "hr"}


def time_zone(value: str) -> str:
    """The name, if it is one of the IANA database. Raises ValueError, with what was probably meant."""
    if value in _time_zones():
        return value
    meant = _meant_time_zone(value)
    raise ValueError(f"{_TIME_ZONE} (did you mean {meant!r}?)" if meant else _TIME_ZONE + closest(value, _time_zones()))


def locale_name(value: str) -> str:
    """The name, if glibc has a locale for it. Raises ValueError, with what was probably meant."""
    if value in _locales():
        return value
    if meant := _meant_locale(value):
        raise ValueError(f"{_LOCALE} (did you mean {meant!r}?)")
    raise ValueError(_LOCALE + closest(value, _locales()))


@cache
def _time_zones() -> frozenset[str]:
    """Of the package's own list: what this machine has may be older, changed, or not there at all."""
    listed = resources.files("tzdata").joinpath("zones").read_text("utf-8").split()
    return frozenset(name for name in listed if name not in _NO_PLACES and not name.startswith(("right/", "posix/")))


@cache
def _locales() -> frozenset[str]:
    codes = (code.partition(".")[0].partition("@")[0] for code in locale.locale_alias.values())
    named = {code.replace("_", "-") for code in codes if re.fullmatch(r"[a-z]{2,3}_[A-Z]{2}", code)}
    return frozenset((named | _UNLISTED) - _OF_OTHERS)


def _meant_time_zone(value: str) -> str:
    asked = re.sub(r"^(right|posix)/", "", value.strip().casefold().replace("\\", "/"))
    return (
        _among(lambda name: name, asked.replace(" ", "_"))
        or _of_windows(asked)
        or _among(lambda name: name.rpartition("/")[2], asked.replace(" ", "_"))
        or _at_offset(asked)
    )


def _among(part: Callable[[str], str], asked: str) -> str:
    """The zone of this name, or part of a name, regardless of capitals."""
    found = [name for name in _time_zones() if part(name).casefold() == asked]
    return min(found, key=lambda name: (name.startswith(("Etc/", "Arctic/", "Atlantic/")), name), default="")


def _of_windows(asked: str) -> str:
    from tzlocal import windows_tz

    table: dict[str, str] = windows_tz.win_tz
    return next((zone for name, zone in table.items() if name.casefold() == asked), "")


def _at_offset(asked: str) -> str:
    """`UTC+2`, which POSIX and IANA write as GMT-2: what is to be added for Greenwich."""
    offset = re.fullmatch(r"(?:utc|gmt)?([+-])0?(\d{1,2})(?::?00)?", asked)
    fixed = f"Etc/GMT{'-' if offset[1] == '+' else '+'}{offset[2]}" if offset else ""
    return fixed if fixed in _time_zones() else ""


def _meant_locale(value: str) -> str:
    """`de_DE.UTF-8`, `DE-de`, `zh-Hans-CN` or `de` for what it is."""
    language, *rest = re.split(r"[-_]", value.strip().partition(".")[0].partition("@")[0].casefold())
    language = _RENAMED.get(language, language)
    named = {name.casefold(): name for name in _locales()}
    usual = locale.locale_alias.get(language, "").partition(".")[0].partition("@")[0].replace("_", "-")
    return (named.get(f"{language}-{rest[-1]}", "") if rest else "") or named.get(usual.casefold(), "")
