"""No text from outside steers a terminal, hides, reorders or passes for markup: at its entry, on the screen."""

from __future__ import annotations

import io
import json
import math
import unicodedata
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.cli import output
from cloudpc.cli.cloud_pc_table import print_rows
from cloudpc.cli.output import Terminal, behind, coloured, confirm, print_json, styled, table
from cloudpc.graph.errors import GraphError
from cloudpc.iac.engine_log import displayed
from cloudpc.machines.libvirt.console import tail_of
from cloudpc.model.check import Check
from cloudpc.model.cloud_pc import Status
from cloudpc.model.directory import Group, ServicePlan, Snapshot, User
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Warned
from cloudpc.model.outcome import Outcome
from cloudpc.model.problems import Problem
from cloudpc.model.text import coloured_only, harmless, harmless_lines, last_lines, plain, to_json, told, with_hint
from cloudpc.rules import transitions

from . import make
from .fake_rim import desired

TITLE, CLIPBOARD, LINK = (
    "\x1b]0;pwned\x07",
    "\x1b]52;c;cm0gLXJm\x1b\\",
    "\x1b]8;;http://evil.example\x1b\\x\x1b]8;;\x1b\\",
)
STEERS = [
    "\x1b[2J", TITLE, CLIPBOARD, LINK, "\x1bc", "\x1bP+q544e\x1b\\", "\x1b[31m", "\x9b31m", "\x9d0;pwned\x9c",
    "\x90q\x9c", "\x07", "\x08", "\x00", "\x7f", "\x0e", "\x0b", "\x0c", "\r", "\u202e", "\u2066", "\u200f", "\u061c",
    "\u200b", "\ufeff", "\u2028", "\u2029", "\x85", "\udc9b", "\U000e0041", "\xad",
    "\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u180b", "\u180f", "\u2060", "\u2064", "\u3164", "\ufe00",
    "\uffa0", "\U000e0100", "\U000e01ef",
]  # fmt: skip
LITERAL = [
    "fd00:a:b::10", "52:54:00:ab:cd:ef", ":rocket:", ":b:", "[red]", "[/]", "[/bold]", "[link=http://evil.example]x[/]",
    "a\\", "\\[x", "Zoë", "日本", "👩‍💻", "❤️", "نامه‌ها", "[@click=app.bell]x[/]", "{{x}} %s {0}", "<{%bold%}>",
]  # fmt: skip


_SEEN = "\u200c\u200d" + "".join(  # in the middle of words and emoji; and format characters that are seen
    chr(c)
    for c in (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13460))
)


def is_safe(text: str, lines: str = "") -> bool:
    allowed = {"Cc": lines, "Cf": _SEEN, "Cs": "", "Zl": "", "Zp": ""}
    return all(c in allowed.get(unicodedata.category(c), c) for c in text)


@pytest.mark.parametrize("steers", STEERS)
def test_what_steers_a_terminal_is_shown_as_what_it_is(steers: str) -> None:
    shown = harmless(f"a{steers}b")
    assert is_safe(shown)
    assert shown != harmless("ab"), "a name with something unseen in it is not another's"
    assert shown.startswith("a\\")


@pytest.mark.parametrize("literal", LITERAL)
def test_what_is_only_text_stays_as_it_is(literal: str) -> None:
    assert harmless(literal) == literal
    assert plain(literal) == literal


@given(st.text() | st.text(alphabet="\x1b\x9b[]0;m\x07\\\r\n\tab\u202e\x9c8"))
def test_any_text_is_safe_and_twice_changes_nothing(text: str) -> None:
    for function in (harmless, harmless_lines, last_lines, plain, told):
        once = function(text)
        assert function(once) == once
    assert is_safe(harmless(text))
    assert is_safe(told(text))
    assert is_safe(plain(text), "\n\t")
    assert is_safe(harmless_lines(text), "\n\t")


def test_programs_colours_and_commands_are_no_content() -> None:
    said = f"{TITLE}{CLIPBOARD}\x1b[1;31mE: Unable\x1b[0m to {LINK}\x1b[2K\rlock\r\n\x1b(Bnext\x9b0m"
    assert plain(said) == "E: Unable to x\nlock\nnext"
    assert told(said) == "E: Unable to x / lock / next"


