"""What a run must know of the other policies: whom they serve, and since when.

Each program would read the whole state of all others: with a hundred policies, ten thousand times. `cloudpc up` hands
its runs a folder; who has read a policy's state leaves there the few facts that others need, with the version of the
file that they are from. Another version has to be read again, so what is used is always what state says. Plain
`pulumi up`, and backends that are no folder, read state itself.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from cloudpc.iac.engine import Engine
from cloudpc.operations.records import StackRecord
from cloudpc.rules.ownership import Holding, PolicyFacts

FOLDER = "CLOUDPC_SIBLING_FACTS"
"""Names the folder that `cloudpc up` hands to the runs of its policies."""

Read = Callable[[str], StackRecord | None]


@dataclass(frozen=True)
class _Kept:
    version: tuple[int, ...]
    has_run: bool
    assigned: dict[str, datetime]
    cloud_pcs: dict[str, Holding]
    ended: dict[str, int]

    @classmethod
    def of(cls, version: tuple[int, ...], recorded: StackRecord) -> _Kept:
        facts = recorded.facts(recorded.assigned)
        held = {key: Holding.of(pc) for key, pc in facts.cloud_pcs.items()}
        return cls(version, recorded.has_run, dict(facts.assigned), held, dict(facts.ended))


def read(policy_id: str, engine: Engine, read_state: Read) -> PolicyFacts | None:
    """What is known of another policy; None if it has never run, or there is no such stack.

    Args:
        policy_id: which.
        engine: knows where its state is.
        read_state: reads it whole.

    Raises:
        StateError: state can't be read.
    """
    named = os.environ.get(FOLDER)
    version = engine.version_of(policy_id) if named else None
    if named is None or version is None:
        return _facts(policy_id, _Kept.of((), recorded)) if (recorded := read_state(policy_id)) else None
    file = Path(named) / f"{policy_id}.json"
    if (kept := _kept(file)) is None or kept.version != version:
        if (recorded := read_state(policy_id)) is None:
            return None
        kept = _Kept.of(version, recorded)
        if engine.version_of(policy_id) == version:  # or it is of one between the two
            _keep(file, kept)
    return _facts(policy_id, kept)


def _facts(policy_id: str, kept: _Kept) -> PolicyFacts | None:
    return PolicyFacts(policy_id, kept.assigned, kept.cloud_pcs, kept.ended) if kept.has_run else None


def _kept(file: Path) -> _Kept | None:
    try:
        return _adapter().validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _keep(file: Path, kept: _Kept) -> None:
    with contextlib.suppress(OSError):  # then the next reads state as well
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as made:
            made.write(_adapter().dump_json(kept))
        Path(made.name).replace(file)


@cache
def _adapter() -> TypeAdapter[_Kept]:
    return TypeAdapter(_Kept)
