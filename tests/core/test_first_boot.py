"""The seed: read alike by every parser, whatever a user is called, and without a secret."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.guests.linux import first_boot
from cloudpc.model.cloud_pc import Account
from cloudpc.model.guests import Seed

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def _seed(full_name: str = "Alice", keys: tuple[str, ...] = (), local_admin: bool = False) -> Seed:
    return first_boot.seed(
        instance_id="id-1", device_name="CPC_alice-XYZ23",
        account=Account(name="alice", display_name=full_name, ssh_public_keys=keys), local_admin=local_admin,
    )  # fmt: skip


def _user(user_data: Any) -> dict[str, Any]:
    [user] = user_data["users"]
    return dict(user)


@given(_TEXT, st.lists(_TEXT, max_size=2).map(tuple))
def test_json_and_yaml_read_the_same(full_name: str, keys: tuple[str, ...]) -> None:
    seed = _seed(full_name, keys)
    header, text = seed.user_data.split("\n", 1)
    assert header == "#cloud-config"
    assert json.loads(text) == yaml.safe_load(seed.user_data)  # micro reads JSON, cloud-init YAML
    assert _user(json.loads(text))["ssh_authorized_keys"] == list(keys)
    assert json.loads(seed.meta_data) == {"instance-id": "id-1", "local-hostname": "cpc-alice-xyz23"}
    seed.user_data.encode()


@given(_TEXT)
def test_a_full_name_cannot_break_a_line_of_etc_passwd(full_name: str) -> None:
    gecos = _user(yaml.safe_load(_seed(full_name).user_data))["gecos"]
    assert not set(gecos) & set(":,\n\r\0")


@pytest.mark.parametrize("name", ["𠮷野家 💥", "Zoë", 'O"Brien\\', "- {a}", "${jndi}", "%s"])
def test_names_arrive_as_they_are(name: str) -> None:
    assert _user(yaml.safe_load(_seed(name).user_data))["gecos"] == name


def test_only_a_local_admin_may_use_sudo() -> None:
    assert _user(yaml.safe_load(_seed().user_data))["sudo"] is False
    assert _user(yaml.safe_load(_seed(local_admin=True).user_data))["sudo"] == "ALL=(ALL:ALL) ALL"


def test_the_account_waits_for_its_password() -> None:
    user = _user(yaml.safe_load(_seed().user_data))
    assert not {"passwd", "plain_text_passwd", "hashed_passwd"} & user.keys()
    assert user["lock_passwd"] is False
