"""Names: whatever a user is called and whatever template is accepted, every name made is a valid one."""

import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cloudpc.guests.linux import names
from cloudpc.model import naming

_FREE = st.text(st.sampled_from(string.ascii_letters + string.digits + "-_"), max_size=6)
_USERNAMES = st.text() | st.sampled_from(["", "alice", "Łukasz", "山田", "💥", "o'brien", "1234", "-", "_"])


@st.composite
def _near_templates(draw: st.DrawFn) -> str:
    """Templates of the right form; about half of them break a rule."""
    parts = [f"%RAND:{draw(st.integers(4, 12))}%"]
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, 1)), f"%USERNAME:{draw(st.integers(0, 10))}%")
    return draw(_FREE) + "".join(part + draw(_FREE) for part in parts)


@st.composite
def _templates(draw: st.DrawFn) -> str:
    template = draw(_near_templates())
    try:
        naming.check_template(template)
    except ValueError:
        assume(False)
    return template


@given(_templates(), _USERNAMES, st.text())
def test_an_accepted_template_makes_valid_names_for_everybody(template: str, username: str, seed: str) -> None:
    name = naming.device_name(template, username, seed)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{3,14}", name)
    assert not name.isdecimal()


@given(_templates(), _USERNAMES, st.text())
def test_the_same_seed_gives_the_same_name(template: str, username: str, seed: str) -> None:
    assert naming.device_name(template, username, seed) == naming.device_name(template, username, seed)


@given(_templates(), _USERNAMES, st.text(), st.integers(1, 5))
def test_taken_names_are_not_given_again_in_any_case(template: str, username: str, seed: str, count: int) -> None:
    taken: set[str] = set()
    for _ in range(count):
        name = naming.device_name(template, username, seed, taken).lower()
        assert name not in taken
        taken.add(name)


@given(st.text(), _USERNAMES)
def test_any_text_is_refused_or_safe(template: str, username: str) -> None:
    try:
        naming.check_template(template)
    except ValueError:
        return
    assert re.fullmatch(r"[A-Za-z0-9_-]{4,15}", naming.device_name(template, username, "seed"))


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("CPC-%USERNAME:5%", "exactly once"),
        ("%RAND:5%%RAND:5%", "exactly once"),
        ("%USERNAME:2%%USERNAME:2%%RAND:5%", "at most once"),
        ("CPC-%RAND:4%", "at least 5 random"),
        ("CPC-%RAND%", "macros"),
        ("CPC-%rand:5%", "macros"),
        ("CPC-%SERIAL:5%-%RAND:5%", "macros"),
        ("CPC %RAND:5%", "no blanks"),
        ("CPC.%RAND:5%", "letters"),
        ("CPÇ-%RAND:5%", "letters"),
        ("CPC-%RAND:5%\n", "letters"),
        ("CPC-%RAND:٥%", "macros"),
        ("%USERNAME:0%%RAND:5%", "at least one"),
        ("%USERNAME:11%%RAND:5%", "up to 16"),
        ("%RAND:99999999999999999999%", "15"),
        ("-%RAND:5%", "begin"),
        ("_%RAND:5%", "begin"),
        ("", "exactly once"),
    ],
)
def test_a_bad_template_is_refused_with_the_rule_it_breaks(template: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        naming.check_template(template)


def test_the_default_template_is_accepted() -> None:
    naming.check_template(naming.DEFAULT_TEMPLATE)
    assert re.fullmatch(r"CPC-alice-[A-Z0-9]{5}", naming.device_name(naming.DEFAULT_TEMPLATE, "alice", "seed"))


def test_a_name_of_digits_alone_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "_LETTERS", "2B")
    names = {naming.device_name("%RAND:5%", "", str(seed)) for seed in range(300)}
    assert "22222" not in names
    assert len(names) > 20


def test_when_all_names_are_taken_that_is_said() -> None:
    class Everything:
        def __contains__(self, _: object) -> bool:
            return True

    with pytest.raises(ValueError, match="taken"):
        naming.device_name(naming.DEFAULT_TEMPLATE, "alice", "seed", Everything())


@given(_templates(), _USERNAMES, st.text())
def test_the_host_name_is_a_dns_label(template: str, username: str, seed: str) -> None:
    host = names.host_name(naming.device_name(template, username, seed))
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?", host)


@given(_USERNAMES | st.sampled_from(sorted(names._SYSTEM_NAMES)))
def test_the_account_is_a_valid_linux_account_and_never_a_systems(username: str) -> None:
    name = names.account_name(username)
    assert re.fullmatch(r"[a-z][a-z0-9_-]{0,30}", name)  # useradd's rule and systemd's stricter one
    assert name not in names._SYSTEM_NAMES
    assert not name.startswith(names._SYSTEM_PREFIXES)


@pytest.mark.parametrize(
    ("username", "account"),
    [
        ("alice", "alice"),
        ("Alice.Liddell", "alice-liddell"),
        ("Žofie", "zofie"),
        ("山田", "user"),
        ("", "user"),
        ("root", "u-root"),
        ("staff", "u-staff"),  # a group that useradd would trip over
        ("systemd-oom", "u-systemd-oom"),
        ("xrdp", "u-xrdp"),  # the daemon's account in the image with a desktop
        ("tsadmins", "u-tsadmins"),
        ("_apt", "u-_apt"),
        ("42", "u-42"),
        ("--", "user"),
        ("a" * 64, "a" * 31),
        ("1" * 64, "u-" + "1" * 29),
    ],
)
def test_account_names(username: str, account: str) -> None:
    assert names.account_name(username) == account
