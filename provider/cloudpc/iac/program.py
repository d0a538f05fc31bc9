"""Where the Pulumi program of a stack begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi

from cloudpc.iac import ahead, startup


def run(stacks: Path) -> None:
    """Declare the stack's resources.

    Args:
        stacks: the folder of the stacks' files.

    Raises:
        pulumi.RunError: bad input or unreadable state, in words; nothing was registered.
    """
    startup.begin()
    recorded = _recorded(pulumi.get_stack())
    if ahead.has_provider(recorded or {}):
        ahead.start_provider()
    from cloudpc.iac import stack_program

    stack_program.declare(stacks, recorded)


def _recorded(stack: str) -> Mapping[str, Any] | None:
    """Its resources by URN; None where it takes another try, or has to be told what is wrong."""
    try:
        return ahead.resources(stack)
    except Exception:  # noqa: BLE001 - of many kinds, and the same one comes again
        return None
