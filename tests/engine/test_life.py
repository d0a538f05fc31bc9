"""The life of a Cloud PC after its first day, rule by rule, through plain `pulumi`: design section 5, issue 4."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudpc.model.policy import ProvisioningPolicy
from tests.support.project import PLAN, UP, Project, Ran, sha256, user
from tests.support.waiting import wait_until

pytestmark = pytest.mark.engine

SMALL, BIG = str(PLAN["id"]), "LAB_2C_1GB_8GB"
CHANGING = ("events", "lastModifiedDateTime")
"""What tells of a life; all else of a Cloud PC stays what it was made with."""
OF_GRACE = ("desiredStatus", "why", "gracePeriodEndDateTime", "statusBeforeGrace")


# ---- grace


def test_each_way_to_lose_a_cloud_pc_begins_grace_and_who_comes_back_finds_it_as_it_was(project: Project) -> None:
    stayers = [f"stays{i}" for i in range(5)]
    leavers = {
        "leaves": "left group Staff and group Other",
        "unlicensed": f"no licence for {SMALL} any more",
        "removed": "the user is no longer in the directory",
        "disabled": "the account is disabled",
        "unassigned": "the policy is no longer assigned to Guests",
    }
    everybody = [user(name) for name in (*stayers, *leavers)]
    staff = [*stayers, "leaves", "unlicensed", "removed", "disabled"]
    project.directory(everybody, {"staff": staff, "guests": ["unassigned"], "other": []})
    _assign(project, "staff", "guests", "other")
    project.up()
    before, calls, machines = project.state(), project.calls(), project.machines()

    users = [user(name) for name in stayers]
    users += [user("leaves"), {**user("unlicensed"), "servicePlans": []}, user("disabled", accountEnabled=False)]
    rest = [name for name in staff if name not in ("leaves", "removed")]
    project.directory([*users, user("unassigned")], {"staff": rest, "guests": ["unassigned"], "other": []})
    _assign(project, "staff", "other")
    told = _preview(project)
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
        assert _lasting(kept) == _lasting({**before[name], "status": "inGracePeriod"})
    assert {name: state[name] for name in stayers} == {name: before[name] for name in stayers}
    _nothing_more_to_do(project)
    project.up()
    assert project.state() == state

    project.directory(everybody, {"staff": staff, "guests": ["unassigned"], "other": []})
    _assign(project, "staff", "guests", "other")
    told = _preview(project)
    for name in leavers:
        assert f"{name}@contoso.example ({SMALL}): entitled again: the grace period is over, nothing is rebuilt" in told
    project.up()
    after = project.state()
    for name in leavers:
        assert _lasting(after[name]) == _lasting(before[name])
        assert [event.split()[1] for event in after[name]["events"]] == ["provisioned", "inGracePeriod", "provisioned"]
    assert project.calls() == calls, "nothing was asked of the host"
    assert project.machines() == machines
    _nothing_more_to_do(project)


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
    _nothing_more_to_do(project)


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
    told = _preview(project)
    over = rf"ends@contoso.example \({SMALL}\): ends now \(grace was over on [-0-9]+ [:0-9]+ UTC; "
    assert re.search(over + r"the user is no longer in the directory\): all data on it is deleted", told)
    ran = project.up()
    assert re.search(r"~ 2 updated", ran.output), ran
    assert "deleted" not in _summary(ran), "ending is an update"
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
    _finish_killed(project)
    assert set(project.statuses()) == {"returns", "stays", "new"}
    assert not [call for call in project.calls()[len(calls) :] if call == "delete ends"], "nothing is left to delete"
    [remembered] = _policy_resource(project)["ended"]
    assert remembered["key"] == f"ends/{SMALL}"
    assert remembered["deviceName"] == before["ends"]["deviceName"]
    assert "deprovisioning grace was over on" in remembered["event"]
    _nothing_more_to_do(project)

    project.directory([user("ends"), user("stays"), user("returns"), user("new")])
    project.up()
    again = project.state()["ends"]
    assert (again["status"], again["generation"]) == ("provisioned", 2)
    assert again["deviceName"] != before["ends"]["deviceName"]
    assert _policy_resource(project)["ended"] == [remembered]
    _nothing_more_to_do(project)


def test_what_never_worked_ends_without_grace(project: Project) -> None:
    project.directory([user("well"), user("bad")])
    project.host(memory_mib=1024, faults=[{"call": "start", "user": "bad", "fault": "error", "retriable": False}])
    project.up()
    project.directory([user("well"), user("bad"), user("late", BIG)])
    project.up()
    assert project.statuses() == {"well": "provisioned", "bad": "failed", "late": "pendingProvision"}
    project.directory([user("well")])
    told = _preview(project)
    assert f"bad@contoso.example ({SMALL}): failed, and ends (the user is no longer in the directory)" in told
    assert f"late@contoso.example ({BIG}): pendingProvision, and ends (the user is no longer in the directory)" in told
    project.up()
    assert project.statuses() == {"well": "provisioned", "bad": "deprovisioning", "late": "deprovisioning"}
    assert "statusDetail" not in project.state()["bad"]
    project.up()
    assert project.statuses() == {"well": "provisioned"}
    _nothing_more_to_do(project)


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
    assert "not removed whole, tried again by each run: its machine on host: injected fault in delete" in ran.output
    assert "Traceback" not in ran.output
    state = project.state()
    assert {name: outputs["status"] for name, outputs in state.items()} == {
        "well": "provisioned", "new": "provisioned", "stuck": "deprovisioning", "broken": "deprovisioning",
    }  # fmt: skip
    assert state["stuck"]["leftovers"] == ["its machine on host: injected fault in delete"]
    assert "a bug in delete" in state["broken"]["leftovers"][0]

    told = _preview(project)
    for name in ("stuck", "broken"):
        assert f"{name}@contoso.example ({SMALL}): could not be removed whole yet, tried again: its machine" in told
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
    _nothing_more_to_do(project)


# ---- plans


def test_each_service_plan_is_a_cloud_pc_of_its_own(project: Project) -> None:
    project.directory([user("both", SMALL, BIG), user("swaps", SMALL)])
    project.policy(gracePeriodInHours=0)
    project.up()
    before = project.state()

    project.directory([user("both", BIG), user("swaps", BIG)])
    told = _preview(project)
    assert f"both@contoso.example ({SMALL}): grace until" in told
    assert f"swaps@contoso.example ({SMALL}): grace until" in told
    assert f"both@contoso.example ({BIG})" not in told
    assert f"swaps@contoso.example ({BIG}): is to get a new Cloud PC" in told
    project.up()
    state = project.state()
    assert {key: outputs["status"] for key, outputs in state.items()} == {
        f"both/{SMALL}": "inGracePeriod", f"both/{BIG}": "provisioned",
        f"swaps/{SMALL}": "inGracePeriod", f"swaps/{BIG}": "provisioned",
    }  # fmt: skip
    assert state[f"both/{BIG}"] == before[f"both/{BIG}"]
    assert state[f"swaps/{BIG}"]["deviceName"] != state[f"swaps/{SMALL}"]["deviceName"]
    assert state[f"swaps/{BIG}"]["servicePlan"]["vCpuCount"] == 2
    project.up()
    project.up()
    assert project.state() == {"both": before[f"both/{BIG}"], "swaps": state[f"swaps/{BIG}"]}
    assert {m["size"]["vcpus"] for m in project.machines().values()} == {2}
    assert len(list((project.root / "host" / "machines").glob("*.json"))) == 2
    _nothing_more_to_do(project)


# ---- policies


def test_no_edit_of_the_policy_changes_an_existing_one_and_the_next_new_one_follows_it(project: Project) -> None:
    project.directory([user("well"), user("bad"), user("leaves")])
    project.host(
        networks=["lab"], faults=[{"call": "start", "user": "bad", "fault": "error", "times": 1, "retriable": False}]
    )
    project.policy()
    project.up()
    project.directory([user("well"), user("bad")])
    project.up()
    before, machines = project.state(), project.machines()
    assert project.statuses() == {"well": "provisioned", "bad": "failed", "leaves": "inGracePeriod"}

    stacks = project.root / "stacks"
    (stacks / "connections").mkdir()
    (stacks / "connections" / "lab.yaml").write_text("libvirtNetwork: lab\n")
    (stacks / "more.sh").write_text("#!/bin/sh\n")
    other = project.root / "other.qcow2"
    other.write_bytes(project.image.read_bytes() + b"\0" * 512)
    edits: dict[str, Any] = {
        "displayName": "Another name",
        "description": "Another description",
        "domainJoinConfigurations": [{"domainJoinType": "azureADJoin", "onPremisesConnectionId": "lab"}],
        "imageId": "other",
        "cloudPcNamingTemplate": "%RAND:8%",
        "windowsSetting": {"locale": "de-DE"},
        "timeZone": "Europe/Berlin",
        "localAdminEnabled": True,
        "gracePeriodInHours": 1,
        "packages": ["htop"],
        "postProvisioningScript": "more.sh",
        "timeouts": {"firstBootInSeconds": 60, "setUpInSeconds": 61},
        "assignments": [{"target": {"groupId": "everybody"}}, {"target": {"groupId": "guests"}}],
    }
    fields = {field.alias for field in ProvisioningPolicy.model_fields.values()}
    assert fields - edits.keys() == {"provisioningType", "imageType"}, "one has one value, the other needs a gallery"
    project.directory([user("well"), user("bad"), user("new")], {"everybody": ["well", "bad"], "guests": ["new"]})
    project.policy(**edits)
    image = {"path": str(other), "sha256": sha256(other), "firmware": "bios"}
    _config(project, lambda config: config["cloudpc:images"].update(other=image))
    told = _preview(project, "--diff")
    assert not re.search(r"(well|bad|leaves)(/|@)", told)
    assert f"new@contoso.example ({SMALL}): is to get a new Cloud PC (image other)" in told
    assert re.search(r"\+ 1 to create\s+~ 1 to update\s+2 changes. 4 unchanged", told), told  # the policy's own entry
    project.up()
    after = project.state()
    new = after.pop("new")
    assert after == before
    assert {name: m for name, m in project.machines().items() if name != "new"} == machines
    assert new["settings"] == {
        "provisioningPolicyName": "Another name", "imageType": "custom", "imageId": "other",
        "imageDigest": image["sha256"], "networks": [{"kind": "network", "source": "lab", "connection": "lab"}],
        "locale": "de-DE", "timeZone": "Europe/Berlin", "localAdminEnabled": True, "packages": ["htop"],
        "script": {"path": "more.sh", "sha256": sha256(stacks / "more.sh")},
        "firstBootInSeconds": 60, "setUpInSeconds": 61,
    }  # fmt: skip
    assert re.fullmatch("[A-Z0-9]{8}", new["deviceName"])
    _nothing_more_to_do(project)

    _act(project, reprovision={f"well/{SMALL}": 2})
    told = _preview(project)
    assert f"well@contoso.example ({SMALL}): reprovision: all data on it is lost (image tiny -> other; other" in told
    assert "time zone UTC -> Europe/Berlin" in told


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_first_assigned_wins_and_the_other_waits_for_the_end(project: Project, order: tuple[str, str]) -> None:
    """Two policies overlap in one user; a third that has never run, and a fourth without a stack, don't count."""
    first, second = order
    members = {"left": ["in-left", "in-both"], "right": ["in-right", "in-both"]}
    people = [user(name) for name in ("in-left", "in-both", "in-right")]
    project.directory(people, members)
    (project.root / "stacks" / "Pulumi.demo.yaml").unlink()
    for name in (*order, "a-never-run", "a-without-stack"):
        _assign(project, *(members if name.startswith("a-") else [name]), policy=name, gracePeriodInHours=0)
    for name in (*order, "a-never-run"):
        project.init(name)
    project.up(first)
    project.up(second)
    assert project.statuses(first) == {f"in-{first}": "provisioned", "in-both": "provisioned"}
    assert project.statuses(second) == {f"in-{second}": "provisioned"}
    for name in order:
        _nothing_more_to_do(project, name)
    said = "ignored for this user, whom {} serves: the first assigned wins"
    assert _listed(project, "in-both") == {
        first: ("provisioned", None),
        **{name: ("notProvisioned", said.format(first)) for name in (second, "a-never-run", "a-without-stack")},
    }
    assert _listed(project, f"in-{second}")[second] == ("provisioned", None)
    assert project.cloudpc("list").output.count("in-both@") == 1 + 1  # the user, and the command to connect
    assert {who: m["tag"]["policy_id"] for who, m in project.machines().items()} == {
        f"in-{first}": first, f"in-{second}": second, "in-both": first,
    }  # fmt: skip

    # out of the first one's group: its grace first, and only after its end the other's turn
    project.directory(people, {**members, first: [f"in-{first}"]})
    project.up(first)
    project.up(second)
    assert project.statuses(first)["in-both"] == "inGracePeriod"
    assert "in-both" not in project.statuses(second)
    _nothing_more_to_do(project, second)
    waits = f"waits for the end of the one that {first} still has"
    assert _listed(project, "in-both")[second] == ("notProvisioned", waits)
    project.up(first)
    assert project.statuses(first)["in-both"] == "deprovisioning"
    project.up(second)
    assert project.statuses(second)["in-both"] == "provisioned"
    assert project.cloudpc("credentials", "in-both").code == 0, "the one that has ended is no choice"
    assert project.machines()["in-both"]["tag"]["policy_id"] == second
    # back in the first one's group, it stays where it is
    project.directory(people, members)
    project.up(first)
    assert project.statuses(first) == {f"in-{first}": "provisioned"}
    for name in order:
        _nothing_more_to_do(project, name)


