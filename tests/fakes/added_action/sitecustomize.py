"""Registers the actions in each Python process that has this folder on its path: all that a run starts."""

from contextlib import suppress

with suppress(ImportError):  # an interpreter without our package
    from hostname import Hostname  # type: ignore[import-not-found]
    from sign_out import SignOut  # type: ignore[import-not-found]

    from cloudpc.rules.actions import ACTIONS

    ACTIONS += [SignOut(), Hostname()]
