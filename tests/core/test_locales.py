"""Names of time zones and locales as people write them."""

from __future__ import annotations

import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.model import locales


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "EST5EDT", "GMT"]
)
def test_time_zones(name: str) -> None:
    assert locales.time_zone(name) == name


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("EUROPE/BERLIN", "Europe/Berlin"),
        ("Europe/Berlin ", "Europe/Berlin"),
        ("Europe\\Berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("America/New York", "America/New_York"),
        ("utc", "UTC"),
        ("right/Europe/Berlin", "Europe/Berlin"),
        ("posix/UTC", "UTC"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("w. europe standard time", "Europe/Berlin"),
        ("Eastern Standard Time", "America/New_York"),
        ("Tokyo Standard Time", "Asia/Tokyo"),
        ("UTC+2", "Etc/GMT-2"),
        ("GMT-05:00", "Etc/GMT+5"),
        ("Europe/Berlni", "Europe/Berlin"),
    ],
)
def test_what_was_meant(written: str, meant: str) -> None:
    with pytest.raises(ValueError, match="of the IANA database") as caught:
        locales.time_zone(written)
    assert str(caught.value).endswith(f" (did you mean {meant!r}?)")


@pytest.mark.parametrize("name", ["localtime", "posixrules", "Factory", "", "/etc/passwd", "../UTC", "UTC+99"])
def test_files_beside_them_and_paths_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="must be a time zone"):
        locales.time_zone(name)


def test_what_this_machine_has_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    locales._time_zones.cache_clear()
    assert locales.time_zone("Europe/Kyiv") == "Europe/Kyiv"


@pytest.mark.parametrize("name", ["en-US", "de-DE", "nb-NO", "dsb-DE", "zh-CN", "sr-RS", "fil-PH"])
def test_locales(name: str) -> None:
    assert locales.locale_name(name) == name


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("de-de", "de-DE"),
        ("DE-de", "de-DE"),
        ("de_DE", "de-DE"),
        ("de_DE.UTF-8", "de-DE"),
        ("de_DE@euro", "de-DE"),
        ("de", "de-DE"),
        ("German", "de-DE"),
        ("en-EN", "en-US"),
        ("en", "en-US"),
        ("no-NO", "nb-NO"),
        ("zh-Hans-CN", "zh-CN"),
        ("sr-Latn-RS", "sr-RS"),
    ],
)
def test_which_locale_was_meant(written: str, meant: str) -> None:
    with pytest.raises(ValueError, match="must be a language and a region") as caught:
        locales.locale_name(written)
    assert str(caught.value).endswith(f" (did you mean {meant!r}?)")


@pytest.mark.parametrize("name", ["", "C", "POSIX", "xx-XX", "en-US; reboot", "../en-US"])
def test_no_locales(name: str) -> None:
    with pytest.raises(ValueError, match="must be a language and a region"):
        locales.locale_name(name)


@given(st.text(max_size=20))
def test_whatever_is_written_is_taken_or_refused_in_words(text: str) -> None:
    for read in (locales.time_zone, locales.locale_name):
        try:
            assert read(text) == text
        except ValueError as error:
            told = str(error)
            assert told.startswith("must be")
