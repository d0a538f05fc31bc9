"""`pulumi up` from nothing to Cloud PCs, and every way a stage can fail."""

from __future__ import annotations

import base64
import gzip
import json
import re

import pytest

from tests.support.project import PLAN, Project, user

pytestmark = pytest.mark.engine

STAGE_OF = {
    "claim": "placing",
    "ensure_image": "image",
    "create_disk": "disk",
    "start": "starting",
    "wait_ready": "first boot",
    "set_password": "credentials",
    "run": "set-up",
    "finish ready": "credentials",
}
CODE_OF = {
    "claim": "hypervisorError",
    "ensure_image": "imageUploadFailed",
    "create_disk": "diskFailed",
    "start": "startFailed",
    "wait_ready": "guestDied",
    "set_password": "credentialsFailed",
    "run": "guestAgentLost",
    "finish ready": "hypervisorError",
}
FAULTS = ("error", "crash", "timeout")


def test_every_licensed_user_gets_one_and_a_second_run_changes_nothing(project: Project) -> None:
    preview = project.pulumi("preview", "--stack", "demo")
    assert preview.code == 0, preview
    assert project.calls() == []  # a preview touches no host

    ran = project.up()
    assert project.statuses() == {"u000": "provisioned", "u001": "provisioned"}
    assert "provisioned on host, ssh at 127.0.0.1:" in ran.output
    assert {m["tag"]["phase"] for m in project.machines().values()} == {"handedOver"}
    assert project.leaks() == []

    before, calls = project.state(), project.calls()
    again = project.up()
    assert re.search(r"Resources:\s+4 unchanged", again.output), again
    assert project.state() == before
    assert project.calls() == calls
    assert "4 unchanged" in project.pulumi("preview", "--stack", "demo").output
    assert project.pulumi("refresh", "--yes", "--stack", "demo").code == 0
    assert project.state() == before


def test_nothing_secret_outside_secrets(project: Project) -> None:
    ran = project.up()
    passwords = {
        user_id: json.loads(project.cloudpc("credentials", user_id, "--json").output)["password"]
        for user_id in ("u000", "u001")
    }
    on_host = {project.root / "host" / f"{machine['id']}.password" for machine in project.machines().values()}
    assert {path.read_text() for path in on_host} == {f"{user_id}:{secret}" for user_id, secret in passwords.items()}
    forms = [form for secret in passwords.values() for form in _forms(secret)]
    assert not [form for form in forms if form in ran.output.encode()]
    kept = [p for p in project.root.rglob("*") if p.is_file() and p not in on_host and not p.is_symlink()]
    assert not [p for p in kept if any(form in p.read_bytes() for form in forms)]
    # the engine's logs of all commands: that of the run has everything, and is sealed as the secrets in state are
    logs = [log.read_bytes() for log in (project.root / "pulumi-home" / "logs").iterdir()]
    plain = [gzip.decompress(log) for log in logs if not log.startswith(b"PLOG")]
    assert 0 < len(plain) < len(logs)
    assert not [form for form in forms for log in plain if form in log]


def _forms(secret: str) -> list[bytes]:
    """As it is, and what any base64 of a text with it contains, as in the guest agent's messages."""
    plain = secret.encode()
    shifted = [base64.b64encode(b"." * before + plain)[4 if before else 0 : -4] for before in range(3)]
    return [plain, *shifted]