def test_list_says_whose_a_user_will_be_who_has_none_yet(project: Project) -> None:
    (project.root / "stacks" / "Pulumi.demo.yaml").unlink()
    project.directory([user("u000")], {"a": [], "z": [], "never": []})
    for name in ("z", "a", "never"):
        _assign(project, name, policy=name)
        if name != "never":
            project.init(name)
            project.up(name)
    project.directory([user("u000")], {"a": ["u000"], "z": ["u000"], "never": ["u000"]})
    ignored = "ignored for this user, whom z serves: the first assigned wins"
    assert _listed(project, "u000") == {
        "z": ("notProvisioned", "entitled; the next `pulumi up` of this policy makes one"),
        "a": ("notProvisioned", ignored),
        "never": ("notProvisioned", ignored),
    }
    project.up("a")
    assert project.statuses("a") == {}
    project.up("z")
    assert project.statuses("z") == {"u000": "provisioned"}


def test_policies_that_run_at_once_for_the_first_time_never_give_two(project: Project) -> None:
    project.directory(6)
    project.policy("other")
    project.init("other")
    project.host(seconds={"claim": 0.3})
    runs = [project.start(*UP, name) for name in ("demo", "other")]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert len(project.machines()) == 6
    both = {name: project.state(name) for name in ("demo", "other")}
    for who, machine in project.machines().items():
        owner = machine["tag"]["policy_id"]
        loser = {"demo": "other", "other": "demo"}[owner]
        assert both[owner][who]["status"] == "provisioned"
        if who in both[loser]:
            assert both[loser][who]["status"] == "notProvisioned"
            assert both[loser][who]["statusDetail"]["code"] == "otherPolicyFirst"
    machines = project.machines()
    for _ in range(2):
        for name in ("demo", "other"):
            project.up(name)
    left = {name: project.statuses(name) for name in ("demo", "other")}
    assert not left["demo"].keys() & left["other"].keys()
    assert set({**left["demo"], **left["other"]}.values()) == {"provisioned"}
    assert project.machines() == machines
    for name in ("demo", "other"):
        _nothing_more_to_do(project, name)


