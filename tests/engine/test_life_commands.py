"""The commands that act on Cloud PCs and policies: what each does, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
import yaml

from cloudpc.cli.run import duration
from cloudpc.images import builder, gallery
from tests.support import qcow2
from tests.support.project import UP, Project, Ran, user
from tests.support.waiting import wait_until

pytestmark = pytest.mark.engine


# ---- up


def test_policies_run_side_by_side_with_the_name_before_each_line(project: Project) -> None:
    project.directory(
        [user("u000"), user("u001"), user("u002")], {"first": ["u000"], "second": ["u001"], "third": ["u002"]}
    )
    project.policy(assignments=_to("first"))
    for name in ("second", "third"):
        project.policy(name, assignments=_to(name))
    project.host(seconds={"wait_ready": 2.0})
    ran = project.cloudpc("up", "--at-once", "2")
    assert ran.code == 0, ran
    runs, _, shown = ran.output.partition("\nUSER")
    assert {line.partition(" |")[0].strip() for line in runs.splitlines() if line} == {"demo", "second", "third"}
    assert "second | Updating (second)" in runs
    assert "u002@contoso.example" in shown
    assert project.most_at_once("wait_ready") == 2, "so many policies at once"
    salts = {yaml.safe_load(file.read_text())["encryptionsalt"] for file in (project.root / "stacks").glob("Pulumi.*")}
    assert len(salts) == 1, "so that a run derives one key for all siblings"


def test_what_is_wrong_with_one_policy_holds_up_no_other(project: Project) -> None:
    """As in a job that runs all of them: the exit code says that something is left out, and the last line why."""
    project.policy("broken", timeZone="Nowhere", cloudPcNamingTemplate="")
    project.policy("second", timeZone="Nowhere")
    (project.root / "stacks" / "Pulumi.third.yaml").write_text("")
    ran = project.cloudpc("up")
    assert ran.code == 1, ran
    assert set(project.statuses().values()) == {"provisioned"}
    for told in (ran.output.partition("Updating")[0], ran.output.rpartition("STATUS")[2]):
        assert "left out: broken: its configuration is wrong:\n" in told
        assert "left out: second: its configuration is wrong:\n" in told
        assert "stacks/Pulumi.third.yaml: config: is required" in told
    alone = project.cloudpc("up", "broken", "third")
    assert alone.code == 2, alone
    assert "the configuration has 3 problems; nothing was touched" in alone.output
    doctor = json.loads(project.cloudpc("doctor", "--json").output)
    wrong = {finding["what"] for finding in doctor if finding["state"] == "failed"}
    assert wrong == {"policy broken", "policy second", "policy third"}, "and all the rest is looked at, too"


def test_exit_code_3_is_for_those_that_failed_in_this_run(project: Project) -> None:
    project.host(faults=[{"call": "start", "user": "u001", "fault": "error", "retriable": False}])
    assert project.cloudpc("up", "demo").code == 3
    again = project.cloudpc("up", "demo")
    assert again.code == 0, again
    assert "stays failed" in again.output
    assert project.cloudpc("list", "--check").code == 3


def test_a_mass_loss_needs_a_yes_that_names_the_number(project: Project) -> None:
    project.directory(4)
    project.up()
    project.directory([user("u000"), user("u001"), user("u002"), user("u003")], {"everybody": ["u000"]})
    refused = project.cloudpc("up", "demo")
    assert refused.code == 1
    assert "cloudpc up demo --accept-loss 3" in refused.output
    assert project.cloudpc("up", "demo", "--accept-loss", "2").code == 1
    project.policy("second", assignments=[])
    several = project.cloudpc("up", "--accept-loss", "3")
    assert several.code == 2, "a yes to one policy's number"
    assert "cloudpc up POLICY --accept-loss N" in several.output
    ran = project.cloudpc("up", "demo", "--accept-loss", "3")
    assert ran.code == 0, ran
    assert sorted(project.statuses().values()) == ["inGracePeriod"] * 3 + ["provisioned"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_policies_runs_in_an_orderly_way(project: Project, number: signal.Signals) -> None:
    """Sent to `cloudpc` alone, as a service manager does."""
    project.directory([user("u000"), user("u001")], {"first": ["u000"], "second": ["u001"]})
    project.policy(assignments=_to("first"))
    project.policy("second", assignments=_to("second"))
    project.host(faults=[{"call": "wait_ready", "fault": "hang"}])
    run = project.start_cloudpc("up")
    wait_until(lambda: {"wait_ready u000", "wait_ready u001"} <= set(project.calls()), 60, "they never booted")
    os.kill(run.pid, number)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130, output
    wait_until(lambda: not project.processes(), 60, "something outlived the command")
    assert project.machines() == {}
    assert project.leaks() == []
    assert not list((project.root / "state" / ".pulumi" / "locks").rglob("*.json"))


# ---- reprovision, retry


def test_reprovision_says_what_is_lost_and_makes_it_again(project: Project) -> None:
    path = project.policy()
    path.write_text(path.read_text().replace("config:", "config: # kept", 1))
    project.up()
    before = project.state()
    assert project.cloudpc("reprovision", "u000").code == 4, "nobody was there to say yes"
    project.policy(timeZone="Europe/Berlin")
    path.write_text(path.read_text().replace("config:", "config: # kept", 1))
    ran = project.cloudpc("reprovision", "u000", "--yes")
    assert ran.code == 0, ran
    told = ran.output.partition("Updating")[0]
    assert "All data on 1 Cloud PC will be lost" in told
    assert before["u000"]["deviceName"] in told
    assert "time zone UTC -> Europe/Berlin" in told
    after = project.state()
    assert after["u000"]["generation"] == 2
    assert after["u000"]["deviceName"] != before["u000"]["deviceName"]
    assert after["u000"]["settings"]["timeZone"] == "Europe/Berlin"
    assert after["u001"] == before["u001"]
    assert _actions(project) == {"reprovision": {"u000/LAB_1C_0.5GB_8GB": 2}}
    assert "config: # kept" in path.read_text()


def test_generations_that_are_over_go_with_the_next_command(project: Project) -> None:
    """Those of Cloud PCs that have ended and come again, which nobody wrote by mistake."""
    project.policy(gracePeriodInHours=0)
    project.up()
    assert project.cloudpc("reprovision", "u000", "u001", "--yes").code == 0
    project.directory(1)
    for _ in range(3):
        project.up()
    project.directory(2)
    warned = project.up()
    assert "reprovision generation 2 in cloudpc:actions is ignored" not in warned.output, "it is new in this run"
    assert project.state()["u001"]["generation"] == 3
    warned = project.up()
    assert "reprovision generation 2 in cloudpc:actions is ignored: state is at 3" in warned.output
    assert project.cloudpc("reprovision", "u000", "--yes", "--write-only").code == 0
    assert _actions(project) == {"reprovision": {_key("u000"): 3}}
    assert "is ignored" not in project.up().output


def test_reprovision_of_many_by_what_they_are(project: Project) -> None:
    project.directory(3)
    project.host(faults=[{"call": "start", "user": "u002", "fault": "error", "retriable": False}])
    project.cloudpc("up", "demo")
    project.host()
    assert project.cloudpc("reprovision").code == 2, "whom?"
    none = project.cloudpc("reprovision", "--outdated", "--yes")
    assert (none.code, "no Cloud PC is left to do this with" in none.output) == (0, True), none
    project.policy(timeZone="Nowhere")
    for command in (["list", "--outdated"], ["reprovision", "--outdated", "--yes"]):
        unknown = project.cloudpc(*command)
        assert unknown.code in (1, 2), unknown
        assert "left out: demo, whose configuration is wrong: " in unknown.output
        assert "there is none" not in unknown.output
        assert "no Cloud PCs" not in unknown.output
    project.policy()

    for chosen, lost in ((["--failed"], {"u002"}), (["--policy", "demo"], {"u000", "u001", "u002"})):
        ran = project.cloudpc("reprovision", *chosen, "--yes", "--write-only")
        assert ran.code == 0, ran
        assert {who for who in ("u000", "u001", "u002") if f"{who}@" in ran.output} == lost
    assert _actions(project)["reprovision"] == {_key("u000"): 2, _key("u001"): 2, _key("u002"): 3}
    assert {outputs.get("generation", 1) for outputs in project.state().values()} == {1}, "only written"
    assert project.cloudpc("up").code == 0
    assert {who: outputs["generation"] for who, outputs in project.state().items()} == {"u000": 2, "u001": 2, "u002": 3}

    project.policy(localAdminEnabled=True, timeZone="Europe/Berlin")
    rows = json.loads(project.cloudpc("list", "--outdated", "--json").output)
    assert [row["outdated"] for row in rows] == [["time zone UTC -> Europe/Berlin", "other local admin"]] * 3
    assert "time zone UTC -> Europe/Berlin" in project.cloudpc("list", "--outdated").output
    ran = project.cloudpc("reprovision", "u001", "--outdated", "--yes")
    assert ran.code == 0, ran
    outdated = json.loads(project.cloudpc("list", "--outdated", "--json").output)
    assert [row["userId"] for row in outdated] == ["u000", "u002"]


def test_retry_is_for_failed_ones(project: Project) -> None:
    project.host(faults=[{"call": "start", "user": "u001", "fault": "error", "retriable": False}])
    project.cloudpc("up", "demo")
    project.host()
    refused = project.cloudpc("retry", "u000")
    assert refused.code == 2
    assert (
        "u000@contoso.example (LAB_1C_0.5GB_8GB): it is provisioned; only a Cloud PC that has failed" in refused.output
    )
    assert project.cloudpc("retry").code == 2
    written = project.cloudpc("retry", "u001", "--write-only")
    assert written.code == 0, written
    assert "cloudpc up demo" in written.output
    assert project.statuses()["u001"] == "failed"
    ran = project.cloudpc("retry", "--policy", "demo")
    assert ran.code == 0, ran
    assert "left out: u000" in ran.output
    assert set(project.statuses().values()) == {"provisioned"}
    assert _actions(project) == {"retry": {_key("u001"): 2}}
    assert project.calls().count("start u000") == 1


def test_what_failed_of_a_set_up_is_tried_again_on_the_machine_as_it_is(project: Project) -> None:
    project.policy(packages=["gti"], timeZone="Europe/Berlin")
    project.host(exit_code=100, output="E: Unable to locate package gti")
    project.up()
    before = project.state()["u000"]
    assert before["statusDetail"]["additionalInformation"]["failed"] == "timeZoneFailed packagesFailed"
    project.host(exit_code=100, output="E: still no way to the mirror")
    project.policy(packages=["git"])
    still = project.cloudpc("retry", "u000")
    assert (still.code, "still fails: packages git" in still.output) == (0, True), still
    assert project.statuses() == {"u000": "provisionedWithWarnings", "u001": "provisionedWithWarnings"}
    assert project.cloudpc("up", "demo").code == 0
    project.host()
    asked = project.calls().count("run u000")
    again = project.cloudpc("retry", "u000")
    assert (again.code, "the failed parts of its set-up are repeated on its machine" in again.output) == (0, True), (
        again
    )
    after = project.state()["u000"]
    assert after["status"] == "provisioned"
    assert "statusDetail" not in after
    assert after["settings"]["packages"] == ["git"]
    assert (after["deviceName"], after["hostKey"]) == (before["deviceName"], before["hostKey"])
    assert project.calls().count("run u000") == asked + 1, "UTC, as the policy says today, is nothing to do"
    assert [call for call in project.calls() if call in ("start u000", "delete u000")] == ["start u000"]
    assert project.cloudpc("retry", "u000").code == 2


def test_a_machine_in_trouble_keeps_what_it_has_and_its_set_up_is_tried_by_the_next_run(project: Project) -> None:
    project.policy(packages=["git"])
    project.host(exit_code=100)
    project.up()
    project.host(faults=[{"call": "run", "user": "u000", "fault": "error"}])
    ran = project.cloudpc("retry", "u000")
    assert (ran.code, "not done for u000@contoso.example" in ran.output) == (1, True), ran
    assert project.statuses()["u000"] == "provisionedWithWarnings"
    project.host()
    project.up()
    assert project.statuses() == {"u000": "provisioned", "u001": "provisionedWithWarnings"}


def test_a_machine_goes_on_with_another_builds_kernel(project: Project, built: Callable[[str], None]) -> None:
    built("first")
    project.policy(imageType="gallery", imageId="micro")
    project.up()
    before = project.state()["u000"]
    assert "it already has the kernel of the current build of micro" in project.cloudpc("update-kernel", "u000").output
    built("second")
    project.host(faults=[{"call": "update_kernel", "user": "u000", "fault": "error", "times": 1}])
    ran = project.cloudpc("update-kernel", "u000")
    assert (ran.code, "keeps its kernel; the next run tries again" in ran.output) == (1, True), ran
    project.up()
    after = project.state()["u000"]
    assert after["kernelGeneration"] == 1
    assert after["kernelDigest"] not in ("", before["settings"]["imageDigest"])
    for name in ("settings", "deviceName", "status"):
        assert after[name] == before[name]
    assert len(list((project.root / "host").glob("*.kernel"))) == 1, "only where somebody asked for it"
    rows = json.loads(project.cloudpc("list", "--outdated", "--json").output)
    newer = "a newer build of image micro"
    assert [row["outdated"] for row in rows] == [[f"{newer}, whose kernel it was given"], [newer]]
    refused = project.cloudpc("update-kernel", "u000")
    assert (refused.code, "it already has the kernel of the current build" in refused.output) == (2, True), refused
    project.policy()
    other = project.cloudpc("update-kernel", "u000")
    assert (other.code, "it was made from the image micro" in other.output) == (2, True), other


@pytest.fixture
def built(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a build of `micro` that nobody can boot into the project's cache."""
    monkeypatch.setenv("CLOUDPC_CACHE", project.env["CLOUDPC_CACHE"])

    def build(content: str) -> None:
        recipe, images = gallery.get_recipe(project.root / "vm-images", "micro"), builder.images_folder()
        with images.locked("micro", print), images.working_folder("micro") as work:
            made = work / "made"
            made.mkdir()
            for name in (builder.DISK, builder.KERNEL, builder.INITRD):
                (made / name).write_bytes(qcow2.header() + f"{content} {name}".encode())
            images.put(f"micro-{builder.key(recipe)[:32]}", made)

    return build


