"""Whatever goes wrong, in whatever order: one complete machine if the outcome is usable, and otherwise nothing."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.model.cloud_pc import USABLE, Status
from cloudpc.model.errors import Cancelled
from cloudpc.model.remnants import Remnant, left_over
from cloudpc.model.tags import Phase

from . import make
from .fake_rim import CALLS, Run, ScriptedHost, desired, machines

_FAULTS = st.fixed_dictionaries(
    {"call": st.sampled_from(CALLS), "fault": st.sampled_from(["error", "timeout", "crash"])},
    optional={"times": st.integers(1, 3), "retriable": st.booleans()},
)
_HOSTS = st.lists(
    st.fixed_dictionaries({"faults": st.lists(_FAULTS, max_size=3), "cores": st.integers(0, 2)}),
    min_size=1,
    max_size=2,
)
_BEFORE = st.sampled_from(["nothing", "unfinished", "complete", "made otherwise"])


def _left_over(host: ScriptedHost) -> list[Remnant]:
    return left_over(host.remnants(make.INSTALLATION), [], [], datetime.now(UTC))


def _hosts(folder: Path, configured: list[dict[str, Any]], before: str) -> list[ScriptedHost]:
    shutil.rmtree(folder, ignore_errors=True)
    hosts = [ScriptedHost(folder, f"h{i}") for i in range(len(configured))]
    if before != "nothing":
        # long timeouts cost nothing: the fake's faults end at once under a patient clock
        Run(hosts[-1]).provision(desired(locale="de-DE" if before == "made otherwise" else "en-US"))
        if before == "unfinished":
            hosts[-1].finish(hosts[-1].machines()[0].id, Phase.PROVISIONING)
    for host, settings in zip(hosts, configured, strict=True):
        host.configure(**settings)
    return hosts


@given(_HOSTS, _BEFORE)
def test_one_machine_or_none(
    tmp_path_factory: pytest.TempPathFactory, configured: list[dict[str, Any]], before: str
) -> None:
    hosts = _hosts(tmp_path_factory.getbasetemp() / "hosts", configured, before)
    outcome = Run(*hosts).provision()
    assert 1 <= outcome.attempts <= 3
    if outcome.status in USABLE:
        assert machines(hosts) == {outcome.host: [Phase.PROVISIONING if outcome.warnings else Phase.READY]}
        assert outcome.credentials is not None
        assert outcome.access is not None
        assert (outcome.status is Status.PROVISIONED_WITH_WARNINGS) == bool(outcome.warnings)
    else:
        assert outcome.status in (Status.FAILED, Status.PENDING_PROVISION)
        assert [name for host in hosts for name in host.things()] == []
        assert outcome.credentials is None
        assert outcome.error is not None
        assert outcome.stage is not None
    assert [each for host in hosts for each in _left_over(host)] == []
    assert outcome.remains == ""


@given(_HOSTS, _BEFORE, st.integers(1, 3), st.booleans())
def test_what_could_not_be_removed_is_always_told_and_gone_after_the_next_run(
    tmp_path_factory: pytest.TempPathFactory, configured: list[dict[str, Any]], before: str, times: int, crash: bool
) -> None:
    for settings in configured:
        settings["faults"].append({"call": "delete", "fault": "crash" if crash else "error", "times": times})
    hosts = _hosts(tmp_path_factory.getbasetemp() / "hosts", configured, before)
    outcome = Run(*hosts).provision()
    left = {name: phases for name, phases in machines(hosts).items() if name != outcome.host}
    if outcome.status not in USABLE:
        left = machines(hosts)
    for name in left:
        assert f"on {name}: " in outcome.remains
    if not left:
        assert outcome.remains == ""
    for host in hosts:
        host.configure()
    again = Run(*hosts).provision()
    assert again.status is Status.PROVISIONED
    assert machines(hosts) == {again.host: [Phase.READY]}


@given(st.sampled_from(CALLS), st.lists(_FAULTS, max_size=2), _BEFORE)
def test_a_cancelled_run_leaves_nothing_or_something_complete(
    tmp_path_factory: pytest.TempPathFactory, call: str, faults: list[dict[str, Any]], before: str
) -> None:
    [host] = _hosts(tmp_path_factory.getbasetemp() / "hosts", [{"faults": faults}], before)
    run = Run(host)
    host.hooks[call] = run.cancel.cancel
    try:
        outcome = run.provision()
    except Cancelled:
        assert machines([host]) in ({}, {"h0": [Phase.READY]})
    else:
        assert bool(machines([host])) == (outcome.status in USABLE)
    assert _left_over(host) == []
