"""What a run must know of other policies is read of each of their states once, however many policies run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloudpc.iac import file_backend, sibling_facts
from cloudpc.model.cloud_pc import Status
from cloudpc.operations.records import CloudPCRecord, StackRecord
from cloudpc.rules.ownership import PolicyFacts, held, last_generations, owners

from . import make
from .test_plan import HERS, recorded, snapshot


@dataclass
class Backend:
    """A file backend's folder, and how often the state of each policy was read whole."""

    folder: Path
    records: dict[str, StackRecord] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)

    def write(self, policy_id: str, *statuses: Status) -> None:
        pcs = [recorded(status, policy_id=policy_id) for status in statuses]
        made = tuple(CloudPCRecord(policy_id, pc, pc.user_principal_name) for pc in pcs)
        self.records[policy_id] = StackRecord(
            policy_id, make.INSTALLATION, made, policies={policy_id: "urn"}, assigned={"g": make.NOW}
        )
        file = self.folder / ".pulumi" / "stacks" / "cloudpc" / f"{policy_id}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        new.write_text("x" * len(statuses))
        new.replace(file)

    def version_of(self, policy_id: str) -> tuple[int, ...] | None:
        return file_backend.version(f"file://{self.folder}", "cloudpc", policy_id)

    def state(self, policy_id: str) -> StackRecord | None:
        self.reads.append(policy_id)
        return self.records.get(policy_id)

    def read(self, policy_id: str) -> PolicyFacts | None:
        return sibling_facts.read(policy_id, self, self.state)  # type: ignore[arg-type]


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path / "state")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "facts"
    folder.mkdir()
    monkeypatch.setenv(sibling_facts.FOLDER, str(folder))
    return folder


def test_a_hundred_runs_read_each_state_once_for_each_time_it_was_written(backend: Backend, shared: Path) -> None:
    names = [f"p{number}" for number in range(20)]
    for name in names:
        backend.write(name, Status.PROVISIONED)
    for name in names:  # one after the other, each reads the others and writes its own
        assert all(backend.read(other) is not None for other in names if other != name)
        backend.write(name, Status.PROVISIONED)
    assert len(backend.reads) < 2 * len(names) + 1


def test_what_was_written_since_is_read_anew(backend: Backend, shared: Path) -> None:
    backend.write("other", Status.PROVISIONED)
    assert held([_there(backend.read("other"))])
    backend.write("other", Status.DEPROVISIONING)
    assert not held([_there(backend.read("other"))])
    assert backend.reads == ["other", "other"]


def test_what_was_written_while_it_was_read_is_not_kept(backend: Backend, shared: Path) -> None:
    backend.write("other", Status.PROVISIONED)
    was = backend.state

    def overtaken(policy_id: str) -> StackRecord | None:
        found = was(policy_id)
        backend.write("other", Status.DEPROVISIONING)
        return found

    assert sibling_facts.read("other", backend, overtaken) is not None  # type: ignore[arg-type]
    assert not held([_there(backend.read("other"))])


@pytest.mark.parametrize("status", Status)
def test_facts_decide_as_the_whole_state_does(backend: Backend, shared: Path, status: Status) -> None:
    backend.write("other", status)
    whole = backend.records["other"].facts(backend.records["other"].assigned)
    for _ in range(2):  # as it was read, and as it was kept
        facts = _there(backend.read("other"))
        assert held([facts]) == held([whole])
        assert last_generations([facts]) == last_generations([whole])
        assert facts.assigned == whole.assigned
        assert owners([facts], snapshot(HERS)) == owners([whole], snapshot(HERS))
    assert backend.reads == ["other"]


def test_plain_pulumi_reads_state(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sibling_facts.FOLDER, raising=False)
    backend.write("other", Status.PROVISIONED)
    assert [backend.read("other") is not None for _ in range(2)] == [True, True]
    assert backend.reads == ["other", "other"]


def test_where_state_is_no_file_it_is_read_each_time(
    backend: Backend, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.write("other", Status.PROVISIONED)
    monkeypatch.setattr(Backend, "version_of", lambda *_: None)
    assert [backend.read("other") is not None for _ in range(2)] == [True, True]
    assert backend.reads == ["other", "other"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": [1]}'])
def test_a_file_that_cannot_be_read_is_as_good_as_none(backend: Backend, shared: Path, content: bytes) -> None:
    backend.write("other", Status.PROVISIONED)
    (shared / "other.json").write_bytes(content)
    assert backend.read("other") is not None
    assert backend.reads == ["other"]


def test_a_policy_that_never_ran_is_none(backend: Backend, shared: Path) -> None:
    assert backend.read("nobody") is None
    backend.write("empty")
    backend.records["empty"] = StackRecord("empty")
    assert backend.read("empty") is None


def _there(facts: PolicyFacts | None) -> PolicyFacts:
    assert facts is not None
    return facts
