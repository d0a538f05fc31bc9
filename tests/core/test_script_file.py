"""Scripts as people's editors, and their mistakes, leave them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.files.script_file import INTERPRETERS, problems

GOOD = b"#!/bin/sh\necho hello\n"


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        b"#! /bin/bash -e\ntrue",
        b"#!/usr/bin/env bash\n",
        b"#!/usr/bin/env -S LC_ALL=C python3 -u\n",
        b"#!/usr/bin/python3\nprint('\xc3\xbc')\n",
        b"#!/bin/sh\nprintf 'a\rb'\n",
        b"#!/usr/bin/zsh\n",
        b"#!/usr/bin/python3.11\n",
        b"#!/bin/busybox sh\n",
        b"#!/usr/bin/gawk -f\n",
        b"#!/usr/bin/make -f\n",
        b"#!/usr/bin/ourtool run\n",
        b"#!/usr/bin/env -C /srv sh\n",
        b"#!/usr/sbin/nft -f\n",
        b'#!/bin/sh\ntail -n +3 "$0" | tar xz; exit\n\x1f\x8b\x08\0\0\r\n\r\n\0',
    ],
)
def test_good_ones(content: bytes) -> None:
    assert list(problems(content, INTERPRETERS)) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", ["is empty"]),
        (b" \n\t\n", ["is empty"]),
        (b"\xef\xbb\xbf" + GOOD, ["byte order mark"]),
        (GOOD.decode().encode("utf-16"), ["byte order mark"]),
        (b"\x7fELF\0\0", ["is not text"]),
        ("#!/bin/sh\n".encode("utf-16-le"), ["is not text"]),
        (GOOD.replace(b"\n", b"\r\n"), ["CRLF"]),
        (b"#!/bin/sh\necho a\r\necho b\n", ["in 1 of its lines, first in line 2"]),
        (GOOD.replace(b"\n", b"\r"), ["old Macs"]),
        (b"echo hello\r\n", ["CRLF", "has no interpreter"]),
        (b"echo hello\n", ["has no interpreter"]),
        (b"\n" + GOOD, ["something before its #! line"]),
        (b" " + GOOD, ["something before its #! line"]),
        (b"# our set-up\n" + GOOD, ["something before its #! line"]),
        (b"#!\n", ["no interpreter by its whole path"]),
        (b"#!sh\n", ["no interpreter by its whole path"]),
        (b"#!C:\\bash.exe\n", ["no interpreter by its whole path"]),
        (b"#!/bin/bahs\n", ["did you mean 'bash'"]),
        (b"#!/usr/bin/python\n", ["did you mean 'python3'"]),
        (b"#!/usr/bin/env pyhton3\n", ["asks for /usr/bin/env pyhton3", ]),
        (b"#!/usr/bin/env\n", ["asks for /usr/bin/env,"]),
        (b"#!/usr/local/bin/bash\n", ["asks for /usr/local/bin/bash"]),
        (b"#!/opt/homebrew/bin/zsh\n", ["asks for /opt/homebrew/bin/zsh"]),
        (b"#!/bin/sh " + b"x" * 300 + b"\n", ["Linux reads 255"]),
    ],
)  # fmt: skip
def test_what_is_wrong(content: bytes, told: list[str]) -> None:
    found = list(problems(content, INTERPRETERS))
    assert len(found) == len(told)
    for message, part in zip(found, told, strict=True):
        assert part in message


def test_what_an_image_of_ones_own_has_is_not_known() -> None:
    assert list(problems(b"#!/opt/bin/fish\n", None)) == []
    assert list(problems(b"#!fish\n", None)) != []


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: b"#!" + rest))
def test_whatever_is_in_it_something_is_said_or_nothing(content: bytes) -> None:
    assert all(isinstance(message, str) for message in problems(content, INTERPRETERS))
