"""The remote actions: one file each, and listed here. Nothing else of the program knows how many there are."""

from typing import Any

from cloudpc.rules.actions.action import Action
from cloudpc.rules.actions.end_grace import END_GRACE
from cloudpc.rules.actions.power import POWER_OFF, POWER_ON, RESTART
from cloudpc.rules.actions.rename import RENAME
from cloudpc.rules.actions.reprovision import REPROVISION
from cloudpc.rules.actions.retry import RETRY
from cloudpc.rules.actions.troubleshoot import TROUBLESHOOT
from cloudpc.rules.actions.update_kernel import UPDATE_KERNEL

ACTIONS: list[Action[Any]] = [
    REPROVISION,
    RETRY,
    UPDATE_KERNEL,
    POWER_OFF,
    RESTART,
    POWER_ON,
    TROUBLESHOOT,
    RENAME,
    END_GRACE,
]
"""In the order in which they go before each other, where several are asked for of one Cloud PC."""
