"""A policy with mistakes, as far as it is valid, so that what the rest of it names is looked up all the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from cloudpc.model.policy import ProvisioningPolicy

_STAND_INS: dict[str, Any] = {
    "displayName": "?",
    "domainJoinConfigurations": [{"domainJoinType": "azureADJoin", "regionName": "automatic"}],
    "imageId": "?",
}
"""What takes the place of required fields that are wrong, while the others are looked at."""
_ENTRIES: dict[str, Callable[[int], Any]] = {
    "assignments": lambda index: {"target": {"groupId": f"?{index}"}},
    "domainJoinConfigurations": lambda _: {"domainJoinType": "azureADJoin", "regionName": "automatic"},
}
"""The same for entries of lists, by their index: no two may be the same."""
_MENDINGS = 5


def valid_fields(policy: object, *, strict: bool | None) -> tuple[ProvisioningPolicy | None, set[str]]:
    """A wrong policy with what is wrong in it left out or stood in for, so that what the rest names is looked up too.

    Args:
        policy: as it was written.
        strict: as pydantic has it; None: as the model says.

    Returns:
        None where nothing can be made of it. Also the names of the fields, or list entries such as `assignments[1]`,
        that something else stands in for.
    """
    if not isinstance(policy, dict):
        return None, set()
    mended, stood_in = copy.deepcopy(policy), set(_STAND_INS) - policy.keys()
    for _ in range(_MENDINGS):  # what is left of a part may be wrong in its turn
        try:
            return ProvisioningPolicy.model_validate(mended, strict=strict), stood_in
        except ValidationError as error:
            for details in error.errors():
                if details["loc"]:
                    stood_in |= _stand_in(mended, details["loc"], unknown=details["type"] == "extra_forbidden")
            mended |= {name: _STAND_INS[name] for name in stood_in & _STAND_INS.keys()}
    return None, set()


def _stand_in(policy: dict[Any, Any], place: tuple[str | int, ...], *, unknown: bool) -> set[str]:
    """Take what is wrong at this place out of a policy; returns what then no longer says anything."""
    name = str(place[0])
    entries = policy.get(name)
    if name not in _ENTRIES or len(place) < 2 or not isinstance(entries, list):
        policy.pop(name, None)
        policy.pop(place[0], None)  # a key that is not text
        return set() if unknown else {name}
    index, entry = int(place[1]), entries[int(place[1])]
    if unknown and len(place) == 3 and isinstance(entry, dict):
        entry.pop(place[2], None)
        return set()
    entries[index] = _ENTRIES[name](index)
    return {f"{name}[{index}]"}
