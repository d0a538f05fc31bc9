"""Losing a Cloud PC, its grace period, and its end."""

from __future__ import annotations

import re

import pytest

from tests.support.project import UP, Project, user

from .life import (
    BIG,
    OF_GRACE,
    SMALL,
    assign,
    finish_killed,
    lasting,
    nothing_more_to_do,
    policy_resource,
    preview,
    summary,
)

pytestmark = pytest.mark.engine


def test_each_way_to_lose_a_cloud_pc_begins_grace_and_who_comes_back_finds_it_as_it_was(project: Project) -> None:
    stayers = [f"stays{i}" for i in range(5)]
    leavers = {
        "leaves": "left group Staff and group Other",
        "unlicensed": f"no longer has a licence for {SMALL}",
        "removed": "the user is no longer in the directory",
        "disabled": "the account is disabled",
        "unassigned": "the policy is no longer assigned to Guests",
    }
    everybody = [user(name) for name in (*stayers, *leavers)]
    staff = [*stayers, "leaves", "unlicensed", "removed", "disabled"]
    project.directory(everybody, {"staff": staff, "guests": ["unassigned"], "other": []})
    assign(project, "staff", "guests", "other")
    project.up()
    before, calls, machines = project.state(), project.calls(), project.machines()

    users = [user(name) for name in stayers]
    users += [user("leaves"), {**user("unlicensed"), "servicePlans": []}, user("disabled", accountEnabled=False)]
    rest = [name for name in staff if name not in ("leaves", "removed")]
    project.directory([*users, user("unassigned")], {"staff": rest, "guests": ["unassigned"], "other": []})
    assign(project, "staff", "other")
    told = preview(project)
    for name, why in leavers.items():
        assert re.search(
            rf"{name}@contoso.example \({SMALL}\): grace until [-0-9]{{10}} [:0-9]{{5}} UTC \({why}\)", told
        )
    assert "stays" not in told
    ran = project.up()
    assert "(the account is disabled)" in ran.output
    state = project.state()
    for name, why in leavers.items():
        assert (state[name]["status"], state[name]["why"]) == ("inGracePeriod", why)
        assert state[name]["events"][-1].endswith(f"inGracePeriod {why}")
        kept = {field: value for field, value in state[name].items() if field not in OF_GRACE}
        assert lasting(kept) == lasting({**before[name], "status": "inGracePeriod"})
    assert {name: state[name] for name in stayers} == {name: before[name] for name in stayers}
    nothing_more_to_do(project)
    project.up()
    assert project.state() == state

    project.directory(everybody, {"staff": staff, "guests": ["unassigned"], "other": []})
    assign(project, "staff", "guests", "other")
    told = preview(project)
    for name in leavers:
        assert (
            f"{name}@contoso.example ({SMALL}): entitled again: the grace period is cancelled, nothing is rebuilt"
            in told
        )
    project.up()
    after = project.state()
    for name in leavers:
        assert lasting(after[name]) == lasting(before[name])
        assert [event.split()[1] for event in after[name]["events"]] == ["provisioned", "inGracePeriod", "provisioned"]
    assert project.calls() == calls, "nothing was asked of the host"
    assert project.machines() == machines
    nothing_more_to_do(project)


def test_a_licence_given_to_somebody_else_restores_nothing(project: Project) -> None:
    """Even to one of the same name, and with the leaver's userPrincipalName."""
    project.directory([user("leaves"), user("comes", servicePlans=[])], {"everybody": ["leaves", "comes"]})
    project.up()
    before = project.machines()["leaves"]
    name = "leaves@contoso.example"
    heir = user("comes", userPrincipalName=name, displayName="Leaves")
    project.directory(
        [user("leaves", servicePlans=[], userPrincipalName="old@contoso.example"), heir],
        {"everybody": ["leaves", "comes"]},
    )
    project.up()
    assert project.statuses() == {"leaves": "inGracePeriod", "comes": "provisioned"}
    assert project.machines()["leaves"] == before
    assert project.machines()["comes"]["id"] != before["id"]
    nothing_more_to_do(project)


