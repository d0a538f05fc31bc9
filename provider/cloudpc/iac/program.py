"""Where the Pulumi program of a stack begins."""

from __future__ import annotations

from pathlib import Path

from cloudpc.iac import startup


def run(stacks: Path) -> None:
    """Declare the stack's resources.

    Args:
        stacks: the folder of the stacks' files.

    Raises:
        pulumi.RunError: bad input or unreadable state, in words; nothing was registered.
    """
    startup.begin()
    from cloudpc.iac import stack_program

    stack_program.declare(stacks)