def test_what_can_be_neither_reprovisioned_nor_tried_again(project: Project) -> None:
    project.directory(3)
    project.host(memory_mib=1024)
    project.up()
    waiting = next(who for who, status in project.statuses().items() if status == "pendingProvision")
    leaver, stayer = (who for who in ("u000", "u001", "u002") if who != waiting)
    project.directory([user(who) for who in (leaver, stayer, waiting)], {"everybody": [stayer, waiting]})
    refused = project.cloudpc("reprovision", leaver, "--yes")
    assert refused.code == 2
    assert "its user is no longer entitled" in refused.output
    project.up()
    file = project.policy().read_text()
    for command in ("reprovision", "retry"):
        for who, status in ((leaver, "inGracePeriod"), (waiting, "pendingProvision")):
            ran = project.cloudpc(command, who)
            assert ran.code == 2, ran
            assert f"it is {status} (" in ran.output
    ran = project.cloudpc("reprovision", stayer, "--service-plan", "LAB_9C")
    assert (ran.code, "LAB_1C_0.5GB_8GB of demo" in ran.output) == (2, True), ran

    for machine in (project.root / "host" / "machines").glob("*.json"):
        if json.loads(machine.read_text())["tag"]["user_id"] == stayer:
            machine.unlink()
    assert project.pulumi("refresh", "--yes", "--skip-preview", "--stack", "demo").code == 0
    assert project.state()[stayer]["statusDetail"]["code"] == "machineLost"
    lost = project.cloudpc("retry", stayer)
    assert lost.code == 2
    assert "`cloudpc reprovision` makes a new one" in lost.output
    assert (project.root / "stacks" / "Pulumi.demo.yaml").read_text() == file, "a refusal writes nothing"
    project.host()  # room for the waiting one as well
    assert project.cloudpc("reprovision", stayer, "--yes").code == 0
    assert project.statuses()[stayer] == "provisioned"


