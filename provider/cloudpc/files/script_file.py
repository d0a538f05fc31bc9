"""What can be seen of a post-provisioning script before a guest has to fail on it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

from cloudpc.model.problems import closest

LARGEST = 1024 * 1024
"""Bytes: it goes to the guest through its agent."""
INTERPRETERS = ("sh", "bash", "dash", "perl", "python3", "awk", "mawk", "sed")
"""What there is in every Debian without further packages."""
_OF_PACKAGES = (
    "busybox", "csh", "expect", "fish", "gawk", "guile", "jq", "ksh", "lua", "make", "mksh", "node", "nodejs", "php",
    "pwsh", "rbash", "Rscript", "ruby", "rc", "tclsh", "tcsh", "zsh",
)  # fmt: skip
"""What a project's own recipes may bring as well."""
_WITH_VERSION = re.compile(r"(python3|perl5|ruby[23]|lua5)\.[\d.]+")
_FOLDERS = ("/bin", "/usr/bin", "/sbin", "/usr/sbin")
_LONGEST_FIRST_LINE = 255
"""Characters; Linux cuts off what is longer."""
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SHEBANG = "begin its first line with the interpreter, for example #!/bin/sh"


def problems(content: bytes, known: Collection[str] | None) -> Iterator[str]:
    """What is wrong with a script, in words that follow its name.

    Args:
        content: all of it.
        known: names of interpreters in its guest; None where nobody knows them.
    """
    if not content.strip():
        yield "is empty; leave postProvisioningScript out instead"
    elif mark := next((mark for mark in _MARKS if content.startswith(mark)), None):
        what = "UTF-8" if mark == codecs.BOM_UTF8 else "UTF-16 or UTF-32"
        yield f"begins with a byte order mark, which hides its first line; save it as UTF-8 without one (it is {what})"
    elif b"\0" in content.partition(b"\n")[0]:
        yield "is not text: a script can start a program, but can't be one"
    else:
        text = content.partition(b"\0")[0]  # an archive may follow, for the script to unpack
        yield from _in_its_lines(text)
        yield from _in_its_first_line(text.splitlines()[0], text, known)


def _in_its_lines(content: bytes) -> Iterator[str]:
    lines = content.split(b"\n")
    wrong = [number for number, line in enumerate(lines, 1) if line.endswith(b"\r")]
    if len(lines) == 1 and b"\r" in content.rstrip():
        yield "has line ends of old Macs (CR), so that it is one line; save it with LF"
    elif wrong:
        yield (
            f"has Windows' line ends (CRLF) in {len(wrong)} of its lines, first in line {wrong[0]}, which shells "
            "take for a part of each command; save it with LF (`sed -i 's/\\r$//' FILE`; in Git: `*.sh text eol=lf`)"
        )


def _in_its_first_line(first: bytes, content: bytes, known: Collection[str] | None) -> Iterator[str]:
    if not first.startswith(b"#!"):
        there = re.search(rb"^\s*#!", content, re.MULTILINE)
        yield f"has something before its #! line: {_SHEBANG}" if there else f"has no interpreter: {_SHEBANG}"
        return
    if len(first) > _LONGEST_FIRST_LINE:
        yield f"has a first line of {len(first)} characters; Linux reads {_LONGEST_FIRST_LINE}"
    words = first[2:].decode("utf-8", "replace").split()
    if not words or not words[0].startswith("/"):
        yield f"names no interpreter by its whole path in its first line: {_SHEBANG}"
        return
    path = PurePosixPath(words[0])
    name = _started_by_env(words[1:]) if path.name == "env" else path.name
    meant = closest(name, known or ())
    is_one = name in (*(known or ()), *_OF_PACKAGES) or bool(_WITH_VERSION.fullmatch(name))
    if known is None or (is_one and str(path.parent) in _FOLDERS) or not (is_one or meant or not name):
        return  # a name that is like none of these may be the image's own
    has = f"{', '.join(known)} in /bin and /usr/bin; another one comes with its package (`packages`)"
    shown = words[0] if path.name == name else f"{words[0]} {name}".rstrip()
    yield f"asks for {shown}, which its image does not have{meant}; it has {has}"


def _started_by_env(words: list[str]) -> str:
    """Also after options and settings: `env -S bash -e`."""
    return next((word for word in words if not word.startswith("-") and "=" not in word), "")
