"""What a person has said yes to for one run: by a command's question or flag, or by a variable with plain Pulumi."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

ACCEPT_LOSS = "CLOUDPC_ACCEPT_LOSS"
_DELETE, _ADOPT = "CLOUDPC_ALLOW_DELETE", "CLOUDPC_ADOPT"
_FORGET_HOSTS, _FORGET_REGISTRATIONS = "CLOUDPC_FORGET_HOSTS", "CLOUDPC_FORGET_REGISTRATIONS"


@dataclass(frozen=True)
class Consent:
    """Nothing, unless somebody says so.

    Args:
        delete: the provisioning policy whose things may be deleted at once, with all data.
        accept_loss: so many Cloud PCs may enter their grace period at once because of the directory.
        adopt: keys of Cloud PCs whose machines are taken back though state does not know them.
        forget_hosts: hosts that are gone for good: what ends or is made again is not looked for there.
        forget_registrations: the provisioning policy whose devices and computer accounts may stay behind where they
            can't be reached.
    """

    delete: str | None = None
    accept_loss: int | None = None
    adopt: tuple[str, ...] = ()
    forget_hosts: tuple[str, ...] = ()
    forget_registrations: str | None = None

    @classmethod
    def of_this_run(cls, environment: Mapping[str, str] = os.environ) -> Consent:
        """As the run's environment says."""
        count = environment.get(ACCEPT_LOSS, "")
        return cls(
            delete=environment.get(_DELETE),
            accept_loss=int(count) if count.isdecimal() else None,
            adopt=tuple(environment.get(_ADOPT, "").split()),
            forget_hosts=tuple(environment.get(_FORGET_HOSTS, "").split()),
            forget_registrations=environment.get(_FORGET_REGISTRATIONS),
        )

    def environment(self) -> dict[str, str]:
        """For a run that is started with it."""
        said = {
            _DELETE: self.delete,
            ACCEPT_LOSS: None if self.accept_loss is None else str(self.accept_loss),
            _ADOPT: " ".join(self.adopt),
            _FORGET_HOSTS: " ".join(self.forget_hosts),
            _FORGET_REGISTRATIONS: self.forget_registrations,
        }
        return {name: value for name, value in said.items() if value}
