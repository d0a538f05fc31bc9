"""A policy as it is now, and what is asked for of its Cloud PCs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cloudpc.model.cloud_pc import PolicySettings
from cloudpc.rules.asked import Written

Traces = Mapping[str, Mapping[str, Written]]
"""`cloudpc:actions`: by action and key, what a command such as `cloudpc retry` or a pull request has written."""


@dataclass(frozen=True)
class Today:
    """The policy as it is now: what new Cloud PCs are made with, and its grace period."""

    policy_id: str
    installation: str
    naming_template: str
    settings: PolicySettings
    account_name: Callable[[str], str]
    """The account of a user in the image's guests, by the part of the userPrincipalName before the @."""
    grace_period_in_hours: int = 168
    actions: Traces = field(default_factory=dict)

    def asked(self, action: str, key: str) -> Written | None:
        """What `cloudpc:actions` has for a Cloud PC."""
        return self.actions.get(action, {}).get(key)
