"""How guests run."""

from __future__ import annotations

from enum import StrEnum


class Accelerator(StrEnum):
    """KVM only if a probe guest really ran under it."""

    KVM = "kvm"
    TCG = "tcg"
