"""Files that people write: any content is either read, or refused with its place; never an exception of PyYAML's."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.files import yaml_file
from cloudpc.model.problems import InvalidConfigurationError


def _read(folder: Path, content: str | bytes) -> object:
    path = folder / "file.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return yaml_file.read(path, "stacks/file.yaml")


@pytest.mark.parametrize(
    ("content", "place", "why"),
    [
        ("a: b: c", "line 1, column 5", "mapping values are not allowed"),
        ("a: 1\nb: {", "line 3, column 1", "did not find expected node content"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1", "the key 'a' appears twice"),
        ("x:\n  - {a: 1, a: 2}\n", "line 2, column 12", "the key 'a' appears twice"),
        ("a: !!python/object:os.system x", "line 1, column 4", "no value here can have the tag '!!python/object"),
        ("a: !!binary YQ==", "line 1, column 4", "no value here can have the tag '!!binary'"),
        ("a: !!timestamp 2026-01-01", "line 1, column 4", "the tag '!!timestamp'"),
        ("!!timestamp 2026-01-01: a", "line 1, column 1", "the tag '!!timestamp'"),
        ("a:\n  - !!set {b, c}", "line 2, column 5", "the tag '!!set'"),
        ("a: !!omap [b: c]", "line 1, column 4", "the tag '!!omap'"),
        ("a: !!pairs [b: c]", "line 1, column 4", "the tag '!!pairs'"),
        ("a: .nan", "line 1, column 4", "a number without an end, or none at all; put it in quotes if it is text"),
        ("a: [-.inf]", "line 1, column 5", "a number without an end"),
        ("a: 1e400", "line 1, column 4", "a number without an end"),
        ("{11: a, 11: b}", "line 1, column 9", "the key '11' appears twice"),
        ("true: a\ntrue: b", "line 2, column 1", "the key 'true' appears twice"),
        ("~: a\n~: b", "line 2, column 1", "the key '~' appears twice"),
        ("1: a\n1.0: b", "line 2, column 1", "the key '1.0' means the same as '1'"),
        ('1: a\n"1": b', "line 2, column 1", "the key '1' appears twice"),
        ('{"true": a, true: b}', "line 1, column 13", "the key 'true' appears twice"),
        (
            "- &a {b: c}\n- {<<: *a, <<: *a}",
            "line 2, column 12",
            "the key '<<' appears twice; write `<<: [*one, *other]`",
        ),
        ('{0x1: a, "1": b}', "line 1, column 10", "the key '1' means the same as '0x1'"),
        ('{1.0: a, "1": b}', "line 1, column 10", "the key '1' means the same as '1.0'"),
        ('{True: a, "true": b}', "line 1, column 11", "the key 'true' means the same as 'True'"),
        ("? !!map x\n: b", "file", "not what its tag"),
        ("? [a]\n: b", "line 1, column 3", "unhashable"),
        (b"\x00", "byte 1", "control characters are not allowed"),
        (b"a: \xff", "byte 4", "invalid leading UTF-8 octet"),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_place(tmp_path: Path, content: str | bytes, place: str, why: str) -> None:
    with pytest.raises(InvalidConfigurationError) as refused:
        _read(tmp_path, content)
    [problem] = refused.value.problems
    assert problem.file == "stacks/file.yaml"
    assert problem.field == place
    assert why in problem.message
    assert "\n" not in problem.message


_LAUGHS = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))
_CHAIN = "\n".join(f"- &a{i} [*a{i - 1}]" for i in range(1, 20_000))


_MERGES = "\n".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}" for i in range(1, 12))
_DEEP = "more than 100 levels of lists and mappings"
_HOSTILE = {
    "deep list": ("[" * 200_000, "line 1", _DEEP),
    "deep mapping": ("{a: " * 200_000, "line 1", _DEEP),
    "deep dashes": ("- " * 200_000, "line 1", _DEEP),
    "deep keys": ("? " * 200_000 + "x", "line 1", _DEEP),
    "deep lines": ("\n".join(" " * i + "a:" for i in range(3000)), "line 101", _DEEP),
    "billion laughs": (f"a0: &a0 x\n{_LAUGHS}", "line 1", "aliases would make"),
    "billion merges": (f"m0: &m0 {{a: 1}}\n{_MERGES}", "line 1", "aliases would make"),
    "deep by aliases": (f"- &a0 x\n{_CHAIN}", "line 102", f"{_DEEP}, by its aliases"),
    "list in itself": ("a: &a [*a]", "line 1, column 4", "an alias stands for what contains it"),
    "mapping in itself": ("a: &a {<<: *a}", "line 1, column 4", "an alias stands for what contains it"),
    "long number": (f"a: {'9' * 6000}", "line 1, column 4", "a number of 6000 digits"),
    "long hexadecimal": (f"a: 0x{'f' * 6000}", "line 1, column 4", "a number of 6002 digits"),
    "no truth value": ("a: !!bool x", "file", "not what its tag"),
    "no number": ("a: !!int ''", "file", "not what its tag"),
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_what_would_never_end_is_refused(tmp_path: Path, name: str) -> None:
    content, place, why = _HOSTILE[name]
    with pytest.raises(InvalidConfigurationError) as refused:
        _read(tmp_path, content)
    [problem] = refused.value.problems
    assert problem.field.startswith(place)
    assert why in problem.message
    assert len(str(problem)) < 200


def test_what_people_use_aliases_for_is_read(tmp_path: Path) -> None:
    users = "\n".join(f"- {{id: u{i}, servicePlans: *plans}}" for i in range(2000))
    read = _read(tmp_path, f"- &plans [a, b, c]\n{users}")
    assert isinstance(read, list)
    assert read[2000] == {"id": "u1999", "servicePlans": ["a", "b", "c"]}


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "large"])
def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file.yaml"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "large":
            path.touch()
            os.truncate(path, 2**31)
    with pytest.raises(InvalidConfigurationError, match="file: can't be read: "):
        yaml_file.read(path, "stacks/file.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigurationError, match=r"stacks/none\.yaml: file: can't be read: No such file"):
        yaml_file.read(tmp_path / "none", "stacks/none.yaml")


def test_merge_keys_may_be_overridden(tmp_path: Path) -> None:
    content = "top: {<<: [*m], y: 3}\nbelow: {deeper: {m: &m {<<: &b {x: 1}, x: 2, y: 2}}}\n"
    lines = content.splitlines()
    assert _read(tmp_path, "\n".join(reversed(lines))) == {
        "below": {"deeper": {"m": {"x": 2, "y": 2}}},
        "top": {"x": 2, "y": 3},
    }


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("010", 8), ("-0777", -511), ("0o10", 8), ("0O17", 15), ("0b1000", 8), ("0XFF", 255), ("+0x1f", 31),
        ("1_000", 1000), ("1__0", 10), ("0_8", 8), ("08", 8), ("24.0", 24), ("1e3", 1000), ("1_0.5", 10.5), ("00", 0),
    ],
)  # fmt: skip
def test_numbers_are_those_that_the_engine_makes_of_them(tmp_path: Path, text: str, number: float) -> None:
    found = _read(tmp_path, f"a: {text}")["a"]
    assert (found, type(found)) == (number, type(number))


def test_plain_words_mean_what_they_mean_to_the_engine(tmp_path: Path) -> None:
    texts = ("yes", "no", "on", "off", "y", "12:30", "1:20.5", "2024-01-31", "2024-99-99", "0x_", "_1", "=", "<<a")
    for text in texts:
        assert _read(tmp_path, f"a: {text}") == {"a": text}
    others = {
        "true": True,
        "False": False,
        "~": None,
        "": None,
        "-7": -7,
        "0x1f": 31,
        "0o17": 15,
        "2.50": 2.5,
        "1e3": 1000,
    }
    for text, meaning in others.items():
        value = _read(tmp_path, f"a: {text}")
        assert value == {"a": meaning}
        assert type(value["a"]) is type(meaning)  # type: ignore[index]


@given(st.text() | st.binary() | st.text(st.sampled_from("ab:{}[],-&*!?|>'\"<#% \n\t0129._~=")))
def test_any_content_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: str | bytes) -> None:
    with contextlib.suppress(InvalidConfigurationError, UnicodeEncodeError):  # the latter for text that is no UTF-8
        _read(tmp_path_factory.getbasetemp(), content)


def test_text_that_is_written_hides_and_reorders_nothing(tmp_path: Path) -> None:
    values = {
        letter: f"a{letter}b: c" for letter in ("\u202e", "\u200b", "\u3164", "\ufe00", "\U000e0041", "\x1b", "\xad")
    }
    written = yaml_file.dump(values | {"plain": "Büro \U0001f680"})
    assert all(letter not in written for letter in values)
    assert "plain: Büro \U0001f680" in written
    assert _read(tmp_path, written) == values | {"plain": "Büro \U0001f680"}
