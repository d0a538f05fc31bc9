"""What single values of an entry must be like: each refusal says what to write instead.

Sources: Microsoft Learn "Naming rules and restrictions for Azure resources", "Use tags to organize your Azure
resources", "Azure managed disk types".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cloudpc.machines.azure.subnet_ids import SubnetId
from cloudpc.microsoft import clouds

DISK_TYPES = ("StandardSSD_LRS", "StandardSSD_ZRS", "Premium_LRS", "Premium_ZRS")
LICENSES = ("Windows_Client", "Windows_Server")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_OWN_TAGS = 20
"""As many as cloudpc may need of Azure's 50."""
_MOST_TAGS = 50
_LONGEST_NAME, _LONGEST_VALUE = 512, 256
_RESERVED = ("cloudpc-", "microsoft", "azure", "windows", "hidden-")
"""What the names of others' tags may not begin with: ours, and Azure's own."""
_BASTION = re.compile(
    r"/subscriptions/[0-9a-f-]{36}/resourceGroups/[^/]+/providers/Microsoft\.Network/bastionHosts/[^/]+", re.IGNORECASE
)


def subscription(value: str) -> str:
    """Its id."""
    if not _GUID.fullmatch(value):
        raise ValueError("must be a subscription's id, as `az account show --query id` has it; its name won't do")
    return value


def resource_group(value: str) -> str:
    """Its name."""
    if "/" in value:
        raise ValueError("must be the group's name alone, such as rg-cloudpc; its id has the subscription in it")
    if not re.fullmatch(r"[\w.()-]{0,89}[\w()-]", value):
        raise ValueError("must be 1 to 90 letters, digits and any of _ - ( ) ., and not end with a .")
    return value


def location(value: str) -> str:
    """A region's short name."""
    if not re.fullmatch(r"[a-z0-9]+", value):
        short = re.sub(r"[^a-z0-9]", "", value.lower())
        raise ValueError(f"must be a region's short name, such as {short or 'westeurope'}; `az account list-locations`")
    return value


def tenant(value: str) -> str:
    """Id or domain."""
    if not re.fullmatch(r"[A-Za-z0-9.-]+", value):
        raise ValueError("must be a tenant's id or domain, such as contoso.com")
    return value


def loopback(value: str) -> str:
    """For tests: the sign-in's token goes there."""
    try:
        found = clouds.endpoint(value)
    except ValueError:
        found = ""
    if not clouds.is_loopback(found):
        raise ValueError("is for tests, and must be this machine's loopback; cloud says which of Azure's is meant")
    return found


def families(values: tuple[str, ...]) -> tuple[str, ...]:
    """Of sizes. Which there are, only Azure knows."""
    if sizes := [value for value in values if re.match(r"(Standard|Basic)_", value)]:
        raise ValueError(f"names families, such as standardDASv5Family: {_listed(sizes)} belong in sizes")
    if odd := [value for value in values if not re.fullmatch(r"[A-Za-z0-9 _.-]+", value)]:
        raise ValueError(f"names families, such as standardDASv5Family, as `az vm list-usage` does; not {_listed(odd)}")
    return _different(values)


def sizes(values: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """By service plan."""
    if odd := [plan for plan in values if not _GUID.fullmatch(plan)]:
        raise ValueError(f"goes by the ids of service plans (`cloudpc policy validate` shows them); not {_listed(odd)}")
    for plan, names in values.items():
        if not names:
            raise ValueError(f"names no size for {plan}; name one, or leave the plan out")
        if odd := [name for name in names if not re.fullmatch(r"(Standard|Basic)_\w+", name)]:
            raise ValueError(f"names sizes, such as Standard_D2as_v5; not {_listed(odd)}")
        _different(names)
    return values


def as_text(value: Any) -> Any:
    """Zones are often written without quotes."""
    if isinstance(value, list | tuple):
        return [str(each) if isinstance(each, int) and not isinstance(each, bool) else each for each in value]
    return value


def zones(values: tuple[str, ...]) -> tuple[str, ...]:
    """Of a region."""
    if odd := [value for value in values if not re.fullmatch("[1-9]", value)]:
        raise ValueError(f'names zones by their numbers, such as ["1", "2", "3"]; not {_listed(odd)}')
    return _different(values)


def disk_type(value: str) -> str:
    """Of systems' disks."""
    if value == "Standard_LRS":
        raise ValueError("is a hard disk, which Azure ends for systems on 2028-09-08; write StandardSSD_LRS")
    if value not in DISK_TYPES:
        raise ValueError(f"must be {_listed(DISK_TYPES, 'or')}")
    return value


def license_type(value: str) -> str:
    """That is there already."""
    if value not in LICENSES:
        raise ValueError(f"must be {_listed(LICENSES, 'or')}, by who has that licence already; else leave it out")
    return value


def subnet_of(value: str, subscription_id: str | None) -> str:
    """A subnet's whole id.

    Args:
        value: it.
        subscription_id: whose it has to be; None: not known.
    """
    found = SubnetId.parse(value)
    if found is None:
        raise ValueError(
            "must be a subnet's whole id, /subscriptions/…/virtualNetworks/NETWORK/subnets/SUBNET, as "
            "`az network vnet subnet show --query id` has it"
        )
    if subscription_id is not None and found.subscription.lower() != subscription_id.lower():
        raise ValueError("is of another subscription: machines, their network cards and the network must be in one")
    return value


def bastion(value: str) -> str:
    """The id of an Azure Bastion."""
    if not _BASTION.fullmatch(value):
        raise ValueError(
            "must be a Bastion's whole id, /subscriptions/…/bastionHosts/NAME, as "
            "`az network bastion show --query id` has it"
        )
    return value


def tags(values: Mapping[str, str]) -> Mapping[str, str]:
    """Beside ours."""
    if len(values) > _MOST_TAGS - _OWN_TAGS:
        raise ValueError(f"has {len(values)}: Azure takes {_MOST_TAGS}, and cloudpc needs {_OWN_TAGS} of them")
    for name, value in values.items():
        if name.lower().startswith(_RESERVED):
            raise ValueError(f"has {name!r}: names may not begin with {_listed(_RESERVED, 'or')}")
        if not 0 < len(name) <= _LONGEST_NAME or set(name) & set("<>%&\\?/") or not name.isprintable():
            raise ValueError(f"has {name[:40]!r}: names have up to {_LONGEST_NAME} letters, and none of < > % & \\ ? /")
        if len(value) > _LONGEST_VALUE:
            raise ValueError(f"has a value of {len(value)} letters for {name!r}: Azure takes {_LONGEST_VALUE}")
    lower = [name.lower() for name in values]
    if twice := [name for name in values if lower.count(name.lower()) > 1]:
        raise ValueError(f"has {_listed(twice)}, which are one name to Azure")
    return values


def _different(values: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise ValueError(f"has {_listed(twice)} more than once")
    return values


def _listed(values: Sequence[str], last: str = "and") -> str:
    """In a sentence."""
    if len(values) > 1:
        return f"{', '.join(values[:-1])} {last} {values[-1]}"
    return "".join(values)
