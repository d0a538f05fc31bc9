"""What a computer account's description says: whose it is, to those who know already, and to nobody else.

`cloudpc:` and 64 hexadecimal digits: of the installation, so that all of ours are found; of the Cloud PC; of this
generation of it. Everybody in the domain may read a description, and whoever may make accounts may write one: so it
names nobody, and it proves nothing without the account's maker.
"""

from __future__ import annotations

import hashlib

from cloudpc.model.identity import installation_of, without_generation

_TAG = "cloudpc:"
_INSTALLATION, _CLOUD_PC, _GENERATION = 16, 32, 16


def mark(owner: str) -> str:
    """What is written for an owner `<installation>/<user id>/<service plan id>/<generation>`."""
    return f"{_cloud_pc(owner)}{_digest(owner, _GENERATION)}"


def queries(installation: str) -> tuple[str, str]:
    """How the descriptions of an installation begin, and how those did that named what they are of."""
    return _TAG + _digest(installation, _INSTALLATION), f"{_TAG}{installation}/"


def is_mark(description: str) -> bool:
    """Whether it is one, of whomever."""
    return description.startswith(_TAG)


def names_parts(description: str) -> bool:
    """Whether it was written when descriptions still named the owner."""
    return is_mark(description) and "/" in description


def same_cloud_pc(description: str, owner: str) -> bool:
    """Whether it is of the owner's Cloud PC, of whichever generation."""
    if names_parts(description):
        return without_generation(description.removeprefix(_TAG)) == without_generation(owner)
    return description.startswith(_cloud_pc(owner))


def of(owner: str) -> tuple[str, str]:
    """Descriptions of just this owner: as they are written, and as they were."""
    return mark(owner), _TAG + owner


def _cloud_pc(owner: str) -> str:
    installation, cloud_pc = installation_of(owner), without_generation(owner)
    return f"{_TAG}{_digest(installation, _INSTALLATION)}{_digest(cloud_pc, _CLOUD_PC)}"


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
