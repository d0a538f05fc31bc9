"""Registers the actions in each Python process that has this folder on its path: all that a run starts."""

from contextlib import suppress

with suppress(ImportError):  # an interpreter without our package
    from rename import Rename  # type: ignore[import-not-found]
    from restart import Restart  # type: ignore[import-not-found]

    from cloudpc.rules.actions import ACTIONS

    ACTIONS += [Restart(), Rename()]
