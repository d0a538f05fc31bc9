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
_SHELLS = ("sh", "bash", "dash", "rbash", "ksh", "mksh")
_PYTHON_FLAGS = re.compile(r"-[bBdEhiIOPqsSuvx]+ ")
"""Not those with a value, which may have a blank in front."""
_SPLIT = re.compile(r"^(-[0iv]*S|--split-string=) ?")
"""What makes env take its one argument for several."""
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
    marked = [number for number, line in enumerate(lines, 1) if line.startswith(codecs.BOM_UTF8)]
    if b"\r" in lines[0].rstrip():
        yield "has line ends of old Macs (CR), which end no line on Linux; save it with LF"
    elif wrong:
        yield (
            f"has Windows' line ends (CRLF) in {len(wrong)} of its lines, first in line {wrong[0]}, which shells "
            "take for a part of each command; save it with LF (`sed -i 's/\\r$//' FILE`; in Git: `*.sh text eol=lf`)"
        )
    if marked:
        yield (
            f"has a byte order mark at the start of line {marked[0]}, which shells take for a part of its command; "
            "take it out (`sed -i 's/^\\xEF\\xBB\\xBF//' FILE`)"
        )


def _in_its_first_line(first: bytes, content: bytes, known: Collection[str] | None) -> Iterator[str]:
    if not first.startswith(b"#!"):
        there = re.search(rb"^\s*#!", content, re.MULTILINE)
        yield f"has something before its #! line: {_SHEBANG}" if there else f"has no interpreter: {_SHEBANG}"
        return
    if len(first) > _LONGEST_FIRST_LINE:
        yield f"has a first line of {len(first)} characters; Linux reads {_LONGEST_FIRST_LINE}"
    line = first[2:].decode("utf-8", "surrogateescape").strip(" \t")
    if unseen := next((letter for letter in line if letter != "\t" and not letter.isprintable()), ""):
        code = unseen.encode("utf-8", "surrogateescape").hex()
        yield f"has a character in its first line that looks like a blank or like nothing (0x{code}); write a blank"
        return
    interpreter, _, argument = re.sub(r"[ \t]+", " ", line).partition(" ")  # Linux makes no more parts of it
    if not interpreter.startswith("/") or interpreter.endswith("/"):
        yield f"names no interpreter by its whole path in its first line: {_SHEBANG}"
        return
    path = PurePosixPath("/" + interpreter.lstrip("/"))
    if instead := _to_split(path.name, argument):
        yield f"gives {path.name} {argument!r} as one argument, which Linux does not split; write {instead}"
        return
    name = path.name
    if name == "env":
        started = PurePosixPath(_started_by_env(_SPLIT.sub("", argument, count=1).split()))
        name, path = started.name, started if started.is_absolute() else path
    meant = closest(name, known or ())
    is_one = name in (*(known or ()), *_OF_PACKAGES) or bool(_WITH_VERSION.fullmatch(name))
    if known is None or (is_one and str(path.parent) in _FOLDERS) or not (is_one or meant or not name):
        return  # a name that is like none of these may be the image's own
    has = f"{', '.join(known)} in /bin and /usr/bin; another one comes with its package (`packages`)"
    shown = interpreter if path.name == name else f"{interpreter} {name}".rstrip()
    yield f"asks for {shown}, which its image does not have{meant}; it has {has}"


def _to_split(name: str, argument: str) -> str:
    """What to write instead where the argument has blanks, and what gets it would have to take it for several."""
    if " " not in argument:
        return ""
    if name == "env":
        return "" if _SPLIT.match(argument) else f"#!/usr/bin/env -S {argument}"
    instead = f"#!/usr/bin/env -S {name} {argument}"
    if name in _SHELLS:
        return f"{instead}, or `set {argument}` in a line of its own" if re.match(r"-\w", argument) else instead
    return instead if name == "busybox" or _is_python_flags(name, argument) else ""


def _is_python_flags(name: str, argument: str) -> bool:
    return name.startswith("python3") and bool(_PYTHON_FLAGS.match(argument))


def _started_by_env(words: list[str]) -> str:
    """Also after options and settings: `env -S bash -e`."""
    return next((word for word in words if not word.startswith("-") and "=" not in word), "")
