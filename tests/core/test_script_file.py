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
        b"#!/usr/bin/env -S -C /srv sh\n",
        b"#!/usr/bin/env -Sbash -e\n",
        b"#!/usr/bin/env -vS bash\n",
        b"#!/usr/bin/env --split-string=bash -e\n",
        b"#!/usr/bin/env -S /bin/bash -e\n",
        b"#!/usr/bin/env /bin/bash\n",
        b"#!//bin//sh\n",
        b"#!\t/bin/sh\t-e \n",
        b"#!/usr/bin/perl -w -T\n",
        b"#!/usr/bin/python3 -W ignore\n",
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
        (b"#!/bin/sh\recho a\recho b\n", ["old Macs"]),
        (b"#!/bin/sh\n\xef\xbb\xbfecho a\n", ["byte order mark at the start of line 2"]),
        (b"#!/usr/bin/env bash -e\n", ["#!/usr/bin/env -S bash -e"]),
        (b"#!/usr/bin/env\tbash\t-e\n", ["as one argument"]),
        (b"#!/usr/bin/env FOO=1 bash\n", ["#!/usr/bin/env -S FOO=1 bash"]),
        (b"#!/usr/bin/env sudo bash\n", ["as one argument"]),
        (b"#!/usr/bin/env -i bash\n", ["as one argument"]),
        (b"#!/usr/bin/env -C /srv sh\n", ["as one argument"]),
        (b"#!/usr/bin/env --split-string bash\n", ["as one argument"]),
        (b"#!/bin/bash -eu -o pipefail\n", ["env -S bash -eu -o pipefail, or `set -eu -o pipefail` in a line of its"]),
        (b"#!/bin/sh # of ours\n", ["as one argument"]),
        (b"#!/bin/busybox sh -e\n", ["write #!/usr/bin/env -S busybox sh -e"]),
        (b"#!/usr/bin/python3.11 -u -E\n", ["#!/usr/bin/env -S python3.11 -u -E"]),
        ("#!/bin/sh\xa0-e\n".encode(), ["(0xc2a0); write a blank"]),
        ("#!/bin/sh\u2009-e\n".encode(), ["(0xe28089)"]),
        ("#!/bin/sh -e\xa0\n".encode(), ["(0xc2a0)"]),
        (b"#!/bin/sh\xa0-e\n", ["(0xa0)"]),
        (b"#!/bin/sh\x0b-e\n", ["(0x0b)"]),
        (b"#!/bin/sh\x1f-e\n", ["(0x1f)"]),
        (b"#!/bin/sh/\n", ["no interpreter by its whole path"]),
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


@pytest.mark.parametrize("first", ["env bash -e", "bash -e -u", "bash # of ours"])
def test_what_to_write_instead_is_good_also_where_nobody_knows_the_image(first: str) -> None:
    [message] = problems(f"#!/usr/bin/{first}\n".encode(), None)
    instead = message.partition("; write ")[2].partition(", or ")[0]
    assert list(problems(instead.encode(), INTERPRETERS)) == []


def test_what_an_image_of_ones_own_has_is_not_known() -> None:
    assert list(problems(b"#!/opt/bin/fish\n", None)) == []
    assert list(problems(b"#!fish\n", None)) != []


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: b"#!" + rest))
def test_whatever_is_in_it_something_is_said_or_nothing(content: bytes) -> None:
    assert all(isinstance(message, str) for message in problems(content, INTERPRETERS))
