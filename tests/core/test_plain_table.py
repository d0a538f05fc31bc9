"""Tables as people see them: at a wide terminal, at a narrow one, and in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len

from cloudpc.cli.output import Terminal, styled, table

LONG = "kvm1 lacks 8192 MiB of memory (3616 free); kvm2 does not answer"


def printed(width: int, *rows: tuple[str, ...], columns: tuple[str, ...] = ("USER", "STATUS", "WHY")) -> list[str]:
    console, shown = Terminal(file=io.StringIO(), width=width, force_terminal=False, soft_wrap=True), table(*columns)
    for first, *rest in rows:
        shown.add_row(styled(first, "bold"), *rest)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_in_a_pipe_each_row_is_a_line_without_blanks_at_its_end() -> None:
    lines = printed(1000, ("alice", "provisioned", ""), ("bob", "failed", LONG * 6))
    assert lines == ["USER   STATUS       WHY", "alice  provisioned", f"bob    failed       {LONG * 6}"]


def test_the_last_column_is_folded_beside_the_others() -> None:
    lines = printed(60, ("bob", "failed", LONG))
    assert lines == [
        "USER  STATUS  WHY",
        "bob   failed  kvm1 lacks 8192 MiB of memory (3616 free);",
        "              kvm2 does not answer",
    ]


def test_where_there_is_no_room_beside_them_it_stands_below() -> None:
    lines = printed(40, ("bob", "provisionedWithWarnings", LONG), ("al", "failed", "short"))
    assert lines == [
        "USER  STATUS                   WHY",
        "bob   provisionedWithWarnings",
        "    kvm1 lacks 8192 MiB of memory (3616",
        "    free); kvm2 does not answer",
        "al    failed",
        "    short",
    ]


def test_nothing_is_cut_not_even_a_path() -> None:
    path = "/" + "x" * 150
    lines = printed(80, ("backend", "ok", path))
    assert "".join(line.removeprefix("backend  ok      ").strip() for line in lines[1:]) == path
    assert all(len(line) <= 80 for line in lines)


def test_lines_of_a_cell_are_kept_and_headings_without_text_are_not_shown() -> None:
    assert printed(80, ("a", "ok", "first\nsecond"), columns=("", "", "")) == ["a  ok  first", "       second"]


@pytest.mark.parametrize("text", ["日本語", "e\u0301a", "🖥x"])
def test_columns_are_aligned_by_what_a_letter_takes(text: str) -> None:
    [one, other] = printed(80, (text, "", "y"), ("abcdefghij", "", "y"), columns=("", "", ""))
    assert [cell_len(line.partition("y")[0]) for line in (one, other)] == [14, 14]


def test_no_rows() -> None:
    assert printed(80) == ["USER  STATUS  WHY"]