def test_each_failure_stays_with_its_own_cloud_pc(project: Project) -> None:
    """Each stage x error, timeout, bug: one user each, all in one run, beside users whose Cloud PCs come up."""
    cases = {
        f"f-{call.replace('_', '-').replace(' ', '-')}-{fault}": (call, fault) for call in STAGE_OF for fault in FAULTS
    }
    warned = next(name for name, case in cases.items() if case == ("run", "timeout"))
    faulty = {name: case for name, case in cases.items() if name != warned}
    project.directory([user("well"), user("fine"), *(user(name) for name in cases)])
    project.policy(timeZone="Europe/Berlin")  # so that there is something to set up
    project.host(faults=[{"call": call, "user": name, "fault": fault} for name, (call, fault) in cases.items()])

    ran = project.up(PULUMI_PARALLEL="64")

    state = project.state()
    assert state["well"]["status"] == state["fine"]["status"] == "provisioned"
    # an extra that takes too long costs the Cloud PC nothing
    assert state[warned]["status"] == "provisionedWithWarnings"
    assert state[warned]["statusDetail"]["code"] == "timeZoneFailed"
    for name, (call, fault) in faulty.items():
        outputs = state[name]
        assert outputs["status"] == "failed", (name, outputs)
        assert outputs["attempts"] == 3
        assert outputs["statusDetail"]["additionalInformation"]["stage"] == STAGE_OF[call]
        expected = "bootTimeout" if (call, fault) == ("wait_ready", "timeout") else CODE_OF[call]
        expected = "internalError" if fault == "crash" else expected
        assert outputs["statusDetail"]["code"] == expected
        assert "credentials" not in outputs
    assert set(project.machines()) == {"well", "fine", warned}  # what failed was cleaned up at once
    assert project.leaks() == []
    assert ran.output.count("after 3 attempts") >= len(faulty)
    assert "Traceback" not in ran.output

    project.host()  # the faults are over, but a failed one stays failed until somebody asks
    again = project.up()
    assert {s for n, s in project.statuses().items() if n in faulty} == {"failed"}
    assert "stays failed" in again.output
    listed = project.cloudpc("list", "--check", "--status", "failed", "--json")
    assert listed.code == 3
    assert len(json.loads(listed.output)) == len(faulty)


def test_a_second_attempt_may_succeed(project: Project) -> None:
    project.host(faults=[{"call": "wait_ready", "user": "u001", "fault": "error", "times": 2}])
    ran = project.up()
    assert project.state()["u001"]["attempts"] == 3
    assert project.statuses() == {"u000": "provisioned", "u001": "provisioned"}
    assert "attempt 2 of 3 failed in first boot" in ran.output


def test_what_cannot_be_mended_is_not_tried_again(project: Project) -> None:
    project.host(faults=[{"call": "create_disk", "user": "u001", "fault": "error", "retriable": False}])
    project.up()
    assert project.state()["u001"]["attempts"] == 1
    assert project.statuses() == {"u000": "provisioned", "u001": "failed"}


def test_extras_that_fail_leave_a_usable_cloud_pc_with_warnings(project: Project) -> None:
    project.policy(timeZone="Europe/Berlin", packages=["htop"])
    project.host(exit_code=7, output="[/etc/motd] and [bold] are no markup")
    ran = project.up()
    assert "[/etc/motd] and [bold] are no markup" in project.cloudpc("list").output
    for outputs in project.state().values():
        assert outputs["status"] == "provisionedWithWarnings"
        assert "timeZoneFailed" in outputs["statusDetail"]["message"]
        assert "packagesFailed" in outputs["statusDetail"]["message"]
        assert "credentials" in outputs
    assert "packagesFailed" in ran.output


def test_two_service_plans_two_cloud_pcs(project: Project) -> None:
    project.directory([user("u000", PLAN["id"], "LAB_2C_1GB_8GB"), user("u001")])
    project.up()
    assert len(project.state()) == 3
    sizes = {o["servicePlan"]["id"]: o["servicePlan"]["vCpuCount"] for o in project.state().values()}
    assert sizes == {"LAB_1C_0.5GB_8GB": 1, "LAB_2C_1GB_8GB": 2}


def test_later_users_get_theirs_and_a_renamed_one_keeps_it(project: Project) -> None:
    project.up()
    before = project.state()
    project.directory([user("u000"), user("u001", userPrincipalName="renamed@contoso.example"), user("u002")])
    ran = project.up()
    assert re.search(r"\+ 1 created", ran.output), ran
    after = project.state()
    assert after.pop("u002")["status"] == "provisioned"
    assert after == before
    rows = {r["userId"]: r for r in json.loads(project.cloudpc("list", "--json").output)}
    assert rows["u001"]["userPrincipalName"] == "renamed@contoso.example"