def test_one_of_a_users_service_plans(project: Project) -> None:
    project.directory([user("u000", "LAB_1C_0.5GB_8GB", "LAB_2C_1GB_8GB")])
    project.up()
    ran = project.cloudpc("reprovision", "u000", "--service-plan", "LAB_2C_1GB_8GB", "--yes", "--write-only")
    assert ran.code == 0, ran
    assert _actions(project) == {"reprovision": {"u000/LAB_2C_1GB_8GB": 2}}


def test_users_are_found_by_ids_of_any_kind(project: Project) -> None:
    ids = ["u.0", "U+1@x", "u-2_y"]
    project.directory([user(id_, userPrincipalName=f"x{i}@contoso.example") for i, id_ in enumerate(ids)])
    project.up()
    ran = project.cloudpc("reprovision", *ids, "--yes", "--write-only")
    assert ran.code == 0, ran
    assert _actions(project) == {"reprovision": {_key(id_): 2 for id_ in ids}}


# ---- grace, history


def test_end_grace_ends_it_after_a_yes_and_history_remembers(project: Project) -> None:
    project.up()
    refused = project.cloudpc("end-grace", "u001", "--yes")
    assert refused.code == 2
    assert "it is provisioned; only a Cloud PC that is inGracePeriod has a grace period to end" in refused.output
    project.directory([user("u000"), user("u001")], {"everybody": ["u000"]})
    project.up()
    rows = {row["userId"]: row for row in json.loads(project.cloudpc("list", "--json").output)}
    assert rows["u000"]["gracePeriodEndDateTime"] is None
    end = datetime.fromisoformat(rows["u001"]["gracePeriodEndDateTime"])
    assert timedelta(hours=167) < end - datetime.now(UTC) <= timedelta(hours=168)
    assert f"grace until {end:%Y-%m-%d %H:%M} UTC (left group Everybody)" in project.cloudpc("list").output
    assert (rows["u001"]["why"], rows["u001"]["powerState"]) == ("left group Everybody", "running")

    assert project.cloudpc("end-grace", "u001").code == 4
    assert set(project.machines()) == {"u000", "u001"}
    ran = project.cloudpc("end-grace", "u001", "--yes")
    assert ran.code == 0, ran
    assert "All data on 1 Cloud PC will be lost" in ran.output
    assert set(project.machines()) == {"u000"}
    assert _actions(project) == {"endGrace": {_key("u001"): rows["u001"]["gracePeriodEndDateTime"]}}

    [story] = _history(project, "u001")
    assert [event["status"] for event in story["events"]] == ["provisioned", "inGracePeriod", "deprovisioning"]
    assert story["ended"]
    project.up()  # its entry goes
    assert "u001" not in project.statuses()
    [story] = _history(project, "u001@contoso.example")
    assert [(e["status"], e["why"].partition(";")[0]) for e in story["events"]] == [
        ("deprovisioning", "ended by the admin")
    ]
    project.directory(2)
    project.up()
    stories = _history(project, "u001")
    assert [(s["generation"], s["ended"]) for s in stories] == [(1, True), (2, False)]
    text = project.cloudpc("history", "u001")
    assert ": ended" in text.output
    assert f"  {stories[1]['events'][0]['dateTime']}  provisioned  generation 2 as" in text.output
    nobody = project.cloudpc("history", "nobody")
    assert nobody.code == 2
    assert "removed with their stack only `cloudpc:audit` remembers anything" in nobody.output