def test_a_policy_whose_file_is_not_here_keeps_the_cloud_pcs_it_has(project: Project) -> None:
    """As on another branch: others leave its users alone, and serve only those whom it does not serve yet."""
    project.up()
    machines, state = project.machines(), project.state()
    file = project.root / "stacks" / "Pulumi.demo.yaml"
    file.rename(project.root / "elsewhere.yaml")
    project.directory(3)
    project.policy("other")
    project.init("other")
    project.up("other")
    assert project.statuses("other") == {"u002": "provisioned"}
    listed = json.loads(project.cloudpc("list", "--all", "--policy", "other", "--json").output)
    assert {(row["userId"], (row["statusDetail"] or {}).get("code")) for row in listed} == {
        ("u000", "otherPolicyFirst"), ("u001", "otherPolicyFirst"), ("u002", None),
    }  # fmt: skip
    found = json.loads(project.cloudpc("doctor", "--json").output)
    assert {
        "what": "policy demo", "state": "warning", "detail": "its stack has no file in stacks/",
        "hint": "bring the file back, or remove everything with `cloudpc down demo`",
    } in found  # fmt: skip

    (project.root / "elsewhere.yaml").rename(file)
    for name in ("demo", "other"):
        project.up(name)
        _nothing_more_to_do(project, name)
    assert project.state() == state
    assert {who: project.machines()[who] for who in machines} == machines


# ---- reprovision and retry


