"""`cloudpc run`: `up` for all policies again and again, until it is stopped."""

from __future__ import annotations

import re
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import typer

from cloudpc.cli import locks
from cloudpc.cli.context import Project
from cloudpc.cli.output import err, out
from cloudpc.cli.preflight import without_hindered
from cloudpc.cli.up import AT_ONCE, AtOnce, How, bring_up
from cloudpc.model.masking import masked
from cloudpc.model.text import in_utc

_SECONDS = {"s": 1, "m": 60, "h": 3600}


def duration(text: str) -> int:
    """Seconds, from text like 30s, 5m or 1h."""
    found = re.fullmatch(r"([1-9][0-9]*)([smh])", text)
    if found is None:
        raise typer.BadParameter("must be a number with s, m or h, for example 30s, 5m or 1h")
    return int(found[1]) * _SECONDS[found[2]]


def run(
    every: Annotated[
        int,
        typer.Option(
            "--every", parser=duration, metavar="DURATION", help="From the start of one run to the start of the next."
        ),
    ] = "5m",  # type: ignore[assignment]  # parsed as well
    at_once: AtOnce = AT_ONCE,
    clear_lock: locks.ClearLock = False,
) -> None:
    """Bring all policies up to date, again and again; errors are reported, and the next run tries again.

    Ends with 0 on Ctrl-C or SIGTERM, which also interrupt the run in progress.
    """
    try:
        while True:
            begin = time.monotonic()
            try:
                _once(How(clear_lock=clear_lock, at_once=at_once, own_display=False))
            except Exception as error:  # noqa: BLE001 - whatever it was, the next run may do better
                _tell_error(masked(str(error)) or type(error).__name__)
            time.sleep(max(0.0, begin + every - time.monotonic()))
    except KeyboardInterrupt:
        _tell("stopped")


def _once(how: How) -> None:
    project = Project()
    names, left_out = without_hindered(project, project.policy_ids(), clear_lock=how.clear_lock, ask=False)
    for why in left_out:
        _tell_error(why)
    if not names:
        _tell("no policy can be run")
        return
    result = bring_up(project, names, how)
    for why in result.troubles:
        _tell_error(why)
    for name in result.broken:
        _tell_error(f"`pulumi up` failed for {name}")
    for cloud_pc in result.newly_failed:
        detail = cloud_pc.recorded.status_detail
        why = f"{detail.message} [{detail.code}]" if detail else "no reason recorded"
        _tell_error(f"{cloud_pc.user_principal_name} ({cloud_pc.service_plan}) has failed: {why}")
    counts = Counter(c.status for record in result.records for c in record.cloud_pcs)
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no Cloud PCs"
    _tell(f"{len(names)} {'policy' if len(names) == 1 else 'policies'}: {statuses}")


def _tell(message: str) -> None:
    out.print(f"{_now()} {message}")


def _tell_error(message: str) -> None:
    err.print(f"{_now()} {message}")


def _now() -> str:
    return in_utc(datetime.now(UTC))
