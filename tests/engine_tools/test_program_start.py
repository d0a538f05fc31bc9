"""What the program does before it imports the rest."""

from __future__ import annotations

from pathlib import Path

import pulumi
import pytest

from cloudpc.iac import ahead, program, stack_program, startup
from cloudpc.iac.type_tokens import CLOUD_PC, PROVISIONING_POLICY


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was begun, in order; the last is what the program is given of state."""
    begun: list[object] = []
    monkeypatch.setattr(startup, "begin", lambda: begun.append("imports"))
    monkeypatch.setattr(ahead, "start_provider", lambda: begun.append("provider"))
    monkeypatch.setattr(stack_program, "declare", lambda _, recorded: begun.append(recorded))
    monkeypatch.setattr(pulumi, "get_stack", lambda: "demo")
    return begun


@pytest.mark.parametrize("kind", [CLOUD_PC, PROVISIONING_POLICY])
def test_the_provider_starts_meanwhile_where_state_has_used_it(
    kind: str, begun: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"urn:1": {"type": "pulumi:pulumi:Stack"}, "urn:2": {"type": kind}}
    monkeypatch.setattr(ahead, "resources", lambda _: known)
    program.run(Path())
    assert begun == ["imports", "provider", known]


def test_a_first_run_leaves_no_trace_of_it_in_state(begun: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"urn:1": {"type": "pulumi:pulumi:Stack"}}
    monkeypatch.setattr(ahead, "resources", lambda _: known)
    program.run(Path())
    assert begun == ["imports", known]


def test_state_that_cannot_be_read_is_asked_for_again_by_who_can_say_why(
    begun: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: str) -> None:
        raise RuntimeError("half a file")

    monkeypatch.setattr(ahead, "resources", fails)
    program.run(Path())
    assert begun == ["imports", None]