def test_the_audit_file_has_a_line_for_each_change_whoever_made_it(project: Project) -> None:
    def audited(path: str) -> None:
        file = project.root / "stacks" / "Pulumi.demo.yaml"
        content = yaml.safe_load(file.read_text())
        content["config"]["cloudpc:audit"] = {"path": path}
        file.write_text(yaml.safe_dump(content))

    def lines() -> list[tuple[str, str, str, str]]:
        found = [json.loads(line) for line in (project.root / "stacks" / "audit.jsonl").read_text().splitlines()]
        assert {line["policy"] for line in found} == {"demo"}
        return sorted((line["userId"], str(line["from"]), line["to"], line["why"].split()[0]) for line in found)

    for wrong in ("nowhere/audit.jsonl", "."):
        audited(wrong)
        refused = project.cloudpc("up")
        assert refused.code == 2
        assert "cloudpc:audit.path: must be in a folder that exists" in refused.output
    audited("audit.jsonl")
    project.up()
    made = [("u000", "None", "provisioned", "generation"), ("u001", "None", "provisioned", "generation")]
    assert lines() == made
    for machine in (project.root / "host" / "machines").glob("*.json"):
        if json.loads(machine.read_text())["tag"]["user_id"] == "u001":
            machine.unlink()
    for command in (["preview", "--refresh"], ["refresh", "--yes"]):
        told = project.pulumi(*command, "--stack", "demo")
        assert told.code == 0, told
        assert "warning: failed: its machine is no longer defined on host" in told.output
    assert lines() == made, "what a refresh has found is written by the run that works with it, not by a preview"
    for _ in range(2):
        told = project.pulumi(*UP, "demo", "--refresh")
        assert "warning: failed: its machine is no longer defined on host" not in told.output, "told when it was seen"
        assert lines() == [*made, ("u001", "provisioned", "failed", "machineLost")], "and once"
    before = lines()
    assert project.cloudpc("down", "demo", "--yes").code == 0
    ends = [("u000", "provisioned", "deprovisioning", "removed"), ("u001", "failed", "deprovisioning", "removed")]
    assert lines() == sorted([*before, *ends])