def test_zero_hours_are_two_runs_and_the_entry_goes_one_later(project: Project) -> None:
    project.directory([user(name) for name in ("ends", "returns", "stays")])
    project.policy(gracePeriodInHours=0)
    project.up()
    before = project.state()
    project.directory([user("stays")])
    project.up()
    assert project.statuses() == {"ends": "inGracePeriod", "returns": "inGracePeriod", "stays": "provisioned"}
    assert len(project.machines()) == 3

    project.directory([user("stays"), user("returns")])
    told = preview(project)
    over = rf"ends@contoso.example \({SMALL}\): ends now \(grace period ended on [-0-9]+ [:0-9]+ UTC; "
    assert re.search(over + r"the user is no longer in the directory\): all data on it is deleted", told)
    ran = project.up()
    assert re.search(r"~ 2 updated", ran.output), ran
    assert "deleted" not in summary(ran), "ending is an update"
    assert project.statuses() == {"ends": "deprovisioning", "returns": "provisioned", "stays": "provisioned"}
    ended = project.state()["ends"]
    assert not {"connection", "hostKey", "credentials", "leftovers"} & ended.keys()
    assert set(project.machines()) == {"returns", "stays"}
    assert project.leaks() == []
    calls = project.calls()

    # the run that is to drop its entry is killed: what is remembered of it is remembered once
    project.directory([user("stays"), user("returns"), user("new")])
    project.host(faults=[{"call": "wait_ready", "user": "new", "fault": "kill-engine", "times": 1}])
    assert project.pulumi(*UP, "demo").code != 0
    finish_killed(project)
    assert set(project.statuses()) == {"returns", "stays", "new"}
    assert not [call for call in project.calls()[len(calls) :] if call == "delete ends"], "nothing is left to delete"
    [remembered] = policy_resource(project)["ended"]
    assert remembered["key"] == f"ends/{SMALL}"
    assert remembered["deviceName"] == before["ends"]["deviceName"]
    assert "deprovisioning grace period ended on" in remembered["event"]
    nothing_more_to_do(project)

    project.directory([user("ends"), user("stays"), user("returns"), user("new")])
    project.up()
    again = project.state()["ends"]
    assert (again["status"], again["generation"]) == ("provisioned", 2)
    assert again["deviceName"] != before["ends"]["deviceName"]
    assert policy_resource(project)["ended"] == [remembered]
    nothing_more_to_do(project)


def test_what_never_worked_ends_without_grace(project: Project) -> None:
    project.directory([user("well"), user("bad")])
    project.host(memory_mib=1024, faults=[{"call": "start", "user": "bad", "fault": "error", "retriable": False}])
    project.up()
    project.directory([user("well"), user("bad"), user("late", BIG)])
    project.up()
    assert project.statuses() == {"well": "provisioned", "bad": "failed", "late": "pendingProvision"}
    project.directory([user("well")])
    told = preview(project)
    assert f"bad@contoso.example ({SMALL}): failed, and ends (the user is no longer in the directory)" in told
    assert f"late@contoso.example ({BIG}): pendingProvision, and ends (the user is no longer in the directory)" in told
    project.up()
    assert project.statuses() == {"well": "provisioned", "bad": "deprovisioning", "late": "deprovisioning"}
    assert "statusDetail" not in project.state()["bad"]
    project.up()
    assert project.statuses() == {"well": "provisioned"}
    nothing_more_to_do(project)


def test_what_cannot_be_removed_is_remembered_tried_again_and_fails_nobody(project: Project) -> None:
    """Whether the host says no or its driver has a bug."""
    project.directory([user(name) for name in ("well", "stuck", "broken")])
    project.policy(gracePeriodInHours=0)
    project.up()
    project.directory([user("well")])
    project.up()
    faults = [
        {"call": "delete", "user": "stuck", "fault": "error"},
        {"call": "delete", "user": "broken", "fault": "crash"},
    ]
    project.host(faults=faults)
    project.directory([user("well"), user("new")])
    ran = project.up()
    assert "not removed completely; each run tries again: its machine on host: injected fault in delete" in ran.output
    assert "Traceback" not in ran.output
    state = project.state()
    assert {name: outputs["status"] for name, outputs in state.items()} == {
        "well": "provisioned", "new": "provisioned", "stuck": "deprovisioning", "broken": "deprovisioning",
    }  # fmt: skip
    assert state["stuck"]["leftovers"] == ["its machine on host: injected fault in delete"]
    assert "a bug in delete" in state["broken"]["leftovers"][0]

    told = preview(project)
    for name in ("stuck", "broken"):
        assert (
            f"{name}@contoso.example ({SMALL}): could not be removed completely yet, will be tried again: its machine"
            in told
        )
    for options in ([], ["--exclude-protected"], ["--skip-preview"]):  # its entry is all that knows of what is left
        project.pulumi("destroy", "--yes", "--stack", "demo", *options)
        assert {"stuck", "broken"} < project.state().keys()
        assert {"stuck", "broken"} < project.machines().keys()
    tried = project.calls().count("delete stuck")
    project.up()
    assert project.calls().count("delete stuck") == tried + 1

    # one who comes back meanwhile waits for the end
    project.directory([user(name) for name in ("well", "new", "stuck")])
    project.host()
    project.up()
    state = project.state()
    assert "leftovers" not in state["stuck"]
    assert "leftovers" not in state["broken"]
    assert set(project.machines()) == {"well", "new"}
    project.up()
    project.up()
    assert project.statuses() == {"well": "provisioned", "new": "provisioned", "stuck": "provisioned"}
    assert project.leaks() == []
    nothing_more_to_do(project)
