"""How long the rules take for 100,000 users in 50 policies, and how that grows: no engine, no host, no I/O.

One policy's run decides over its own users, but who serves whom is worked out over all policies' facts.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.common import Report, arguments, median, run, say, spread
from cloudpc.guests.linux.names import account_name
from cloudpc.model.cloud_pc import NetworkChoice, PolicySettings, RecordedCloudPC, Status
from cloudpc.model.directory import Group, ServicePlan, Snapshot, User
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.rules import lifecycle
from cloudpc.rules.ownership import OwnFacts
from cloudpc.rules.today import Today

_NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
_PLAN = ServicePlan("LAB", "Lab", 1, 0.5, 8)


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__, rounds=3, counts=(1_000, 10_000, 100_000)).parse_args()
    columns = ["count", "policies", "seconds, all policies", "least-most", "one policy", "microseconds each"]
    report = Report("Reconcile: all provisioned, a tenth leaves", columns)
    for count in options.counts:
        say(f"{count} users")
        report.rows.append(_measure(count, 50, options.rounds))
    report.show(as_json=options.json)


def _measure(count: int, policies: int, rounds: int) -> dict[str, Any]:
    world = _World(count, policies)
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        for number in range(policies):
            world.plan(number)
        seconds.append(time.perf_counter() - begin)
    return {
        "count": count,
        "policies": policies,
        "seconds, all policies": median(seconds),
        "least-most": spread(seconds),
        "one policy": round(median(seconds) / policies, 4),
        "microseconds each": round(median(seconds) / count * 1e6, 1),
        "all seconds": seconds,
    }


def made(count: int) -> list[RecordedCloudPC]:
    """So many Cloud PCs of one policy."""
    return list(_World(count, 1).facts[0].cloud_pcs.values())


class _World:
    """So many users, spread over the groups of so many policies."""

    def __init__(self, count: int, policies: int) -> None:
        users = {
            f"u{i}": User(f"u{i}", f"u{i}@contoso.example", f"U {i}", service_plans=("LAB",)) for i in range(count)
        }
        members: list[set[str]] = [set() for _ in range(policies)]
        for i in range(count):
            members[i % policies].add(f"u{i}")
        self.policy = [_policy(n) for n in range(policies)]
        everybody = {f"g{n}": Group(f"g{n}", f"G {n}", frozenset(m)) for n, m in enumerate(members)}
        before = Snapshot(users, everybody, {"LAB": _PLAN})
        self.facts = [
            OwnFacts(f"p{n}", {f"g{n}": _NOW - timedelta(days=n)}, self._made(n, before)) for n in range(policies)
        ]
        left = {f"g{n}": Group(f"g{n}", f"G {n}", frozenset(sorted(m)[len(m) // 10 :])) for n, m in enumerate(members)}
        self.snapshot = Snapshot(users, left, {"LAB": _PLAN})

    def _made(self, number: int, snapshot: Snapshot) -> dict[str, RecordedCloudPC]:
        own = OwnFacts(f"p{number}", {f"g{number}": _NOW}, {})
        plan = lifecycle.plan(self.policy[number], snapshot, own, [], _today(number), _NOW)
        return {d.key: RecordedCloudPC(**d.model_dump(), status=Status.PROVISIONED) for d in plan.desired}

    def plan(self, number: int) -> lifecycle.Reconciliation:
        siblings = [facts for n, facts in enumerate(self.facts) if n != number]
        return lifecycle.plan(self.policy[number], self.snapshot, self.facts[number], siblings, _today(number), _NOW)


def _policy(number: int) -> ProvisioningPolicy:
    return ProvisioningPolicy.model_validate(
        {
            "displayName": f"P {number}",
            "domainJoinConfigurations": [{"domainJoinType": "azureADJoin", "regionName": "automatic"}],
            "imageId": "micro",
            "assignments": [{"target": {"groupId": f"g{number}"}}],
        }
    )


def _today(number: int) -> Today:
    settings = PolicySettings(
        provisioning_policy_name=f"P {number}", image_type="gallery", image_id="micro", image_digest="ab" * 32,
        networks=(NetworkChoice(kind="hosted"),), locale="en-US", time_zone="UTC", local_admin_enabled=False,
        first_boot_in_seconds=60, set_up_in_seconds=60,
    )  # fmt: skip
    return Today(f"p{number}", "0123456789abcdef", "CPC-%USERNAME:5%-%RAND:5%", settings, account_name)


if __name__ == "__main__":
    run(main)