def test_an_audit_file_that_would_block_or_is_somebody_else_s_is_refused(project: Project) -> None:
    os.mkfifo(project.root / "stacks" / "pipe")
    file = project.root / "stacks" / "Pulumi.demo.yaml"
    content = yaml.safe_load(file.read_text())
    for path, why in (("pipe", "is not a regular file"), ("/etc/passwd", "must be a file of this project")):
        content["config"]["cloudpc:audit"] = {"path": path}
        file.write_text(yaml.safe_dump(content))
        for ran in (project.cloudpc("up"), project.pulumi(*UP, "demo")):
            assert ran.code != 0
            assert "cloudpc:audit.path: " in ran.output
            assert why in ran.output
    everybody = project.root.parent / "everybody.jsonl"
    project.up(CLOUDPC_AUDIT=str(everybody))
    assert len(everybody.read_text().splitlines()) == 2


# ---- policy delete


def test_a_policy_is_deleted_with_its_last_cloud_pc(project: Project) -> None:
    project.up()
    refused = project.cloudpc("policy", "delete", "demo", "--yes")
    assert refused.code == 2
    assert "assigned to everybody" in refused.output
    assert "stacks/Pulumi.demo.yaml" in refused.output
    file = project.policy(assignments=[])
    assert project.cloudpc("policy", "delete", "demo").code == 4
    assert "cloudpc:deleted" not in file.read_text()
    ran = project.cloudpc("policy", "delete", "demo", "--yes")
    assert ran.code == 0, ran
    assert "demo is marked as deleted" in ran.output
    assert yaml.safe_load(file.read_text())["config"]["cloudpc:deleted"] is True
    assert set(project.statuses().values()) == {"inGracePeriod"}
    assert project.cloudpc("up").code == 0
    assert file.exists()
    assert project.cloudpc("end-grace", "u000", "--yes").code == 0
    assert yaml.safe_load(file.read_text())["config"]["cloudpc:deleted"] is True, "as a truth value, not as text"
    assert project.cloudpc("end-grace", "u001", "--yes").code == 0
    assert project.machines() == {}
    assert not file.exists()
    assert json.loads(project.pulumi("stack", "ls", "--json").output) == []


