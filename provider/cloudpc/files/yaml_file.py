"""Reading YAML files of the configuration, with errors that name the place."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml

from cloudpc.files import regular_file
from cloudpc.model.problems import InvalidConfigurationError, Problem
from cloudpc.model.text import harmless_lines


def read(path: Path, shown_as: str) -> Any:
    """The file's contents.

    Raises:
        InvalidConfigurationError: it is not there, not readable, not YAML, holds a key twice, or would not end.
    """
    try:
        return _load(regular_file.read(path))
    except OSError as error:
        raise InvalidConfigurationError([Problem(shown_as, "file", f"can't be read: {error.strerror}")]) from None
    except yaml.reader.ReaderError as error:
        where = f"byte {error.position + 1}"
        raise InvalidConfigurationError([Problem(shown_as, where, f"is not valid YAML: {error.reason}")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "file"
        reason = getattr(error, "problem", None) or " ".join(str(error).split())
        raise InvalidConfigurationError([Problem(shown_as, where, f"is not valid YAML: {reason}")]) from None
    except (ValueError, LookupError, TypeError, AttributeError):
        # PyYAML accepts these where the value is not what its tag says: `!!bool x`, `!!int ''`
        message = "is not valid YAML: a value is not what its tag (!!…) says"
        raise InvalidConfigurationError([Problem(shown_as, "file", message)]) from None


DEEPEST = 100
"""Levels of lists and mappings; our files have ten."""
_EXPANDED = 100_000
"""Values that aliases may expand to; up to ten times as many as are written is always accepted."""
DIGITS = 100
"""Of a whole number."""
_TAG = "tag:yaml.org,2002:"


def _load(content: bytes) -> Any:
    has_aliases = _check_depth(content)
    loader = _Loader(content)
    try:
        node = loader.get_single_node()
        if has_aliases and node is not None:
            _Expanded().check(node)
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _check_depth(content: bytes) -> bool:
    """Before libyaml's composer sees it, which would overflow this process's stack. Returns whether it has aliases."""
    depth, has_aliases = 0, False
    for event in yaml.parse(content, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                raise _refused(f"more than {DEEPEST} levels of lists and mappings", event.start_mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        else:
            has_aliases |= isinstance(event, yaml.AliasEvent)
    return has_aliases


def is_too_deep(value: Any) -> bool:
    """Whether a value, such as one of JSON, has more levels than a file here may have."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        level = [inner for each in level for inner in _parts(each) if isinstance(inner, dict | list)]
    return bool(level)


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _refused(why: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, why, mark)


class _Expanded:
    """What a document comes to with each alias written out: few lines can stand for billions of values, or no end."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def check(self, root: yaml.Node) -> None:
        """Raises yaml.MarkedYAMLError."""
        size, _ = self._measure(root)
        if size > max(_EXPANDED, 10 * len(self._known)):
            raise _refused(f"its aliases would make {size} values of {len(self._known)}", root.start_mark)

    def _measure(self, node: yaml.Node) -> tuple[int, int]:
        """Number of values, and levels."""
        if (known := self._known.get(id(node))) is not None:
            return known
        if id(node) in self._open:
            raise _refused("an alias stands for what contains it", node.start_mark)
        self._open.add(id(node))
        inner = [self._measure(each) for each in _inner(node)]
        self._open.discard(id(node))
        measured = (1 + sum(size for size, _ in inner), 1 + max((levels for _, levels in inner), default=0))
        if measured[1] > DEEPEST + 1:  # the innermost value does not count as a level
            raise _refused(f"more than {DEEPEST} levels of lists and mappings, by its aliases", node.start_mark)
        self._known[id(node)] = measured
        return measured


def _inner(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


class _Loader(yaml.CSafeLoader):  # libyaml: ten times as fast, which a directory of thousands shows
    """Refuses a key that appears twice: PyYAML would silently keep the last one."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._checked: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # before `<<` is replaced by what it brings, which happens here; an anchor's mapping comes by several times
        if id(node) not in self._checked:
            self._checked.add(id(node))
            self._refuse_twins(node)
        super().flatten_mapping(node)

    def _refuse_twins(self, node: yaml.MappingNode) -> None:
        seen: dict[str, str] = {}  # as first written
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            meant = self._engine_key(key)
            if meant in seen:
                twice = "appears twice" if seen[meant] == key.value else f"means the same as {seen[meant]!r}"
                merge = "; write `<<: [*one, *other]`" if key.tag == f"{_TAG}merge" else ""
                raise _refused(f"the key {key.value!r} {twice}{merge}", key.start_mark)
            seen[meant] = key.value

    def _engine_key(self, key: yaml.ScalarNode) -> str:
        """To the engine every key is text: 1, 1.0 and "1" are one, and so are true and "true"."""
        if key.tag in (f"{_TAG}str", f"{_TAG}merge"):
            return str(key.value)
        value = self.construct_object(key)
        if isinstance(value, dict | list):
            raise TypeError  # it is not what its tag says: see `read`
        return str(value).lower() if isinstance(value, bool) else str(value)