def test_reprovision_and_retry_are_lines_in_the_policys_file(project: Project) -> None:
    project.directory([user(name) for name in ("well", "remade", "retried", "remade-failed", "still-bad")])
    failing = ["retried", "remade-failed", "still-bad"]
    faults = [{"call": "wait_ready", "user": name, "fault": "error", "retriable": False} for name in failing]
    project.host(faults=faults)
    project.up()
    before, secrets, machines = project.state(), _passwords(project), project.machines()
    assert {n for n, o in before.items() if o["status"] == "failed"} == set(failing)

    project.host(faults=[faults[2] | {"retriable": True}])
    _act(
        project,
        reprovision={f"remade/{SMALL}": 2, f"remade-failed/{SMALL}": 2, f"well/{SMALL}": 1},
        retry={f"retried/{SMALL}": 1, f"still-bad/{SMALL}": 1, f"well/{SMALL}": 1},
    )
    told = _preview(project)
    for name, lost in (("remade", "all data on it"), ("remade-failed", "no data")):
        assert f"{name}@contoso.example ({SMALL}): reprovision: {lost} is lost" in told
    for name in ("retried", "still-bad"):
        assert f"{name}@contoso.example ({SMALL}): failed; tried again, three attempts" in told
    assert "well@" not in told
    project.up()
    state = project.state()
    assert {name: outputs["status"] for name, outputs in state.items()} == {
        "well": "provisioned", "remade": "provisioned", "retried": "provisioned", "remade-failed": "provisioned",
        "still-bad": "failed",
    }  # fmt: skip
    assert state["well"] == before["well"]
    assert state["still-bad"]["attempts"] == 3
    assert state["retried"]["deviceName"] == before["retried"]["deviceName"]
    for name in ("remade", "remade-failed"):
        assert state[name]["deviceName"] != before[name]["deviceName"]
        assert state[name]["generation"] == 2
    assert state["remade"]["events"][:-1] == before["remade"]["events"]
    after = project.machines()
    assert after["remade"]["id"] == machines["remade"]["id"]
    assert after["remade"]["tag"]["generation"] == 2
    assert _passwords(project)["remade"] != secrets["remade"]
    assert {m["tag"]["phase"] for m in after.values()} == {"handedOver"}
    assert len(after) == 4
    assert project.leaks() == []
    calls = project.calls()
    _nothing_more_to_do(project)
    project.up()
    assert project.calls() == calls

    # lower than in state is told and ignored
    _act(project, reprovision={f"remade/{SMALL}": 1})
    ran = project.up()
    ignored = f"remade@contoso.example ({SMALL}): reprovision generation 1 in cloudpc:actions is ignored: state is at 2"
    assert re.search(rf"warning: {re.escape(ignored)}", ran.output), ran
    assert project.calls() == calls


def test_a_reprovision_asked_for_in_grace_is_over_when_its_user_comes_back(project: Project) -> None:
    project.up()
    before, machines = project.state(), project.machines()
    project.directory(1)
    project.up()
    project.directory(2)
    _act(project, reprovision={f"u001/{SMALL}": 2})
    assert (
        f"u001@contoso.example ({SMALL}): entitled again: the grace period is over, nothing is rebuilt; "
        "the reprovision asked for before (generation 2) is over"
    ) in _preview(project)
    project.up()
    restored = _lasting(project.state()["u001"])
    assert restored.pop("waivedGeneration") == 2
    assert restored == _lasting(before["u001"])
    _nothing_more_to_do(project)
    project.up()
    assert project.machines() == machines
    ran = project.cloudpc("reprovision", "u001", "--yes")
    assert ran.code == 0, ran
    assert project.state()["u001"]["generation"] == 3
    assert project.state()["u001"]["deviceName"] != before["u001"]["deviceName"]
    assert "waivedGeneration" not in project.state()["u001"]
    _nothing_more_to_do(project)


def test_a_reprovision_that_fails_waits_for_somebody_to_ask_again(project: Project) -> None:
    """Whatever retries were asked for before it."""
    project.up()
    _act(project, retry={f"u000/{SMALL}": 3}, reprovision={f"u000/{SMALL}": 2})
    project.host(faults=[{"call": "start", "user": "u000", "fault": "error", "retriable": False}])
    project.up()
    assert project.statuses() == {"u000": "failed", "u001": "provisioned"}
    assert "u000" not in project.machines()
    project.host()
    _nothing_more_to_do(project)
    project.up()
    assert project.statuses()["u000"] == "failed"
    _act(project, retry={f"u000/{SMALL}": 4}, reprovision={f"u000/{SMALL}": 2})
    project.up()
    assert project.statuses()["u000"] == "provisioned"


