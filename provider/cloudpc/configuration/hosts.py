"""`cloudpc:hosts`: each entry is read by the model of its driver."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import combinations
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from cloudpc.model import drivers
from cloudpc.model.drivers import Driver
from cloudpc.model.hosts import HostConfig, Uri, driver_name
from cloudpc.model.problems import Problem, closest, from_validation

KEY = "cloudpc:hosts"


class _OfNobody(HostConfig):
    """An entry that no driver is found for: what is wrong with it whatever it is meant to be."""

    model_config = ConfigDict(extra="ignore")


class _WithoutKind(_OfNobody):
    uri: Uri


def read(value: Any, file: str, problems: list[Problem]) -> tuple[HostConfig, ...]:
    """The hosts; none, and what is wrong with them among the problems, unless all are valid.

    Args:
        value: what the file has; None is none.
        file: for messages.
        problems: gets all of it.
    """
    if value is None:
        return ()
    try:
        entries = TypeAdapter(list[Any]).validate_python(value)
    except ValidationError as error:
        problems += from_validation(file, KEY, HostConfig, error)
        return ()
    before = len(problems)
    hosts = [_entry(entry, f"{KEY}[{i}]", file, problems) for i, entry in enumerate(entries)]
    found = tuple(host for host in hosts if host is not None)
    problems += [Problem(file, KEY, message, at) for message, at in _contradictions(found)]
    if not entries:
        problems.append(Problem(file, KEY, "needs at least one host; without the key, this machine is used"))
    return () if len(problems) > before else found


def _entry(entry: Any, field: str, file: str, problems: list[Problem]) -> HostConfig | None:
    values = entry if isinstance(entry, Mapping) else {}
    driver = drivers.named(driver_name(values))
    model = driver.config if driver is not None else _OfNobody if "kind" in values else _WithoutKind
    try:
        host = model.model_validate(entry)
    except ValidationError as error:
        problems += from_validation(file, field, model, error)
        host = None
    if driver is not None:
        return host
    problems += [Problem(file, f"{field}.{name}", message, found) for name, message, found in _without_driver(values)]
    return None


def _without_driver(entry: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Field, message and value for an unknown driver, and for fields that no driver has."""
    installed = drivers.installed()
    by = {name: "kind" if "kind" in driver.config.model_fields else "uri" for name, driver in installed.items()}
    name = driver_name(entry)
    if "kind" in entry:
        known = [name for name, field in by.items() if field == "kind"]
        yield "kind", f"must be the kind of a driver: {', '.join(known) or 'none'}{closest(name, by)}", entry["kind"]
    elif name:
        known = [name for name, field in by.items() if field == "uri"]
        message = f"must begin with the scheme of a driver: {', '.join(known)}{closest(name, known)}"
        yield "uri", message, entry["uri"]
    fields = {f.alias or n for d in installed.values() for n, f in d.config.model_fields.items()} | {"uri"}
    for unknown in (str(key) for key in entry if key not in fields | {"kind"}):
        message = f"is not a known field{closest(unknown, fields)}; allowed here: {', '.join(sorted(fields))}"
        yield unknown, message, None


def _contradictions(hosts: tuple[HostConfig, ...]) -> Iterator[tuple[str, Any]]:
    """Messages, and a value each, of what does not go together."""
    for attribute in ("name", "where"):
        seen = [getattr(host, attribute) for host in hosts]
        if twice := sorted({value for value in seen if seen.count(value) > 1}):
            last = next(host for host in reversed(hosts) if getattr(host, attribute) == twice[0])
            yield f"two hosts have the same {'name' if attribute == 'name' else last.PLACED_BY}", twice[0]
    for earlier, later in combinations(hosts, 2):
        if earlier.place == later.place and earlier.where != later.where:
            how = f"by two spellings of its {'URI' if later.PLACED_BY == 'uri' else later.PLACED_BY}"
            yield f"{earlier.name} and {later.name} are one hypervisor, {how}; leave one out", later.where


def schema(installed: Mapping[str, Driver]) -> Any:
    """The type of an entry that one of these drivers has."""
    models = list(dict.fromkeys(driver.config for driver in installed.values()))
    return reduce(operator.or_, models) if models else HostConfig