def _unknown_tag(_: _Loader, node: yaml.Node) -> NoReturn:
    tag = node.tag.replace(_TAG, "!!")
    raise _refused(
        f"no value here can have the tag {tag!r}; write text, a number, a list or a mapping", node.start_mark
    )


def _whole_number(_: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > DIGITS:  # Python refuses to write such a number, or to read it
        raise _refused(f"a number of {len(node.value)} digits; put it in quotes if it is text", node.start_mark)
    return int(re.sub("^([-+]?)0(?=[0-7])", r"\g<1>0o", node.value.replace("_", "")), 0)


def _number(loader: _Loader, node: yaml.ScalarNode) -> float:
    found: float = loader.construct_yaml_float(node)
    if not math.isfinite(found):  # which JSON can't have
        raise _refused("a number without an end, or none at all; put it in quotes if it is text", node.start_mark)
    return int(found) if found.is_integer() else found  # as the engine writes it in JSON


# what JSON has, and the engine with it: no !!binary, !!timestamp, !!set, !!omap or !!pairs
_Loader.yaml_constructors = {
    f"{_TAG}{name}": yaml.CSafeLoader.yaml_constructors[f"{_TAG}{name}"]
    for name in ("null", "bool", "str", "seq", "map")
}
_Loader.add_constructor(f"{_TAG}int", _whole_number)
_Loader.add_constructor(f"{_TAG}float", _number)
_Loader.add_constructor(None, _unknown_tag)

# What plain words mean: as the engine reads the same files, which is YAML 1.2's core schema with more ways to write
# numbers. PyYAML's own is 1.1's, to which `yes` and `off` are truth values, 12:30 is a number and 2026-11-30 a date.
_MEANINGS = {
    "merge": (r"<<", "<"),
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (
        r"[-+]?(0[0-7_]*|[1-9][0-9_]*|0[xX]_*[0-9a-fA-F][0-9a-fA-F_]*|0[oO]_*[0-7][0-7_]*|0[bB]_*[01][01_]*)",
        "-+0123456789",
    ),
    "float": (
        r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9][0-9_]*)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
}
_Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _MEANINGS.items():
    letters = ["" if letter == "\0" else letter for letter in _first]
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), letters)


def dump(value: Any) -> str:
    """Plain YAML that both kinds of readers, of 1.1 and of 1.2, understand as it was meant."""
    written: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=False
    )
    # what an editor or a diff would hide or reorder: only quoted text has it, and the escapes are YAML's, too
    return harmless_lines(written)


class _Dumper(yaml.SafeDumper):
    """Quotes text that a reader of either version would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """What appears twice is written twice."""
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    # line breaks that only one of the versions knows are written as escapes, and so are all others
    is_plain = value.isprintable() and value == harmless_lines(value)
    return dumper.represent_scalar(f"{_TAG}str", value, style=None if is_plain else '"')


_Dumper.add_representer(str, _text)
_Dumper.yaml_implicit_resolvers = {
    letter: [*yaml.SafeDumper.yaml_implicit_resolvers.get(letter, []), *_Loader.yaml_implicit_resolvers.get(letter, [])]
    for letter in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
}
