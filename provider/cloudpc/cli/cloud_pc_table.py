"""The table of Cloud PCs: on a wide terminal a line each, on a narrow one the reasons below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloudpc.cli.output import READABLE, Terminal, coloured, out, styled, table
from cloudpc.directory.catalogue import short_name
from cloudpc.model.cloud_pc import Status
from cloudpc.model.directory import GUID
from cloudpc.model.text import command_line

_HEADERS = ("USER", "SERVICE PLAN", "POLICY", "DEVICE", "STATUS")


@dataclass(frozen=True)
class _Line:
    """A Cloud PC as a line of the table."""

    name: str
    plan: str
    policy: str
    device: str
    status: str
    why: str
    """How to connect to it, why it is as it is, what becomes of it."""

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        return self.name, self.plan, self.policy, self.device, self.status


def print_rows(rows: Sequence[dict[str, Any]], console: Terminal = out) -> None:
    """Print the table.

    Args:
        rows: Cloud PCs as `cloudpc list --json` has them.
        console: where.
    """
    with_connection = Counter(row["userPrincipalName"] for row in rows if row["connection"])
    lines = [_line(row, has_several=with_connection[row["userPrincipalName"]] > 1) for row in rows]
    columns = zip(_HEADERS, *(line.cells for line in lines), strict=True)
    widths = [max(map(len, column)) for column in columns]
    if sum(widths) + 2 * len(widths) + READABLE <= console.width:
        _print_wide(lines, console)
    else:
        _print_narrow(lines, console)


def _print_wide(lines: Sequence[_Line], console: Terminal) -> None:
    shown = table(*_HEADERS, "CONNECT / WHY")
    for line in lines:
        shown.add_row(*line.cells[:-1], coloured(line.status), line.why)
    console.print(shown)


def _print_narrow(lines: Sequence[_Line], console: Terminal) -> None:
    for line in lines:
        console.print(styled(line.name, "bold"), coloured(line.status), sep="  ")
        console.print(f"  {line.plan} of {line.policy}, {line.device}")
        if line.why:
            below = table("", "")
            below.add_row("", line.why)
            console.print(below)


def _line(row: dict[str, Any], *, has_several: bool) -> _Line:
    plan = _plan(row)
    why = "; ".join([*_connect(row, plan, has_several=has_several), *reasons(row)])
    return _Line(
        name=row["userPrincipalName"] or "-",
        plan=plan or "-",
        policy=row["policy"] or "-",
        device=row["deviceName"] or "-",
        status=row["status"],
        why=why,
    )


def _plan(row: dict[str, Any]) -> str | None:
    plan = short_name(row["servicePlan"]) if row["servicePlan"] else None
    if plan and GUID.fullmatch(plan):
        return str(row["servicePlanName"])  # a tenant's id means nothing to people
    return plan


def _connect(row: dict[str, Any], plan: str | None, *, has_several: bool) -> Iterator[str]:
    # a lost machine's connection is remembered, in case it comes back
    if row["connection"] and row["status"] != Status.FAILED:
        which = ["--service-plan", plan or ""] if has_several else []
        yield command_line("cloudpc", "connect", row["userPrincipalName"], *which)


def _power(row: dict[str, Any]) -> Iterator[str]:
    if row["powerState"] != "running" and row.get("desiredPowerState") == "poweredOff":
        yield "powered off; `cloudpc power-on` starts it"
    elif row["powerState"] == "poweredOff":
        yield "off; the next run starts it"
    if row["powerState"] == "deallocated":
        yield "off, and left so (deallocateStopped of its host); `cloudpc connect` starts it"
    if row.get("billedWhileOff"):
        yield "billed as if it ran, until it is deallocated (`az vm deallocate`, or deallocateStopped of its host)"
    if row["powerState"] == "paused":
        yield f"paused: {row['pausedBecause']}; the next run resumes it"


def reasons(row: dict[str, Any]) -> Iterator[str]:
    """Why a Cloud PC is as it is, what becomes of it, and what to do; of one as `cloudpc list --json` has it."""
    if end := row["gracePeriodEndDateTime"]:
        yield f"grace until {datetime.fromisoformat(end):%Y-%m-%d %H:%M} UTC ({row['why']})"
    elif row["why"]:
        yield row["why"]
    yield from _power(row)
    if row["leftovers"]:
        yield f"not removed completely; each run tries again: {'; '.join(row['leftovers'])}"
    if detail := row["statusDetail"]:
        code = f"[{detail['code']}]"
        yield detail["message"] if code in detail["message"] else f"{detail['message']} {code}"
        if row["status"] == Status.PENDING_PROVISION and (
            hint := (detail.get("additionalInformation") or {}).get("hint")
        ):
            yield hint
    yield from row.get("outdated") or []
