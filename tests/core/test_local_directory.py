"""The embedded directory: everything wrong with the file at once, and what is right comes out as it went in."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.directory import catalogue
from cloudpc.directory.local import LocalDirectory
from cloudpc.model.directory import Snapshot
from cloudpc.model.problems import InvalidConfigurationError
from cloudpc.model.text import harmless

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr1oZs1LkO8Ry5N2yp7aYz0kEJzq8nZhb3bJm1yQy7M alice@laptop"
SHARED = "stacks/directory.yaml"


def _snapshot(folder: Path, content: Any) -> Snapshot:
    path = folder / "directory.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True))
    return LocalDirectory(path, SHARED).snapshot([])


def _told(folder: Path, content: Any) -> list[str]:
    with pytest.raises(InvalidConfigurationError) as refused:
        _snapshot(folder, content)
    return [str(problem).removeprefix(f"{SHARED}: ") for problem in refused.value.problems]


def _user(user_id: str, **more: Any) -> dict[str, Any]:
    return {"id": user_id, "userPrincipalName": f"{user_id}@contoso.example", **more}


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    told = _told(
        tmp_path,
        {
            "users": [
                _user("alice", servicePlans=["CPC_E_2C_4GB_128G", "TINY"], sshPublicKeys=["AAAA", _KEY + "\n" + _KEY]),
                {"id": "bob", "userPrincipalName": "ALICE@contoso.example"},
                {"id": "alice", "userPrincipalName": "no-name", "acountEnabled": False},
                {"id": "a/b"},
            ],
            "groups": [
                {"id": "g", "displayName": "G", "members": ["alise", 5, "nobody"]},
                {"id": "g", "displayName": ""},
            ],
            "servicePlans": [
                {"id": "MINE", "vCpuCount": 0, "ramInGB": "1", "storageInGB": 8.5},
                {"id": "MINE", "vCpuCount": 1, "ramInGB": 1, "storageInGB": 8},
            ],
            "user": [],
        },
    )
    for expected in (
        "users[0].sshPublicKeys[0]: has no type before the key: must be one line of an OpenSSH public key",
        "users[0].sshPublicKeys[1]: has two keys in one entry",
        "users[2].userPrincipalName: must be user@domain",
        "users[2].acountEnabled: is not a known field (did you mean 'accountEnabled'?)",
        "users[3].id: must be letters",
        "users[3].userPrincipalName: is required",
        "groups[0].members[1]: must be text; put it in quotes (found 5)",
        "groups[1].displayName: must have at least 1 character",
        "servicePlans[0].vCpuCount: must be greater than or equal to 1",
        'servicePlans[0].ramInGB: must be a number (found "1")',
        "servicePlans[0].storageInGB: must be a whole number",
        "user: is not a known field (did you mean 'users'?)",
        # what contradicts itself is told beside what is malformed
        'users: 2 entries have the same id; it must be unique (found "alice")',
        'users: 2 entries have the same userPrincipalName; it must be unique (found "alice@contoso.example")',
        'groups: 2 entries have the same id; it must be unique (found "g")',
        'servicePlans: 2 entries have the same id; it must be unique (found "MINE")',
        "users[0].servicePlans[0]: is neither a service plan of this file nor one of Windows 365 Enterprise "
        "(did you mean 'CPC_E_2C_4GB_128GB'?)",
        "users[0].servicePlans[1]: is neither a service plan",
        "groups[0].members[0]: is not the id of a user (did you mean 'alice'?)",
        "groups[0].members[2]: is not the id of a user",
    ):
        assert [text for text in told if text.startswith(expected)], (expected, told)
    assert len(told) == 20, told


_UNSEEN = "\x1b\x9b\u200b\u200d\u202e\u034f\u2060\u2800\u3164\ufe0f\U000e0041\U000e0100"


@pytest.mark.parametrize("unseen", _UNSEEN)
def test_no_user_is_a_twin_that_looks_the_same(tmp_path: Path, unseen: str) -> None:
    twin = {"id": "twin", "userPrincipalName": f"alice{unseen}@contoso.example"}
    [told] = _told(tmp_path, {"users": [_user("alice"), twin]})
    said = f"must be user@domain, without characters that are not seen (U+{ord(unseen):04X}); type it anew"
    assert told.startswith(f"users[1].userPrincipalName: {said}")


def test_an_accent_beside_its_letter_makes_no_other_user(tmp_path: Path) -> None:
    users = [
        {"id": f"u{i}", "userPrincipalName": f"{name}@a.example"} for i, name in enumerate(["Zo\xeb", "zoe\u0308"])
    ]
    [told] = _told(tmp_path, {"users": users})
    assert told.startswith("users: 2 entries have the same userPrincipalName")


@pytest.mark.parametrize("name", ["jürgen", "Zoë", "zoe\u0308", "αλέξης", "田中", "김민수", "o'neil", "नेहा"])
def test_names_of_all_scripts_are_valid(tmp_path: Path, name: str) -> None:
    user = {"id": "u", "userPrincipalName": f"{name}@contoso.example"}
    assert _snapshot(tmp_path, {"users": [user]}).users["u"].user_principal_name == f"{name}@contoso.example"


def test_yaml_errors_have_their_line(tmp_path: Path) -> None:
    assert _told(tmp_path, "users:\n  - id: a\n   id: b\n")[0].startswith("line 3, column 4: is not valid YAML")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "file: must be a mapping of fields to values"),
        ("users", "file: must be a mapping of fields to values"),
        ("users:", "users: is empty, but must be a list"),
        ("users: {alice: {}}", "users: must be a list"),
        ("users: [alice]", "users[0]: must be a mapping of fields to values"),
    ],
)
def test_files_of_another_form(tmp_path: Path, content: str, said: str) -> None:
    assert _told(tmp_path, content)[0].startswith(said)


def test_an_empty_file_is_an_empty_directory(tmp_path: Path) -> None:
    snapshot = _snapshot(tmp_path, "# nobody yet\n")
    assert not snapshot.users
    assert not snapshot.groups


def test_windows_365s_plans_are_known_by_every_name(tmp_path: Path) -> None:
    names = catalogue.plan_names()
    plan_id = names["CPC_E_2C_4GB_128GB"]
    users = [_user("alice", servicePlans=["CPC_E_2C_4GB_128GB", plan_id, "CPC_E_4C_16GB_512GB"])]
    alice = _snapshot(tmp_path, {"users": users}).users["alice"]
    assert alice.service_plans == (plan_id, names["CPC_E_4C_16GB_512GB"])


def test_the_catalogue_is_sound() -> None:
    plans = catalogue.service_plans()
    assert len(plans) >= 10
    assert len({p.display_name for p in plans.values()}) == len(plans)
    assert set(catalogue.plan_names().values()) == set(plans)
    for name, plan_id in catalogue.plan_names().items():
        plan = plans[plan_id]
        size = f"_{plan.vcpu_count}C_{plan.ram_in_gb:g}GB_{plan.storage_in_gb}GB"
        assert name.endswith(size) or not name.endswith("GB"), (name, plan)


def test_the_demos_directory_is_valid() -> None:
    stacks = Path(__file__).resolve().parents[2] / "stacks"
    snapshot = LocalDirectory(stacks / "directory.yaml", SHARED).snapshot([])
    assert {"u-alice", "u-bob"} <= set(snapshot.users)


_IDS = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._@+-]{0,20}\Z")
_NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)


@st.composite
def _directories(draw: st.DrawFn) -> dict[str, Any]:
    plans = {
        plan_id: {
            "id": plan_id,
            "displayName": draw(_NAMES),
            "vCpuCount": draw(st.integers(1, 256)),
            "ramInGB": draw(st.integers(1, 4096) | st.floats(0.25, 4096)),
            "storageInGB": draw(st.integers(1, 65536)),
        }
        for plan_id in draw(st.lists(_IDS, unique=True, max_size=3))
    }
    any_plan = st.sampled_from([*plans, *catalogue.service_plans()])
    users = {
        user_id: {
            "id": user_id,
            "userPrincipalName": f"{draw(_IDS).replace('@', '')}{i}@contoso.example",
            "displayName": draw(_NAMES),
            "accountEnabled": draw(st.booleans()),
            "servicePlans": draw(st.lists(any_plan, unique=True, max_size=3)),
            "sshPublicKeys": draw(st.lists(st.just(_KEY), max_size=1)),
        }
        for i, user_id in enumerate(draw(st.lists(_IDS, unique=True, max_size=4)))
    }
    members = st.lists(st.sampled_from(sorted(users)), max_size=4) if users else st.just([])
    groups = {
        group_id: {"id": group_id, "displayName": draw(_NAMES) or "G", "members": draw(members)}
        for group_id in draw(st.lists(_IDS, unique=True, max_size=3))
    }
    return {"users": [*users.values()], "groups": [*groups.values()], "servicePlans": [*plans.values()]}


@given(_directories(), st.booleans())
def test_a_valid_directory_comes_out_as_it_went_in(
    tmp_path_factory: pytest.TempPathFactory, written: dict[str, Any], as_json: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    read = _snapshot(folder, json.dumps(written, ensure_ascii=False) if as_json else written)
    own = [p for p in read.service_plans.values() if p.id in {w["id"] for w in written["servicePlans"]}]
    assert {
        "users": [
            {
                "id": u.id,
                "userPrincipalName": u.user_principal_name,
                "displayName": u.display_name,
                "accountEnabled": u.account_enabled,
                "servicePlans": list(u.service_plans),
                "sshPublicKeys": list(u.ssh_public_keys),
            }
            for u in read.users.values()
        ],
        "groups": [{"id": g.id, "displayName": g.display_name, "members": g.members} for g in read.groups.values()],
        "servicePlans": [(p.id, p.display_name, p.vcpu_count, p.ram_in_gb, p.storage_in_gb) for p in own],
    } == {
        "users": [
            {**u, "userPrincipalName": name, "displayName": harmless(u["displayName"]) or name}
            for u in written["users"]
            for name in [harmless(u["userPrincipalName"])]
        ],
        "groups": [
            {**g, "displayName": harmless(g["displayName"]), "members": frozenset(g["members"])}
            for g in written["groups"]
        ],
        "servicePlans": [
            (p["id"], harmless(p["displayName"] or p["id"]), p["vCpuCount"], p["ramInGB"], p["storageInGB"])
            for p in written["servicePlans"]
        ],
    }
