"""Registers the action in each Python process that has this folder on its path: all that a run of the engine starts."""

from contextlib import suppress

with suppress(ImportError):  # an interpreter without our package
    from restart import Restart  # type: ignore[import-not-found]

    from cloudpc.rules.actions import ACTIONS

    ACTIONS.append(Restart())
