"""The seed of a first boot: identity, account and public keys as cloud-config. Never a secret.

User data is written as JSON that is YAML too: nothing of a user's input can be taken for syntax.
"""

from __future__ import annotations

import json
import re

from cloudpc.guests.linux.names import host_name
from cloudpc.model.cloud_pc import Account
from cloudpc.model.guests import Seed


def seed(*, instance_id: str, device_name: str, account: Account, local_admin: bool) -> Seed:
    """Cloud-config for a guest whose account gets its password later, through its host."""
    user: dict[str, object] = {
        "name": account.name,
        "gecos": re.sub(r"[\x00-\x1f\x7f:,]+", " ", account.display_name),  # what would break a line of /etc/passwd
        "shell": "/bin/bash",
        "lock_passwd": False,
        "ssh_authorized_keys": list(account.ssh_public_keys),
        # the password is known to its user alone, so sudo may ask for it
        "sudo": "ALL=(ALL:ALL) ALL" if local_admin else False,
    }
    name = host_name(device_name)
    user_data = {"users": [user], "hostname": name, "ssh_pwauth": True, "disable_root": True}
    meta_data = {"instance-id": instance_id, "local-hostname": name}
    return Seed(
        meta_data=_json_and_yaml(meta_data) + "\n",
        user_data="#cloud-config\n" + _json_and_yaml(user_data) + "\n",
    )


def _json_and_yaml(value: object) -> str:
    """JSON that YAML reads alike: beyond U+FFFF JSON's escapes are pairs, which YAML takes for two broken letters."""
    return re.sub(r"[\x7f-\uffff]", lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))
