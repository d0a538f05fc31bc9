"""What the program does before it imports the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime.config import CONFIG

from cloudpc.iac import ahead, program, stack_program, startup
from cloudpc.iac.type_tokens import CLOUD_PC, PROVIDER


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was begun, in order; the last is what the program is given of state."""
    begun: list[object] = []
    monkeypatch.setattr(startup, "begin", lambda: begun.append("imports"))
    monkeypatch.setattr(ahead, "start_provider", lambda: begun.append("provider"))
    monkeypatch.setattr(stack_program, "declare", lambda _, recorded: begun.append(recorded))
    monkeypatch.setattr(pulumi, "get_stack", lambda: "demo")
    return begun


CONFIGURED = {"cloudpc:policy": "{}", "cloudpc:hosts": "[]"}


@pytest.mark.parametrize(
    ("resources", "starts"),
    [
        ({"1": {"type": PROVIDER, "outputs": CONFIGURED}}, True),
        ({"1": {"type": PROVIDER, "outputs": CONFIGURED | {"cloudpc:hosts": "[1]"}}}, False),
        ({"1": {"type": PROVIDER, "outputs": {}}}, False),
        ({"1": {"type": CLOUD_PC, "outputs": CONFIGURED}}, False),
        ({}, False),
    ],
)
def test_the_provider_starts_meanwhile_where_state_has_it_as_it_would_be_now(
    resources: dict[str, Any], starts: bool, begun: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"urn:0": {"type": "pulumi:pulumi:Stack", "outputs": {}}, **resources}
    monkeypatch.setattr(ahead, "resources", lambda _: known)
    token = CONFIG.set(CONFIGURED)
    program.run(Path())
    CONFIG.reset(token)
    assert begun == ["imports", *(["provider"] if starts else []), known]


def test_state_that_cannot_be_read_is_asked_for_again_by_who_can_say_why(
    begun: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: str) -> None:
        raise RuntimeError("half a file")

    monkeypatch.setattr(ahead, "resources", fails)
    program.run(Path())
    assert begun == ["imports", None]