@pytest.mark.parametrize("hours", [168, 0])
def test_policy_delete_ends_grace_periods_only_with_a_flag(project: Project, hours: int) -> None:
    project.up()
    project.policy(gracePeriodInHours=hours, assignments=[])
    ran = project.cloudpc("policy", "delete", "demo", "--end-grace", "--yes")
    assert ran.code == 0, ran
    assert "All data on 2 of them is deleted now" in ran.output
    assert "u001@contoso.example" in ran.output.partition("Updating")[0]
    assert "its stack and stacks/Pulumi.demo.yaml are removed" in " ".join(ran.output.split())
    assert project.machines() == {}
    assert not (project.root / "stacks" / "Pulumi.demo.yaml").exists()


def test_deleting_a_policy_that_has_not_run_or_has_no_file(project: Project) -> None:
    unused = project.policy("unused", assignments=[])
    assert project.cloudpc("policy", "delete", "unused", "--yes").code == 0
    assert not unused.exists()
    assert project.cloudpc("policy", "delete", "unknown", "--yes").code == 2
    (project.root / "stacks" / "Pulumi.demo.yaml").unlink()
    without = project.cloudpc("policy", "delete", "demo", "--yes")
    assert without.code == 2
    assert "cloudpc down demo" in without.output


def test_a_deleted_policy_is_kept_while_state_lacks_one_of_its_machines(project: Project) -> None:
    project.up()
    project.pulumi("state", "unprotect", "--all", "--yes", "--stack", "demo")
    for who in ("u000", "u001"):
        urn = f"urn:pulumi:demo::cloudpc::pulumi-python:dynamic/cloudpc:CloudPC::{_key(who)}"
        assert project.pulumi("state", "delete", urn, "--yes", "--stack", "demo").code == 0
    file = project.policy(assignments=[])
    ran = project.cloudpc("policy", "delete", "demo", "--yes")
    assert "machines of it that its state does not know" in ran.output, ran
    assert file.exists()
    assert len(project.machines()) == 2