def test_a_reprovision_that_cannot_end_well_takes_nothing_away(project: Project) -> None:
    """What would fail on any host is looked at while the machine is still there."""
    project.up()
    machines, disks = project.machines(), sorted((project.root / "host").glob("*.qcow2"))
    large = project.root / "large.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(large), "9G"], check=True)
    other = {"path": str(large), "firmware": "bios"}
    for sha, why in (("0" * 64, "has the SHA-256"), (sha256(large), "the service plan gives 8 GB")):
        project.policy(imageId="other")
        _config(project, lambda config, sha=sha: config["cloudpc:images"].update(other={**other, "sha256": sha}))
        ran = project.cloudpc("reprovision", "u000", "--yes")
        assert ran.code == 1, ran
        assert "not reprovisioned, its machine is untouched: " in ran.output
        assert why in ran.output
        assert project.machines() == machines
        assert sorted((project.root / "host").glob("*.qcow2")) == disks
        assert set(project.statuses().values()) == {"provisioned"}
    asked = yaml.safe_load((project.root / "stacks" / "Pulumi.demo.yaml").read_text())["config"]["cloudpc:actions"]
    project.policy()
    _config(project, lambda config: config.update({"cloudpc:actions": asked}))
    project.up()
    assert project.machines()["u000"]["tag"]["generation"] == 2
    assert project.state()["u000"]["events"][-1].partition("provisioned ")[2].startswith("reprovision, generation 2 as")
    _nothing_more_to_do(project)


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        ("kill-engine", ["delete", "create_disk", "wait_ready", "finished ready", "finish handedOver"]),
        ("kill", ["delete", "claim", "finish ready", "finish handedOver"]),
    ],
)
def test_a_reprovision_that_was_killed_is_finished_by_the_next_run(
    project: Project, fault: str, calls: list[str]
) -> None:
    project.up()
    names = {project.state()["u000"]["deviceName"]}
    other = project.state()["u001"]
    for generation, call in enumerate(calls, start=2):
        _act(project, reprovision={f"u000/{SMALL}": generation})
        project.host(faults=[{"call": call, "fault": fault, "times": 1, "user": "u000"}])
        killed = project.pulumi(*UP, "demo")
        assert killed.code != 0, (call, killed)
        _finish_killed(project)
        state, machine = project.state(), project.machines()["u000"]
        assert state["u001"] == other
        assert (state["u000"]["status"], state["u000"]["generation"]) == ("provisioned", generation), call
        assert (machine["tag"]["generation"], machine["tag"]["phase"]) == (generation, "handedOver"), call
        assert machine["tag"]["device_name"] == state["u000"]["deviceName"] not in names
        secret = json.loads(project.cloudpc("credentials", "u000", "--json").output)["password"]
        assert _passwords(project)["u000"] == f"u000:{secret}"
        names.add(state["u000"]["deviceName"])
        assert len(project.machines()) == 2
        assert project.leaks() == []
    _nothing_more_to_do(project)


def test_a_retry_that_was_killed_is_finished_by_the_next_run(project: Project) -> None:
    project.host(faults=[{"call": "start", "user": "u000", "fault": "error", "retriable": False}])
    project.up()
    _act(project, retry={f"u000/{SMALL}": 1})
    project.host(faults=[{"call": "wait_ready", "user": "u000", "fault": "kill-engine", "times": 1}])
    assert project.pulumi(*UP, "demo").code != 0
    _finish_killed(project)
    assert set(project.statuses().values()) == {"provisioned"}
    assert set(project.machines()) == {"u000", "u001"}
    _nothing_more_to_do(project)


def test_a_killed_reprovision_that_nobody_wants_any_more_leaves_no_half_made_machine(project: Project) -> None:
    """Its data is gone, which is told; the half of its successor is nobody's, and must not be handed over."""
    project.up()
    _act(project, reprovision={f"u000/{SMALL}": 2})
    project.host(faults=[{"call": "wait_ready", "user": "u000", "fault": "kill-engine", "times": 1}])
    assert project.pulumi(*UP, "demo").code != 0
    _no_provider(project, kill=True)
    assert project.machines()["u000"]["tag"]["phase"] == "provisioning"
    _act(project)
    assert project.cloudpc("up", "demo", "--clear-lock").code == 3
    assert set(project.machines()) == {"u001"}
    assert project.state()["u000"]["statusDetail"]["code"] == "machineLost"
    _act(project, reprovision={f"u000/{SMALL}": 2})
    project.up()
    assert project.statuses() == {"u000": "provisioned", "u001": "provisioned"}
    assert project.machines()["u000"]["tag"]["generation"] == 2


def test_who_returns_to_a_machine_that_a_killed_reprovision_has_taken_is_told_at_once(project: Project) -> None:
    project.up()
    _act(project, reprovision={f"u001/{SMALL}": 2})
    project.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "kill-engine", "times": 1}])
    assert project.pulumi(*UP, "demo").code != 0
    _no_provider(project, kill=True)
    project.directory(1)
    project.host(faults=[{"call": "overview", "fault": "error"}])
    assert project.cloudpc("up", "demo", "--clear-lock").code == 0
    assert project.statuses()["u001"] == "inGracePeriod"
    project.directory(2)
    project.up()
    state = project.state()["u001"]
    assert (state["status"], state["statusDetail"]["code"]) == ("failed", "machineLost")
    project.host()
    assert project.cloudpc("reprovision", "u001", "--yes").code == 0
    assert project.statuses()["u001"] == "provisioned"
    assert set(project.machines()) == {"u000", "u001"}
    _nothing_more_to_do(project)


# ---- nothing is taken away by mistake


def test_a_mass_loss_stops_until_somebody_names_the_number(project: Project) -> None:
    project.directory(5)
    project.up()
    before, calls = project.state(), project.calls()
    project.directory(2)
    for ran in (
        project.pulumi("preview", "--stack", "demo"),
        project.pulumi(*UP, "demo"),
        project.pulumi(*UP, "demo", CLOUDPC_ACCEPT_LOSS="2"),
    ):
        assert ran.code != 0, ran
        assert "3 of 5 Cloud PCs of this policy would enter their grace period because of the directory" in ran.output
        assert "CLOUDPC_ACCEPT_LOSS=3" in ran.output
        assert "Traceback" not in ran.output
    assert project.state() == before
    assert project.calls() == calls
    _config(project, lambda config: config.update({"cloudpc:safety": {"massLossInPercent": 60}}))
    assert "grace until" in _preview(project)
    _config(project, lambda config: config.pop("cloudpc:safety"))
    project.up(CLOUDPC_ACCEPT_LOSS="3")
    assert sorted(project.statuses().values()) == ["inGracePeriod"] * 3 + ["provisioned"] * 2
    _nothing_more_to_do(project)
    project.directory(0)
    project.up()  # two more are few enough
    assert set(project.statuses().values()) == {"inGracePeriod"}


def test_taking_an_assignment_away_is_no_mass_loss(project: Project) -> None:
    project.directory(4)
    project.up()
    project.policy(assignments=[])
    told = _preview(project)
    assert told.count("(the policy is no longer assigned to Everybody)") >= 4
    project.up()
    assert set(project.statuses().values()) == {"inGracePeriod"}
    _nothing_more_to_do(project)


