"""What Windows guests are given is PowerShell, as its grammar has it. Nothing runs: no registry here has PowerShell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import tree_sitter
import tree_sitter_powershell

from cloudpc import guests
from cloudpc.guests.windows import powershell
from cloudpc.model.guests import Script
from tests.core.fake_rim import desired

WINDOWS = guests.named("windows")
_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
_EXTRAS = [each.script for each in WINDOWS.extras(desired(time_zone="Europe/Berlin").settings, b"'it''s'\r\nexit 3")]
GIVEN = [WINDOWS.first_boot(90), *_EXTRAS, WINDOWS.password("zoë", "h'unter$2`"), WINDOWS.facts()]
JOINED = powershell.joined(GIVEN)
_ALL = pytest.mark.parametrize("script", [*GIVEN, JOINED], ids=[*(each.name for each in GIVEN), "joined"])

COMMANDS = frozenset(
    """
    Add-LocalGroupMember ConvertFrom-Json ConvertTo-SecureString ForEach-Object Get-ChildItem Get-CimInstance
    Get-Content Get-Date Get-ItemProperty Get-LocalGroupMember Get-LocalUser Get-NetTCPConnection Join-Path New-Item
    New-LocalUser New-Object Out-Null Remove-Item Select-Object Set-LocalUser Start-Sleep Test-Path Where-Object
    dsregcmd.exe icacls.exe taskkill.exe One $file
    """.split()
)
"""Those of Windows PowerShell 5.1 and of Windows that are used, `One` of the joined script, and a file it is given."""
_AUTOMATIC = frozenset({"$_", "$true", "$false", "$null", "$matches", "$lastexitcode"})


@_ALL
def test_it_is_powershell(script: Script) -> None:
    assert not list(_wrong(_parsed(script.text))), script.text


@_ALL
def test_it_calls_nothing_but_what_windows_has(script: Script) -> None:
    assert {_text(node) for node in _all(_parsed(script.text), "command_name")} <= COMMANDS


@_ALL
def test_what_it_reads_has_been_set(script: Script) -> None:
    root = _parsed(script.text)
    begun = [node for kind in ("left_assignment_expression", "script_parameter") for node in _all(root, kind)]
    begun += [node.named_children[0] for node in _all(root, "foreach_statement")]
    known = {_text(variable).lower() for node in begun for variable in _all(node, "variable")}
    read = {_text(variable).lower().replace("@", "$") for variable in _all(root, "variable")}
    assert {name for name in read - known - _AUTOMATIC if not name.startswith("$env:")} == set()


def test_each_script_of_a_joined_one_is_a_call_with_its_whole_text() -> None:
    calls = [node for node in _all(_parsed(JOINED.text), "command") if _text(node).startswith("One ")]
    texts = [[_text(text) for text in _all(node, "verbatim_here_string_characters")] for node in calls]
    assert texts == [[f"@'\n{each.text}\n'@"] for each in GIVEN]


@pytest.mark.parametrize("text", ["if ($a {", "'open", "$x = @{a = 1", "One 1 @'\nx'@", "foreach ($a in) }"])
def test_what_is_none_is_seen(text: str) -> None:
    assert list(_wrong(_parsed(text)))
    assert list(_wrong(_parsed(powershell.joined([replace(GIVEN[0], text="'a'")]).text + text)))


def test_texts_in_quotes_are_one_word_each() -> None:
    for text in ("it's", "$x `n", 'a"b', "a\nb"):
        [found] = _all(_parsed(powershell.quoted(text)), "verbatim_string_characters")
        assert _text(found)[1:-1].replace("''", "'") == text


@pytest.mark.parametrize("quote", ["'", "\u2018", "\u2019", "\u201a", "\u201b"])
def test_all_that_windows_takes_for_a_quote_is_kept_from_ending_a_text(quote: str) -> None:
    assert powershell.quoted(f"a{quote}b") == f"'a{quote * 2}b'"
    with pytest.raises(ValueError, match="can't be joined"):
        powershell.joined([replace(GIVEN[0], text=f"a\n{quote}@ ; evil")])


def _parsed(text: str) -> tree_sitter.Node:
    return _PARSER.parse(text.encode()).root_node


def _wrong(node: tree_sitter.Node) -> Iterator[str]:
    if node.is_error or node.is_missing:
        yield f"line {node.start_point.row + 1}: {_text(node)[:60]!r}"
    for child in node.children:
        yield from _wrong(child)


def _all(node: tree_sitter.Node, kind: str) -> Iterator[tree_sitter.Node]:
    if node.type == kind:
        yield node
    for child in node.children:
        yield from _all(child, kind)


def _text(node: tree_sitter.Node) -> str:
    return (node.text or b"").decode()