def test_a_policy_edit_changes_no_existing_cloud_pc(project: Project) -> None:
    project.up()
    before = project.state()
    project.directory(3)
    project.policy(
        displayName="New name", timeZone="Europe/Berlin", localAdminEnabled=True, packages=["htop"],
        windowsSetting={"locale": "de-DE"}, cloudPcNamingTemplate="%RAND:8%", gracePeriodInHours=1,
    )  # fmt: skip
    preview = project.pulumi("preview", "--stack", "demo", "--diff")
    assert "u000/" not in preview.output
    assert "u002/" in preview.output
    project.up()
    after = project.state()
    new = after.pop("u002")
    assert after == before
    assert new["settings"]["timeZone"] == "Europe/Berlin"
    assert len(new["deviceName"]) == 8


def test_a_full_host_makes_them_wait_not_fail(project: Project) -> None:
    project.host(memory_mib=512)
    ran = project.up()
    assert sorted(project.statuses().values()) == ["pendingProvision", "provisioned"]
    assert "noCapacity" in ran.output
    assert len(project.machines()) == 1
    preview = project.pulumi("preview", "--stack", "demo")
    assert "lacks 512 MiB of memory (0 free)" in preview.output
    assert "@contoso.example (" in preview.output
    project.host(memory_mib=1024)
    project.up()
    assert set(project.statuses().values()) == {"provisioned"}


def test_machines_spread_over_hosts_by_room(project: Project) -> None:
    project.directory(4)
    project.policy(hosts=["one", "two"])
    project.host("one", memory_mib=8192, cores=8)
    project.host("two", memory_mib=8192, cores=8)
    project.up()
    assert set(project.statuses().values()) == {"provisioned"}
    assert (len(project.machines("one")), len(project.machines("two"))) == (2, 2)


def test_two_stacks_at_once_on_one_full_host_never_overcommit(project: Project) -> None:
    project.directory(
        [user(f"u{i}") for i in range(8)],
        {"left": [f"u{i}" for i in range(4)], "right": [f"u{i}" for i in range(4, 8)]},
    )
    for name in ("left", "right"):
        project.policy(name, assignments=[{"target": {"groupId": name}}])
        project.init(name)
    project.host(memory_mib=5 * 512, seconds={"claim": 0.05})
    runs = [project.start("up", "--yes", "--skip-preview", "--stack", name) for name in ("left", "right")]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    statuses = [*project.statuses("left").values(), *project.statuses("right").values()]
    assert sorted(statuses) == ["pendingProvision"] * 3 + ["provisioned"] * 5
    assert len(project.machines()) == 5


def test_a_hundred_at_once(project: Project) -> None:
    project.directory(100)
    project.host(meet={"wait_ready": 32}, faults=[{"call": "wait_ready", "user": "u042", "fault": "error"}])
    ran = project.cloudpc("up", "demo")
    assert ran.code == 3, ran
    statuses = project.statuses()
    assert statuses.pop("u042") == "failed"
    assert set(statuses.values()) == {"provisioned"}
    assert len(statuses) == len(project.machines()) == 99
    names = [o["deviceName"] for o in project.state().values()]
    assert len(set(names)) == 100
    assert project.most_at_once("wait_ready") == 32


def test_boots_wait_for_a_slot_and_their_time_begins_after_it(project: Project) -> None:
    project.directory(6)
    project.policy(timeouts={"firstBootInSeconds": 1})
    project.host(slots=2, seconds={"wait_ready": 0.8})  # the last ones wait for longer than a boot may take
    project.up(PULUMI_PARALLEL="32")
    assert set(project.statuses().values()) == {"provisioned"}
    assert project.most_at_once("wait_ready") == 2