def test_a_sequence_ends_where_the_next_begins_so_that_no_guest_s_console_is_read_for_minutes() -> None:
    assert plain("\x9da\x9d0;t\x07b") == "\\x9dab"
    assert plain("\x90" * 32_768) == "\\x90" * 32_768
    assert told("a" * 65_536 + "//b@c") == "a" * 65_536 + "//b@c"


@given(
    st.recursive(
        st.text() | st.sampled_from(STEERS) | st.none() | st.integers(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_json_means_the_same_and_is_safe(value: Any) -> None:
    for indent in (None, 2):
        written = to_json(value, indent)
        assert json.loads(written) == value
        assert is_safe(written, "\n\t")


def test_json_has_text_for_what_it_can_not_say() -> None:
    value = {"a": [math.nan, (math.inf, 1.5)], math.inf: -math.inf, "day": date(2026, 1, 1), "bytes": b"x"}
    shown = {"a": ["nan", ["inf", 1.5]], "inf": "-inf", "day": "2026-01-01", "bytes": "b'x'"}
    assert json.loads(to_json(value), parse_constant=pytest.fail) == shown
    assert "NaN" not in str(Problem("file", "field", "is wrong", math.nan))


def test_json_is_readable_where_it_may_be() -> None:
    assert (
        to_json({"name": "Zoë 日本 fd00:a:b::10", "tab": "a\tb\nc"})
        == '{"name": "Zoë 日本 fd00:a:b::10", "tab": "a\\tb\\nc"}'
    )


# ---- shown


def shown_by(console: Terminal) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def terminal(width: int = 200) -> Terminal:
    return Terminal(file=io.StringIO(), width=width, force_terminal=True, soft_wrap=True)


@pytest.mark.parametrize("text", [*STEERS, *LITERAL])
@pytest.mark.parametrize("markup", [{}, {"markup": False}, {"markup": True, "emoji": True}])
def test_a_console_prints_text_as_text(text: str, markup: dict[str, Any]) -> None:
    console = terminal()
    console.print(f"a{text}b", **markup)
    assert shown_by(console) == f"a{harmless(text)}b\n"


@pytest.mark.parametrize("text", [*STEERS, *LITERAL])
def test_tables_and_styles_are_text_too(text: str) -> None:
    console, shown = terminal(), table("NAME", f"H{text}")
    shown.add_row(text, "")
    console.print(shown)
    console.print(styled(text, "bold"))
    printed = shown_by(console).replace("\x1b[1m", "").replace("\x1b[0m", "")  # ours: bold
    assert is_safe(printed, "\n")
    assert printed.count(harmless(text)) == 3


@pytest.mark.parametrize("width", [1000, 60])
def test_the_table_of_cloud_pcs(width: int) -> None:
    nasty = "".join((*STEERS, *LITERAL))
    row = dict.fromkeys(("servicePlan", "servicePlanName", "policy", "deviceName", "host", "why"), nasty) | {
        "userPrincipalName": nasty, "status": "failed", "connection": None, "powerState": None, "leftovers": [nasty],
        "gracePeriodEndDateTime": None, "statusDetail": {"code": "guestDied", "message": nasty},
    }  # fmt: skip
    console = Terminal(file=io.StringIO(), width=width, force_terminal=False, soft_wrap=True)
    print_rows([row], console)
    assert is_safe(shown_by(console), "\n")
    assert "🅱" not in shown_by(console)


def test_questions_are_text(monkeypatch: pytest.MonkeyPatch) -> None:
    console = terminal()
    monkeypatch.setattr(output, "err", console)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: "y")
    confirm(f"Delete fd00:a:b::10 [/] :rocket: {TITLE}?", yes=False)
    assert shown_by(console) == "Delete fd00:a:b::10 [/] :rocket: \\x1b]0;pwned\\x07? [y/N] "


def test_printed_json_is_safe(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(STEERS)
    written = capsys.readouterr().out
    assert json.loads(written) == STEERS
    assert is_safe(written, "\n")


def test_the_engine_s_lines_keep_their_colours_and_nothing_else() -> None:
    line = f"\x1b[38;5;2mcreated\x1b[0m {TITLE}{LINK}\x1b[2J\x9b31m\u202e :rocket: [red]"
    console = terminal()
    console.print(behind(styled("demo | ", "cyan"), line))
    printed = shown_by(console)
    assert "\x1b[32mcreated\x1b[0m" in printed
    assert is_safe(printed.replace("\x1b[32m", "").replace("\x1b[36m", "").replace("\x1b[0m", ""), "\n")
    assert ":rocket: [red]" in printed
    assert coloured_only("plain") == "plain"


def test_statuses_have_their_colours() -> None:
    console = terminal()
    console.print(coloured("failed"), coloured("new"))
    assert shown_by(console) == "\x1b[31mfailed\x1b[0m new\n"


def test_no_engine_s_markup_but_its_own() -> None:
    """It drops what it does not know of `<{%…%}>`, and obeys the rest."""
    assert displayed(f"a <{{%fg 1%}}> b{TITLE}\nc") == "a <{ %fg 1%}> b\\x1b]0;pwned\\x07\nc"
    assert displayed(displayed("<{%<{%reset%}>")) == displayed("<{%<{%reset%}>")


# ---- where it comes in

NASTY = "".join(STEERS)


def test_names_of_a_directory() -> None:
    user = User("u\x1b", f"alice{TITLE}@contoso.example", NASTY)
    group, plan = Group("g", NASTY), ServicePlan("p", NASTY, 1, 1, 1)
    for name in (user.user_principal_name, user.username, user.display_name, group.display_name, plan.display_name):
        assert is_safe(name)
    assert user.id == "u\x1b", "an id is compared, not read"
    assert Snapshot(groups={"g": group}).find_groups(NASTY) == [group], "a policy names it as it is"


def test_what_hosts_guests_and_services_say() -> None:
    error = ProvisioningError(ErrorCode.GUEST_DIED, f"it said {NASTY}", hint=NASTY, console=f"a\r\n{NASTY}\nb")
    for text in (error.message, str(error), error.hint, GraphError(NASTY).message):
        assert is_safe(text)
    assert is_safe(error.console, "\n\t")
    assert error.console.startswith("a\n")
    check = Check("pool", "passed", NASTY, NASTY)
    for text in (check.detail, check.hint):
        assert is_safe(text)
    assert is_safe(Warned(ErrorCode.SET_UP_FAILED, NASTY).message)
    assert last_lines("\x1b[31mE: no\x1b[0m\nsecond\u2028line\r\n") == "E: no / second\\u2028line"
    assert tail_of(f"\x1b[1mlogin:\x1b[0m {TITLE}\x9b2J\u202e".encode(), 5) == "login: \\u202e"


def test_what_files_hold() -> None:
    assert is_safe(str(Problem("a\x1b.yaml", NASTY, NASTY, NASTY)))


def test_what_state_remembers() -> None:
    works = transitions.provisioned(desired(), Outcome(Status.PROVISIONED, 1, "local"), make.NOW)
    left = desired().model_copy(update={"why": f"left group {NASTY}\nforged line"})
    assert is_safe(transitions.grace_begun(works, left, make.NOW).events[-1])


def test_commands_leave_texts_and_markup_to_output() -> None:
    """Where each string is text, `escape` would be shown, and a text of rich's own passes by."""
    folder = Path(output.__file__).parent
    for file in folder.glob("*.py"):
        if file.name != "output.py":
            content = file.read_text(encoding="utf-8")
            for module in ("rich.markup", "rich.text", "rich.console"):
                assert module not in content, f"{file.name}: {module} belongs into output.py"


@pytest.mark.parametrize(
    ("text", "hint", "whole"),
    [
        ("there is no x", "run it", "there is no x; run it"),
        ("There is no x.", "`x` makes one", "There is no x; `x` makes one"),
        ("There is no x.", "Make one.", "There is no x. Make one."),
        ("There is no x.", "", "There is no x."),
    ],
)
def test_what_to_do_follows_what_is_wrong(text: str, hint: str, whole: str) -> None:
    assert with_hint(text, hint) == whole