# ---- run


def test_run_repeats_survives_errors_and_ends_on_sigterm(project: Project) -> None:
    project.directory([user("u000"), user("u001")], {"first": ["u000"], "second": ["u001"]})
    project.policy(assignments=_to("first"))
    project.policy("second", assignments=_to("second"), timeZone="Nowhere")
    run = project.start_cloudpc("run", "--every", "1s")
    wait_until(lambda: "u000" in project.machines(), 60, "it never ran")
    project.policy("second", assignments=_to("second"))
    wait_until(lambda: "u001" in project.machines(), 60, "it did not survive the error")
    run.terminate()
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0, output
    lines = output.splitlines()
    assert any("Z left out: second: its configuration is wrong:" in line for line in lines), output
    assert any(line.endswith("Z 1 policy: 1 provisioned") for line in lines), output
    assert lines[-1].endswith("Z stopped"), output
    assert "Traceback" not in output
    assert not project.processes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_cleanly_in_the_middle_of_a_run(project: Project, number: signal.Signals) -> None:
    project.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "hang"}])
    run = project.start_cloudpc("run", "--every", "1h")
    wait_until(lambda: "wait_ready u001" in project.calls(), 60, "u001 never came to its first boot")
    os.kill(run.pid, number)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 0, output
    wait_until(lambda: not project.processes(), 60, "something outlived the command")
    assert "u001" not in project.machines(), output
    assert project.leaks() == []
    project.host()
    assert project.cloudpc("up", "demo").code == 0, "no lock is left"


def test_run_says_what_a_duration_is(project: Project) -> None:
    assert [duration(text) for text in ("30s", "5m", "1h")] == [30, 300, 3600]
    for text in ("5", "m", "0s", "1d", "-1m", "1.5h", ""):
        with pytest.raises(typer.BadParameter):
            duration(text)
    ran = project.cloudpc("run", "--every", "1d")
    assert (ran.code, "30s, 5m or 1h" in ran.output) == (2, True), ran


def _to(*groups: str) -> list[dict[str, Any]]:
    return [{"target": {"groupId": group}} for group in groups]


def _key(user_id: str) -> str:
    return f"{user_id}/LAB_1C_0.5GB_8GB"


def _actions(project: Project) -> dict[str, dict[str, int]]:
    content = yaml.safe_load((project.root / "stacks" / "Pulumi.demo.yaml").read_text())
    actions: dict[str, dict[str, int]] = content["config"].get("cloudpc:actions", {})
    return actions


def _history(project: Project, who: str) -> list[dict[str, Any]]:
    ran: Ran = project.cloudpc("history", who, "--json")
    assert ran.code == 0, ran
    stories: list[dict[str, Any]] = json.loads(ran.output)
    return stories
