"""One reading of a directory for all policies, also over processes."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from cloudpc.directory import opening
from cloudpc.directory.configuration import GraphDirectoryConfig, LocalDirectoryConfig
from cloudpc.directory.opening import SHARED, Directories, Known
from cloudpc.graph.configuration import GraphConfig
from cloudpc.model.directory import DirectoryError, Group, Snapshot, User

_TENANT = GraphDirectoryConfig.model_validate({"kind": "graph"})
_FILE = LocalDirectoryConfig.model_validate({"kind": "local", "path": "directory.yaml"})
_GRAPH = GraphConfig()


class _Tenant:
    """Knows every group and user that it is asked for, and who asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[set[str], set[str]]] = []

    def snapshot(self, group_references: Collection[str], user_ids: Collection[str] = ()) -> Snapshot:
        self.asked.append((set(group_references), set(user_ids)))
        users = {id_: User(id_, f"{id_}@contoso.example", id_, ssh_public_keys=("ssh-ed25519 A",)) for id_ in user_ids}
        groups = {id_: Group(id_, id_.title(), frozenset({"u-1"})) for id_ in group_references}
        users["u-1"] = User("u-1", "u-1@contoso.example", "One")
        return Snapshot(users, groups, warnings=("a group in a group",))


@pytest.fixture
def tenant(monkeypatch: pytest.MonkeyPatch) -> _Tenant:
    made = _Tenant()
    monkeypatch.setattr(Directories, "_open", lambda *_: made)
    return made


def _ask(directories: Directories, *groups: str, known: Known | None = None) -> Snapshot:
    return directories.snapshot(_TENANT, _GRAPH, groups, known or Known())


def test_what_others_will_ask_for_is_asked_for_with_the_first(tenant: _Tenant, tmp_path: Path) -> None:
    directories = Directories(tmp_path, expected=frozenset({"a", "b"}))
    assert set(_ask(directories, "a").groups) == {"a", "b"}
    assert set(_ask(directories, "b").groups) == {"a", "b"}
    assert tenant.asked == [({"a", "b"}, set())]


def test_only_what_is_missing_is_asked_for_later(tenant: _Tenant, tmp_path: Path) -> None:
    directories = Directories(tmp_path)
    _ask(directories, "a")
    both = _ask(directories, "a", known=Known(frozenset({"c"}), frozenset({"u-1", "u-2"})))
    assert tenant.asked[1:] == [({"c"}, {"u-2"})], "u-1 is a member"
    assert (set(both.groups), set(both.users)) == ({"a", "c"}, {"u-1", "u-2"})
    assert both.warnings == ("a group in a group",)
    assert _ask(directories, "a", known=Known(users=frozenset({"u-2"}))) is both


def test_a_group_that_was_found_by_its_name_is_not_asked_for_by_its_id(
    tenant: _Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_name = Snapshot(groups={"g-1": Group("g-1", "Sales")})
    monkeypatch.setattr(tenant, "snapshot", lambda *asked: tenant.asked.append(asked) or by_name)
    directories = Directories(tmp_path)
    _ask(directories, "Sales")
    _ask(directories, "Sales", known=Known(groups=frozenset({"g-1"})))
    assert len(tenant.asked) == 1


def test_tenants_are_told_apart(tenant: _Tenant, tmp_path: Path) -> None:
    directories = Directories(tmp_path)
    _ask(directories, "a")
    other = GraphConfig.model_validate({"tenantId": "other.example"})
    directories.snapshot(_TENANT, other, ["a"], Known())
    assert len(tenant.asked) == 2


def test_a_run_asks_only_for_what_it_was_not_handed(
    tenant: _Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directories, file = Directories(tmp_path), tmp_path / "handed-down.json"
    read = _ask(directories, "a", known=Known(users=frozenset({"u-2"})))
    directories.write(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    monkeypatch.setenv(SHARED, str(file))
    run = Directories.shared(tmp_path)
    assert _ask(run, "a", known=Known(users=frozenset({"u-2"}))) == read
    assert len(tenant.asked) == 1
    _ask(run, "b")
    assert tenant.asked[1] == ({"b"}, set())


@pytest.mark.parametrize("seconds", [301, 7200, -60], ids=["a little old", "hours old", "of the future"])
def test_what_was_read_long_before_a_run_is_read_anew(
    tenant: _Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    directories, file = Directories(tmp_path), tmp_path / "handed-down.json"
    _ask(directories, "a")
    directories.write(file)
    monkeypatch.setenv(SHARED, str(file))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)
    _ask(Directories.shared(tmp_path), "a")
    assert tenant.asked == [({"a"}, set())] * 2


def test_what_was_read_in_two_parts_is_as_old_as_the_first(
    tenant: _Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directories, file, now = Directories(tmp_path), tmp_path / "handed-down.json", time.time()
    for begin, group in ((now - 200, "a"), (now, "b")):
        monkeypatch.setattr(time, "time", lambda begin=begin: begin)
        _ask(directories, group)
    directories.write(file)
    [answer] = json.loads(file.read_text()).values()
    assert answer["began"] == now - 200


def test_a_directory_that_can_not_be_read_is_not_waited_for_again(
    tenant: _Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*asked: Any) -> Snapshot:
        tenant.asked.append(asked)
        raise DirectoryError("throttled")

    monkeypatch.setattr(tenant, "snapshot", fail)
    directories = Directories(tmp_path)
    for group in ("a", "b"):
        with pytest.raises(DirectoryError, match="throttled"):
            _ask(directories, group)
    assert len(tenant.asked) == 1


def test_a_group_whose_members_are_hidden_stops_only_who_means_it(
    tenant: _Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Snapshot(groups={"a": Group("a", "A")}, hidden_groups={"h": "Secret"})
    monkeypatch.setattr(tenant, "snapshot", lambda *_: read)
    directories = Directories(tmp_path, expected=frozenset({"a", "Secret"}))
    assert _ask(directories, "a") == read
    for group, known in (("Secret", Known()), ("h", Known()), ("a", Known(groups=frozenset({"h"})))):
        with pytest.raises(DirectoryError, match=r"the members of the group 'Secret' \(h\) are hidden"):
            _ask(directories, group, known=known)


def test_a_guid_in_capitals_finds_its_group_and_no_other_id_does() -> None:
    id_ = "5a1f9c1e-0000-4000-8000-00000000000a"
    snapshot = Snapshot(groups={id_: Group(id_, "A"), "sales": Group("sales", "B")})
    assert [g.id for g in snapshot.find_groups(id_.upper())] == [id_]
    assert snapshot.find_groups("SALES") == []


@pytest.mark.parametrize("content", [None, "", "[]", '{"x": 5}'])
def test_what_was_handed_down_and_can_not_be_read_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    file = tmp_path / "handed-down.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv(SHARED, str(file))
    with pytest.raises(DirectoryError, match=r"handed-down\.json"):
        Directories.shared(tmp_path)


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "directory.yaml").write_text("groups: [{id: a, displayName: A}]")
    reads: list[Any] = []
    original = opening.LocalDirectory
    monkeypatch.setattr(opening, "LocalDirectory", lambda *args: reads.append(args) or original(*args))
    directories = Directories(tmp_path)
    for known in (Known(), Known(frozenset({"gone"}), frozenset({"gone"}))):
        assert set(directories.snapshot(_FILE, _GRAPH, ["a"], known).groups) == {"a"}
    assert len(reads) == 1
