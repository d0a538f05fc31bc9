"""Names of machines, and of what is named after them: what is left alone on a host still says whose it is."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass

from cloudpc.model.digest import digest

_OLD_LENGTH = 8
_NAME = re.compile(rf"cloudpc-([0-9a-f]{{16}}|[a-z0-9]{{{_OLD_LENGTH}}})-([0-9a-f]{{12}})(?=[.-]|$)")


def machine_name(installation: str, machine_id: uuid.UUID) -> str:
    """A machine's name on its host; those of its disks begin with it."""
    return f"cloudpc-{_whose(installation)}-{machine_id.hex[:12]}"


@dataclass(frozen=True)
class NamedAfter:
    """What the name of a machine, or of something that is named after it, says."""

    machine: str
    """How the machine's identity begins, in hexadecimal digits."""
    whose: str
    ending: str = ""
    """What follows the machine's name."""

    def is_of(self, installation: str) -> bool:
        """Whether it says that it is this installation's."""
        return self.whose == _whose(installation)

    def may_be_of(self, installation: str) -> bool:
        """Whether it is this installation's or, under a name of an earlier version, another's whose id begins alike."""
        return self.is_of(installation) or self.whose == installation[:_OLD_LENGTH]


def named_after(name: str) -> NamedAfter | None:
    """What a name says, or None if it is not of a machine of ours."""
    found = _NAME.match(name)
    return None if found is None else NamedAfter(found[2], found[1], name[found.end() :])


def _whose(installation: str) -> str:
    """A hash of the complete id, since two ids may begin alike."""
    return digest("installation", installation).hex()[:16]