def test_an_unassignment_whose_run_was_killed_is_still_no_mass_loss(project: Project, tmp_path: Path) -> None:
    """Killed after the policy's own entry was recorded, and before any Cloud PC's: the groups are in no state."""
    everyone = [f"u{i:03}" for i in range(4)]
    project.directory([user(u) for u in everyone], {"everybody": everyone, "others": ["u000"]})
    _assign(project, "everybody", "others")
    project.up()
    before = _exported(project)
    _assign(project, "others")
    project.up()
    killed = _exported(project)
    resources = {r["urn"]: r for r in before["deployment"]["resources"]}
    for resource in killed["deployment"]["resources"]:
        if resource["type"].endswith("cloudpc:CloudPC"):
            resource |= resources[resource["urn"]]
    file = tmp_path / "killed.json"
    file.write_text(json.dumps(killed))
    assert project.pulumi("stack", "import", "--stack", "demo", "--file", str(file)).code == 0
    assert set(project.statuses().values()) == {"provisioned"}
    project.up()
    assert sorted(project.statuses().values()) == ["inGracePeriod"] * 3 + ["provisioned"]
    _nothing_more_to_do(project)
    _assign(project, "everybody")
    project.up()
    _nothing_more_to_do(project)
    project.directory([user(u) for u in everyone], {"everybody": ["u000"], "others": ["u000"]})
    assert "3 of 4 Cloud PCs" in project.pulumi(*UP, "demo").output, "this time it is the directory"


@pytest.mark.parametrize("broken", ["users: [", "users: none\n", None, "users: []\ngroups: []\nservicePlans: []\n"])
def test_a_directory_that_says_nothing_useful_stops_the_run(project: Project, broken: str | None) -> None:
    project.up()
    before = project.state()
    file = project.root / "stacks" / "directory.yaml"
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)
    ran = project.pulumi(*UP, "demo")
    assert ran.code != 0
    assert "directory.yaml" in ran.output
    assert "Traceback" not in ran.output
    assert project.state() == before


def test_destroy_is_refused_in_every_form_whatever_the_status(project: Project) -> None:
    """One provisioned, one in grace; assigned, and assigned to nobody, when the policy's memory must stay as well."""
    project.policy()
    project.up()
    project.directory(1)
    project.up()
    forms = [
        [],
        ["--skip-preview"],
        ["--skip-preview", "--continue-on-error"],
        ["--exclude-protected"],
        ["--skip-preview", "--target", "**u001**"],
        ["--run-program"],
        ["--remove"],
    ]
    for assigned in (True, False):
        if not assigned:
            project.policy(assignments=[])
            project.up()
        before, policy = project.state(), _policy_resource(project)
        assert before["u001"]["status"] == "inGracePeriod"
        for options in forms:
            ran = project.pulumi("destroy", "--yes", "--stack", "demo", *options)
            assert ran.code != 0 or "--exclude-protected" in options, (options, ran)
            assert "protected" in ran.output, (options, ran)
            assert project.state() == before, (options, ran)
            assert _policy_resource(project) == policy, (options, ran)
    assert project.pulumi("state", "unprotect", "--all", "--yes", "--stack", "demo").code == 0
    ran = project.pulumi("destroy", "--yes", "--skip-preview", "--stack", "demo")
    assert ran.code != 0
    assert "of u001@contoso.example is inGracePeriod" in ran.output
    assert set(project.machines()) == {"u000", "u001"}
    assert not [call for call in project.calls() if call.startswith("delete")]


# ---- drift


@pytest.mark.parametrize("at_once", [True, False], ids=["up --refresh", "refresh, up"])
def test_what_was_stopped_by_hand_is_started(project: Project, at_once: bool) -> None:
    """Also one in grace, which is to keep working."""
    project.up()
    project.directory(1)
    project.up()
    before = project.state()
    for name in ("u000", "u001"):
        _by_hand(project, name, power="stopped")
    if not at_once:
        assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
        assert {o["powerState"] for o in project.state().values()} == {"poweredOff"}
        told = _preview(project)
        for name in ("u000", "u001"):
            assert f"{name}@contoso.example ({SMALL}): is off, and is started" in told
    ran = project.up() if not at_once else project.pulumi(*UP, "demo", "--refresh")
    assert ran.code == 0, ran
    assert ran.output.count("was off, started on host") >= 2
    assert {m["power"] for m in project.machines().values()} == {"running"}
    after = project.state()
    for name, outputs in after.items():
        assert _lasting(outputs) == _lasting(before[name])
        assert outputs["events"][-1].endswith("was off, started")
    _nothing_more_to_do(project)


def test_one_that_is_off_and_has_no_disk_is_lost(project: Project) -> None:
    project.up()
    _by_hand(project, "u001", power="stopped")
    disk = project.root / "host" / f"{project.machines()['u001']['name']}.qcow2"
    disk.rename(project.root / "elsewhere")
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    detail = project.state()["u001"]["statusDetail"]
    assert (detail["code"], detail["message"]) == (
        "machineLost", "its machine is defined on host, but its disk is not there",
    )  # fmt: skip
    (project.root / "elsewhere").rename(disk)
    assert project.pulumi(*UP, "demo", "--refresh").code == 0
    project.up()
    assert project.statuses()["u001"] == "provisioned"
    assert project.machines()["u001"]["power"] == "running"


def test_one_that_does_not_start_fails_nobody(project: Project) -> None:
    project.up()
    for name in ("u000", "u001"):
        _by_hand(project, name, power="stopped")
    project.host(
        faults=[
            {"call": "power_on", "user": "u000", "fault": "error"},
            {"call": "power_on", "user": "u001", "fault": "crash"},
        ]
    )
    project.directory(3)
    ran = project.pulumi(*UP, "demo", "--refresh")
    assert ran.code == 0, ran
    assert ran.output.count("it is off and could not be started") >= 2
    assert set(project.statuses().values()) == {"provisioned"}
    project.host()
    project.up()
    assert {m["power"] for m in project.machines().values()} == {"running"}
    _nothing_more_to_do(project)


