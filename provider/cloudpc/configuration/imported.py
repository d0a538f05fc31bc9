"""A provisioning policy that was imported: its values, what was lost, what is to be decided, and all that as a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from cloudpc.files import yaml_file
from cloudpc.model.text import harmless, in_json

POLICY = "cloudpc:policy"


@dataclass(frozen=True)
class Remark:
    """Something an import could not do by itself.

    Args:
        field: of Graph's policy, for example `enableSingleSignOn`.
        value: what it has there.
        why: what became of it, or what is to be decided.
        decide: whether somebody has to decide or do something; else it is merely not carried over.
    """

    field: str
    value: Any
    why: str
    decide: bool = False

    def __str__(self) -> str:
        value = in_json(self.value)
        value = value if len(value) <= 80 else value[:77] + "..."
        # one line each, also as a comment in the file: what a tenant's admin has typed must not end a comment
        return harmless(f"{self.field} ({value}): {self.why}")


@dataclass(frozen=True)
class Imported:
    """One policy, converted.

    Args:
        id: Graph's.
        policy: values for `cloudpc:policy`; valid by themselves.
        remarks: in the order of the fields.
    """

    id: str
    policy: dict[str, Any]
    remarks: tuple[Remark, ...]

    @property
    def display_name(self) -> str:
        """As in Graph, as far as ours may have it."""
        return str(self.policy["displayName"])


def to_yaml(imported: Imported, others: Mapping[str, Any], keep: Mapping[str, Any]) -> str:
    """The stack's file.

    Args:
        imported: the policy.
        others: the other values of its `config`, by key.
        keep: what else stands in the file, such as the `encryptionsalt` that Pulumi wrote there.
    """
    lines = [
        "# yaml-language-server: $schema=schemas/policy.json\n",
        f"# Imported from Microsoft Graph, provisioning policy {harmless(imported.id)}.\n",
    ]
    lost = [remark for remark in imported.remarks if not remark.decide]
    if lost:
        lines.append("# Not carried over:\n")
        lines += [f"#   {remark}\n" for remark in lost]
    lines.append(f"config:\n  {POLICY}:\n")
    left = [remark for remark in imported.remarks if remark.decide]
    for name, value in imported.policy.items():
        lines += [f"    # TO DECIDE: {r}\n" for r in left if _first(r.field) == name]
        lines.append(indent(yaml_file.dump({name: value}), "    "))
    lines += [f"    # TO DECIDE: {r}\n" for r in left if _first(r.field) not in imported.policy]
    if others:
        lines.append(indent(yaml_file.dump(dict(others)), "  "))
    if keep:
        lines.append(yaml_file.dump(dict(keep)))
    return "".join(lines)


def _first(field: str) -> str:
    name = re.split(r"[.\[]", field)[0]
    legacy = ("onPremisesConnectionId", "domainJoinConfiguration")
    return "domainJoinConfigurations" if name in legacy else name
