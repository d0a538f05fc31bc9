"""Reading YAML files of the configuration, with errors that name the place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from cloudpc.problems import InvalidConfigurationError, Problem


def read(path: Path, shown_as: str) -> Any:
    """The file's contents.

    Raises:
        InvalidConfigurationError: it is not there, not readable, not YAML, or holds a key twice.
    """
    try:
        return yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506 - a SafeLoader
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
    except ValueError as error:
        # PyYAML lets it through for what only looks like a date or a number
        raise InvalidConfigurationError([Problem(shown_as, "file", f"is not valid YAML: {error}")]) from None


class _Loader(yaml.CSafeLoader):  # libyaml: ten times as fast, which a directory of thousands shows
    """Refuses a key that stands twice: PyYAML would silently keep the last one."""

    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._checked: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # before `<<` is replaced by what it brings, which happens here; an anchor's mapping comes by several times
        if id(node) not in self._checked:
            self._checked.add(id(node))
            self._refuse_twins(node)
        super().flatten_mapping(node)

    @staticmethod
    def _refuse_twins(node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                continue
            if key.value in seen:
                raise yaml.composer.ComposerError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)


# What plain words mean: YAML 1.2's core schema, as the engine reads the same files. PyYAML's own is 1.1's, to which
# `yes` and `off` are truth values, 12:30 is a number and 2026-11-30 a date.
_MEANINGS = {
    "merge": (r"<<", "<"),
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
}
_Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _first) in _MEANINGS.items():
    letters = ["" if letter == "\0" else letter for letter in _first]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"), letters)


def dump(value: Any) -> str:
    """Plain YAML that both kinds of readers, of 1.1 and of 1.2, understand as it was meant."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000, default_flow_style=False)


class _Dumper(yaml.SafeDumper):
    """Quotes text that a reader of either version would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """What stands twice is written twice."""
        return True


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    # line breaks that only one of the versions knows are written as escapes, and so are all others
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if value.isprintable() else '"')


_Dumper.add_representer(str, _text)
_Dumper.yaml_implicit_resolvers = {
    letter: [*yaml.SafeDumper.yaml_implicit_resolvers.get(letter, []), *_Loader.yaml_implicit_resolvers.get(letter, [])]
    for letter in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
}