@pytest.mark.parametrize("at_once", [True, False], ids=["up --refresh", "refresh, up"])
def test_a_lost_machine_is_told_and_made_again_only_by_reprovision(project: Project, at_once: bool) -> None:
    project.up()
    _machine_file(project, "u000").unlink()
    for _ in range(2):
        if not at_once:
            assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
        ran = project.pulumi(*UP, "demo", *(["--refresh"] if at_once else []))
        assert ran.code == 0, ran
    state = project.state()
    assert project.statuses() == {"u000": "failed", "u001": "provisioned"}
    assert state["u000"]["statusDetail"]["code"] == "machineLost"
    assert len(state["u000"]["events"]) == 2, "it is told once"
    assert set(project.machines()) == {"u001"}
    [disk] = project.leaks()
    assert f"its disk is there ({disk})" in state["u000"]["statusDetail"]["message"]
    doctor = project.cloudpc("doctor", "--remove-leftovers", "--yes")
    assert f"volume {disk} is of a Cloud PC in state" in doctor.output
    assert project.leaks() == [disk], "it may be defined again"

    _act(project, retry={f"u000/{SMALL}": 1})
    told = _preview(project)
    assert "its machine is lost: `cloudpc reprovision` makes a new one, a retry doesn't" in told
    project.up()
    assert set(project.machines()) == {"u001"}
    _act(project, retry={f"u000/{SMALL}": 1}, reprovision={f"u000/{SMALL}": 2})
    project.up()
    assert project.statuses() == {"u000": "provisioned", "u001": "provisioned"}
    assert "statusDetail" not in project.state()["u000"]
    _nothing_more_to_do(project)


@pytest.mark.parametrize("was", ["provisionedWithWarnings", "inGracePeriod"])
def test_a_lost_machine_that_comes_back_is_what_it_was(project: Project, was: str) -> None:
    if was == "provisionedWithWarnings":
        _warn(project)
    project.up()
    if was == "inGracePeriod":
        project.directory(1)
        project.up()
    before = project.state()["u001"]
    assert before["status"] == was
    with _taken_away(project, "u001"):
        assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
        assert project.state()["u001"]["statusDetail"]["code"] == "machineLost"
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    after = project.state()["u001"]
    assert _lasting(after) == _lasting(before)
    assert [event.split(" ", 1)[1] for event in after["events"][-2:]] == [
        "failed machineLost", f"{was} its machine is back",
    ]  # fmt: skip
    _nothing_more_to_do(project)


def test_one_whose_user_leaves_while_it_is_lost_has_its_grace_like_any_other(project: Project) -> None:
    """Its disk may be there, and somebody who defines the machine again: until then it is kept, and then it goes."""
    project.directory(3)
    project.up()
    machines = project.machines()
    with _taken_away(project, "u001"):
        _machine_file(project, "u002").unlink()
        assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
        disks = project.leaks()
        assert len(disks) == 2
        project.directory(1)
        assert _preview(project).count("(the user is no longer in the directory)") >= 2
        project.up()
        lost = project.state()
        assert {lost[name]["status"] for name in ("u001", "u002")} == {"failed"}
        _nothing_more_to_do(project)
        assert project.leaks() == disks
    assert project.pulumi(*UP, "demo", "--refresh").code == 0
    assert project.statuses() == {"u000": "provisioned", "u001": "inGracePeriod", "u002": "failed"}
    assert project.state()["u001"]["gracePeriodEndDateTime"] == lost["u001"]["gracePeriodEndDateTime"]
    _nothing_more_to_do(project)

    project.directory(3)
    project.up()
    assert project.statuses() == {"u000": "provisioned", "u001": "provisioned", "u002": "failed"}
    assert project.machines() == {name: machines[name] for name in ("u000", "u001")}
    assert "gracePeriodEndDateTime" not in project.state()["u002"]
    _nothing_more_to_do(project)
    project.directory(2)
    project.up()
    assert project.cloudpc("end-grace", "u002", "--yes").code == 0
    assert project.leaks() == [], "with the end of its grace its disk goes"
    project.up()
    assert project.statuses() == {"u000": "provisioned", "u001": "provisioned"}
    _nothing_more_to_do(project)


def test_lost_ones_count_where_many_are_lost_by_the_directory(project: Project) -> None:
    project.directory(4)
    project.up()
    for name in ("u001", "u002", "u003"):
        _machine_file(project, name).unlink()
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    project.directory(1)
    ran = project.pulumi(*UP, "demo")
    assert ran.code != 0
    assert "3 of 4 Cloud PCs of this policy would enter their grace period because of the directory" in ran.output


def test_a_lost_one_whose_hand_over_was_missed_is_no_unfinished_one(project: Project) -> None:
    project.host(faults=[{"call": "finish handedOver", "user": "u001", "fault": "error"}])
    project.up()
    assert project.machines()["u001"]["tag"]["phase"] == "ready"
    with _taken_away(project, "u001"):
        assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    project.host()
    project.up()
    assert set(project.machines()) == {"u000", "u001"}
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    assert set(project.statuses().values()) == {"provisioned"}


