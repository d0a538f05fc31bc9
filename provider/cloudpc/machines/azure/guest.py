"""The guest of one Azure VM, by managed run commands: few, whole scripts, since Azure counts writes to a machine."""

# ruff: noqa: D102 - the protocol says what each call means

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloudpc.model.guests import Completed, Guest, Script
from cloudpc.model.watch import Watch


class AzureGuest(Guest):
    """Implements `cloudpc.model.guests.Guest`; says there what each call means."""

    def __init__(self, arm: Any, vm_name: str) -> None:
        self._arm = arm
        self._vm_name = vm_name

    def run(self, scripts: Sequence[Script], watch: Watch) -> list[Completed]:
        raise NotImplementedError

    def set_password(self, user: str, password: str, watch: Watch) -> None:
        raise NotImplementedError
