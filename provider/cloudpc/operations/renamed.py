"""A stack that has been given another name: its machines carry the policy's, so it can only go back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from cloudpc.model.text import command_line


def refusal(stack: str, policies: Mapping[str, str], made_by: Sequence[str]) -> str:
    """Why a stack can't be run under its name, and what to do; empty if it can.

    Args:
        stack: its name now.
        policies: the policies that its state holds: their ids, each with the URN of its entry.
        made_by: the policy of each of its Cloud PCs.
    """
    names = list(policies) or list(dict.fromkeys(made_by))
    if not names or names == [stack]:
        return ""
    former = _first(stack, names, Counter(made_by))
    if former != stack:
        return (
            f"this stack was the policy {former} before it was renamed to {stack}. A policy's name never changes, "
            "since its machines carry it. Nothing was touched. Rename the stack back: "
            f"`pulumi stack rename {former} --stack {stack}`; what people see is displayName, which may change"
        )
    entries = " and ".join(
        f"`{command_line('pulumi', 'state', 'delete', '--force', '--yes', '--stack', stack, urn)}`"
        for name, urn in policies.items()
        if name != stack
    )
    others = ", ".join(name for name in names if name != stack)
    return (
        f"the state of this stack holds another policy, {others}, which a run has made while the stack had that name. "
        f"Nothing was touched. Take it out of state, no Cloud PC goes with it: {entries}, and run again"
    )


def _first(stack: str, names: Sequence[str], made: Counter[str]) -> str:
    """The policy that the stack belonged to first: it made most of the Cloud PCs; the new name made few, if any."""
    if not made:
        return stack if stack in names else names[0]
    return max(made, key=lambda name: (made[name], name != stack))