def test_one_that_was_changed_by_hand_is_told(project: Project) -> None:
    """And what it was told before is told again once it is put right."""
    _warn(project)
    project.up()
    before, size = project.state()["u000"], project.machines()["u000"]["size"]
    assert before["status"] == "provisionedWithWarnings"
    _by_hand(project, "u000", size={**size, "vcpus": 4})
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    outputs = project.state()["u000"]
    assert outputs["status"] == "provisionedWithWarnings"
    assert outputs["statusDetail"]["code"] == "machineChanged"
    assert outputs["statusDetail"]["message"] == "its machine has 4 vCPU and 512 MiB, the service plan 1 and 512"
    _nothing_more_to_do(project)
    _by_hand(project, "u000", size={**size, "vcpus": 3})
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    assert "has 3 vCPU" in project.state()["u000"]["statusDetail"]["message"]
    _by_hand(project, "u000", size=size)
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    assert _lasting(project.state()["u000"]) == _lasting(before)


def test_one_that_was_fine_before_it_was_changed_by_hand_is_fine_again(project: Project) -> None:
    project.up()
    before, size = project.state()["u000"], project.machines()["u000"]["size"]
    for changed, status in (({**size, "vcpus": 4}, "provisionedWithWarnings"), (size, "provisioned")):
        _by_hand(project, "u000", size=changed)
        assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
        assert project.statuses()["u000"] == status
    assert _lasting(project.state()["u000"]) == _lasting(before)


# ---- renamed users


def test_a_renamed_user_is_told_and_remembered_under_the_new_name(project: Project) -> None:
    project.policy(gracePeriodInHours=0)
    project.up()
    before = project.state()
    married = user("u001", userPrincipalName="u001.married@contoso.example")
    project.directory([user("u000"), married])
    _nothing_more_to_do(project)
    project.directory([user("u000"), married], {"everybody": ["u000"]})
    assert f"u001.married@contoso.example ({SMALL}): grace until" in _preview(project)
    project.up()
    assert project.state()["u001"]["userPrincipalName"] == "u001.married@contoso.example"
    project.directory([user("u000")])  # whose name only state knows now
    assert f"u001.married@contoso.example ({SMALL}): ends now" in _preview(project)
    project.up()
    project.up()
    [remembered] = _policy_resource(project)["ended"]
    assert remembered["userPrincipalName"] == "u001.married@contoso.example"
    assert remembered["deviceName"] == before["u001"]["deviceName"]


# ---- words for the above


def _config(project: Project, change: Callable[[dict[str, Any]], object], stack: str = "demo") -> None:
    path = project.root / "stacks" / f"Pulumi.{stack}.yaml"
    content = yaml.safe_load(path.read_text())
    change(content["config"])
    path.write_text(yaml.safe_dump(content))


def _act(project: Project, **actions: dict[str, int]) -> None:
    """What a pull request does instead of our commands."""
    _config(project, lambda config: config.update({"cloudpc:actions": actions}))


def _assign(project: Project, *groups: str, policy: str = "demo", **changes: Any) -> None:
    project.policy(policy, assignments=[{"target": {"groupId": group}} for group in groups], **changes)


def _preview(project: Project, *options: str, stack: str = "demo") -> str:
    """What a preview says; it touches nothing."""
    calls = project.calls()
    ran = project.pulumi("preview", "--stack", stack, *options)
    assert ran.code == 0, ran
    assert project.calls() == calls
    return ran.output


def _nothing_more_to_do(project: Project, stack: str = "demo") -> None:
    told = _preview(project, stack=stack)
    assert "@contoso.example" not in told
    assert re.fullmatch(r"Resources:\s+\d+ unchanged", told[told.index("Resources:") :].strip()), told


def _listed(project: Project, who: str) -> dict[str, tuple[str, str | None]]:
    """What `list --all` says of a user: status and why, by policy."""
    rows = [row for row in json.loads(project.cloudpc("list", "--all", "--json").output) if row["userId"] == who]
    found = {row["policy"]: (row["status"], (row["statusDetail"] or {}).get("message")) for row in rows}
    assert len(found) == len(rows), rows
    return found


def _summary(ran: Ran) -> str:
    return ran.output[ran.output.index("Resources:") :]


def _exported(project: Project, stack: str = "demo") -> dict[str, Any]:
    exported: dict[str, Any] = json.loads(project.pulumi("stack", "export", "--stack", stack).output)
    return exported


def _policy_resource(project: Project, stack: str = "demo") -> dict[str, Any]:
    resources = _exported(project, stack)["deployment"]["resources"]
    [found] = [r["outputs"] for r in resources if r["type"].endswith("cloudpc:ProvisioningPolicy")]
    return dict(found)


def _lasting(outputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in outputs.items() if name not in CHANGING}


def _passwords(project: Project) -> dict[str, str]:
    """What was set in the guests."""
    folder = project.root / "host"
    return {name: (folder / f"{m['id']}.password").read_text() for name, m in project.machines().items()}


def _machine_file(project: Project, name: str) -> Path:
    return project.root / "host" / "machines" / f"{project.machines()[name]['id']}.json"


def _by_hand(project: Project, name: str, **changes: Any) -> None:
    """What somebody does to a machine past us."""
    file = _machine_file(project, name)
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@contextmanager
def _taken_away(project: Project, name: str) -> Iterator[None]:
    """Somebody undefines a machine, and defines it again afterwards."""
    file = _machine_file(project, name)
    kept = file.read_text()
    file.unlink()
    yield
    file.write_text(kept)


def _warn(project: Project) -> None:
    """Have what follows be provisioned with warnings: its script fails."""
    (project.root / "stacks" / "fails.sh").write_text("#!/bin/sh\n")
    project.policy(postProvisioningScript="fails.sh")
    project.host(exit_code=1)


def _no_provider(project: Project, *, kill: bool = False) -> None:
    for pid in project.processes(b"cloudpc.iac.plugin_process") if kill else []:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not project.processes(b"cloudpc.iac.plugin_process"), 60, "the provider outlived the engine")


def _finish_killed(project: Project) -> None:
    """The run after one that was killed."""
    _no_provider(project)
    ran = project.cloudpc("up", "demo", "--clear-lock")
    assert ran.code == 0, ran
