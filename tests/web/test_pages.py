"""What pages show and do, with the engine's state and the commands' own code behind them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from httpx import Response
from starlette.testclient import TestClient

from cloudpc.model.cloud_pc import RecordedCloudPC
from cloudpc.web.runs import Run
from tests.support.project import Project
from tests.web.conftest import ADDRESS, ADMIN, Pages

pytestmark = pytest.mark.engine


def _ended(pages: Pages, address: str) -> Run:
    run = pages.site.runs.get(address.rpartition("/")[2])
    assert run
    end = time.monotonic() + 120
    while not run.is_over:
        assert time.monotonic() < end, pages.site.runs.lines(run)
        time.sleep(0.1)
    return run


def test_the_fleet_is_what_list_says_searched_filtered_and_sorted(pages: Pages, admin: TestClient) -> None:
    page = admin.get("/fleet")
    assert page.status_code == 200
    assert re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)', page.text) == [
        f"u00{i}@contoso.example" for i in range(3)
    ]
    assert "startFailed" in page.text
    down = admin.get("/fleet?sort=user&order=down&q=contoso").text
    assert re.findall(r'<th scope="row"><a href="[^"]+">(u\d+)', down) == ["u002", "u001", "u000"]
    assert "1 of 3 Cloud PCs" in admin.get("/fleet?status=failed").text
    assert "1 of 3 Cloud PCs" in admin.get("/fleet?q=u001").text
    assert "0 of 3 Cloud PCs" in admin.get("/fleet?outdated=1").text
    assert admin.get("/fleet?page=9999999&sort=nothing&status=%00&policy=x").status_code == 200


def test_a_user_sees_their_own_and_another_s_is_not_there(pages: Pages, someone: TestClient) -> None:
    mine = someone.get("/mine").text
    assert pages.id_of("u000") in mine
    assert pages.id_of("u001") not in mine
    assert someone.get(f"/cloud-pcs/{pages.id_of('u000')}").status_code == 200
    for address in (f"/cloud-pcs/{pages.id_of('u001')}", f"/cloud-pcs/{pages.id_of('u001')}/do/restart", "/fleet"):
        assert someone.get(address).status_code == 404, address
    post = f"/cloud-pcs/{pages.id_of('u001')}/do/restart"
    assert someone.post(post, data={"csrf": pages.csrf(someone)}).status_code == 404
    reprovision = f"/cloud-pcs/{pages.id_of('u000')}/do/reprovision"
    assert someone.get(reprovision).status_code == 404, "that is an admin's"


def test_a_button_does_what_its_command_does_and_names_who_pressed_it(
    pages: Pages, project: Project, someone: TestClient, admin: TestClient
) -> None:
    own = f"/cloud-pcs/{pages.id_of('u000')}"
    ask = someone.get(f"{own}/do/rename").text
    assert "Display name" in ask
    assert "&#39;--display-name=…&#39;" in ask, "the command that it will run, but for what is not said yet"
    answer = someone.post(
        f"{own}/do/rename", data={**pages.form(someone, "u000"), "display_name": "<b>Mine</b>"}, follow_redirects=False
    )
    assert answer.status_code == 303, answer.text
    run = _ended(pages, answer.headers["location"])
    assert run.code == 0, pages.site.runs.lines(run)
    theirs = someone.get(f"/runs/{run.id}")
    assert theirs.status_code == 200, "their own run is theirs to look at"
    assert "u001" not in theirs.text
    assert "u001" in admin.get(f"/runs/{run.id}").text
    page = admin.get(own).text
    assert "&lt;b&gt;Mine&lt;/b&gt;" in page
    assert "<b>Mine" not in page
    assert project.state()["u000"]["actionArguments"] == {"rename": {"displayName": "<b>Mine</b>"}}
    audit = [json.loads(line) for line in (project.root / ".cloudpc/pages/audit.jsonl").read_text().splitlines()]
    assert {"by": "u000@contoso.example", "did": "rename", "userId": "u000"}.items() <= audit[-1].items()
    assert "u000@contoso.example" in re.findall(r"<td>rename</td><td>[^<]*</td><td>([^<]*)</td>", page)
    told = project.cloudpc("history", "u000").output
    assert len(re.findall(r"  \d{4}\S+Z  rename +by u000@contoso.example\n", told)) == 1, (
        "the command leaves it to the page"
    )
    with someone.stream("GET", f"/runs/{run.id}/lines?from=0") as lines:
        said = "".join(lines.iter_text())
    assert "event: over" in said
    assert "u001" not in said


def test_what_is_powered_off_has_no_screen_to_open(
    pages: Pages, admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = f"/cloud-pcs/{pages.id_of('u000')}"
    assert f"{own}/console" in admin.get(own).text
    monkeypatch.setattr(RecordedCloudPC, "is_kept_off", property(lambda recorded: True))
    assert f"{own}/console" not in admin.get(own).text


def test_where_data_is_lost_the_name_is_typed(pages: Pages, admin: TestClient) -> None:
    row = pages.site.fleet.first().by_id[pages.id_of("u001")]
    address = f"/cloud-pcs/{row.id}/do/reprovision"
    page = admin.get(address).text
    assert "All data on the Cloud PC of u001@contoso.example will be lost." in page
    assert "cloudpc reprovision --policy=demo --service-plan=LAB_1C_0.5GB_8GB --yes u001" in page
    wrong = admin.post(address, data={**pages.form(admin, "u001"), "typed": "yes"})
    assert wrong.status_code == 400
    stale = {
        **pages.form(admin, "u001"),
        "typed": row.name,
        "seen": f"{row.record.recorded.generation - 1} provisioned",
    }
    for form in (stale, {name: value for name, value in stale.items() if name != "seen"}):
        refused = admin.post(address, data=form)
        assert refused.status_code == 409, "it is of another generation's page"
        assert "has changed since this page was loaded" in refused.text
        assert f'name="seen" value="{row.seen}"' in refused.text
        assert f'value="{row.name}"' not in refused.text, "the name is typed again"
    assert f'name="seen" value="{row.seen}"' in admin.get(f"/cloud-pcs/{row.id}").text
    assert not [run for run in pages.site.runs.all() if "reprovision" in run.words]


def test_a_user_resets_their_own_where_the_policy_lets_its_users(
    pages: Pages, project: Project, someone: TestClient, admin: TestClient
) -> None:
    address = f"/cloud-pcs/{pages.id_of('u000')}/do/reprovision"
    row = pages.site.fleet.first().by_id[pages.id_of("u000")]
    assert "Reset" not in someone.get("/mine").text

    def post(**changes: str) -> Response:
        form = {**pages.form(someone, "u000"), "typed": row.name, **changes}
        return someone.post(address, data=form, follow_redirects=False)

    assert post().status_code == 404
    try:
        project.policy(resetEnabled=True)
        pages.site.fleet.fresh()
        assert f'href="{address}"' in someone.get("/mine").text
        page = someone.get(address).text
        assert "<h1>Reset: " in page
        assert "All data on the Cloud PC of u000@contoso.example will be lost." in page
        assert "Reprovision…" in admin.get(f"/cloud-pcs/{row.id}").text
        other = address.replace(row.id, pages.id_of("u001"))
        assert someone.get(other).status_code == 404
        assert someone.post(other, data=pages.form(someone, "u000")).status_code == 404, "another's"
        assert post(typed="").status_code == 400
        answer = post()
        assert answer.status_code == 303, answer.text
        run = _ended(pages, answer.headers["location"])
        assert run.code == 0, pages.site.runs.lines(run)
        assert project.state()["u000"]["generation"] == row.record.generation + 1
        audit = [json.loads(line) for line in (project.root / ".cloudpc/pages/audit.jsonl").read_text().splitlines()]
        assert {"by": "u000@contoso.example", "did": "reprovision", "userId": "u000"}.items() <= audit[-1].items()
        assert someone.get(address).status_code == 200
    finally:
        project.policy()
    begun = pages.site.runs.all()
    refused = post()
    assert refused.status_code == 404
    assert "does not let its user do that: nothing was done" in refused.text
    assert pages.site.runs.all() == begun, "the form was one that the policy had allowed"


def test_what_may_not_be_done_says_why(pages: Pages, admin: TestClient) -> None:
    page = admin.get(f"/cloud-pcs/{pages.id_of('u002')}").text
    assert "only one that is provisioned or provisionedWithWarnings can be restarted" in page
    refused = admin.post(f"/cloud-pcs/{pages.id_of('u002')}/do/restart", data={"csrf": pages.csrf(admin)})
    assert refused.status_code == 409
    assert refused.text.count("only one that is provisioned or provisionedWithWarnings can be restarted") == 1


def test_two_admins_at_one_cloud_pc_wait_for_each_other_and_do_nothing_twice(
    pages: Pages, project: Project, admin: TestClient
) -> None:
    project.host(faults=[{"call": "shut_down", "user": "u000", "fault": "slow", "seconds": 3}])
    try:
        address = f"/cloud-pcs/{pages.id_of('u000')}/do"
        other = pages.browser(type(ADMIN)("another", is_admin=True))
        first = admin.post(f"{address}/restart", data=pages.form(admin, "u000"), follow_redirects=False)
        again = other.post(f"{address}/restart", data=pages.form(other, "u000"))
        assert again.status_code == 409
        assert "root has asked for the same" in again.text
        second = other.post(f"{address}/troubleshoot", data=pages.form(other, "u000"), follow_redirects=False)
        waiting = pages.site.runs.get(second.headers["location"].rpartition("/")[2])
        assert waiting
        assert "root's `cloudpc restart" in waiting.said
        for answer in (first, second):
            run = _ended(pages, answer.headers["location"])
            assert run.code == 0, pages.site.runs.lines(run)
    finally:
        project.host()


def test_a_run_that_was_begun_elsewhere_is_seen_live(
    pages: Pages, project: Project, admin: TestClient, someone: TestClient
) -> None:
    project.host(seconds={"wait_ready": 4})
    before = pages.site.fleet.first().by_id[pages.id_of("u000")]
    elsewhere = project.start_cloudpc("reprovision", "u000", "--yes", LOGNAME="dana")
    try:
        seen: set[str] = set()
        while elsewhere.poll() is None:
            fleet, mine = admin.get("/fleet").text, someone.get("/mine").text
            seen |= {"stage"} if ">first boot" in fleet else set()
            seen |= {"lock"} if "demo: a run that was begun elsewhere, by" in fleet else set()
            seen |= {"own"} if "· first boot" in mine else set()
            assert "/runs/" not in fleet
            time.sleep(0.1)
    finally:
        project.host()
        said, _ = elsewhere.communicate()
    assert elsewhere.returncode == 0, said
    assert seen == {"stage", "lock", "own"}
    end = time.monotonic() + 20
    while "first boot" in (page := admin.get("/fleet").text) or "At work" in page:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert pages.site.fleet.fresh().by_id[before.id].record.generation == before.record.generation + 1
    assert "<td>reprovision</td><td></td><td>dana</td>" in admin.get(f"/cloud-pcs/{before.id}").text
    [story] = json.loads(project.cloudpc("history", "u000", "--json").output)
    assert (story["asked"][-1]["action"], story["asked"][-1]["by"]) == ("reprovision", "dana")


def test_a_run_that_is_killed_says_so_and_the_lock_it_leaves_can_be_removed(
    pages: Pages, project: Project, admin: TestClient
) -> None:
    project.host(seconds={"shut_down": 30})
    address = f"/cloud-pcs/{pages.id_of('u001')}/do/restart"
    answer = admin.post(address, data=pages.form(admin, "u001"), follow_redirects=False)
    run = pages.site.runs.get(answer.headers["location"].rpartition("/")[2])
    assert run
    while not any(call.startswith("shut_down") for call in project.calls()[-3:]):
        assert not run.is_over
        time.sleep(0.1)
    project._kill()
    run = _ended(pages, answer.headers["location"])
    project.host()
    assert "killed by SIGKILL; the next run finishes what it began" in admin.get(f"/runs/{run.id}").text
    overview = admin.get("/overview").text
    assert "died and left its lock" in overview
    again = admin.post("/overview/do/clear-lock", data={"csrf": pages.csrf(admin)}, follow_redirects=False)
    run = _ended(pages, again.headers["location"])
    assert run.code == 0, pages.site.runs.lines(run)
    assert "died and left its lock" not in admin.get("/overview").text


def test_a_run_of_a_server_that_is_gone_says_so(pages: Pages, tmp_path: Path) -> None:
    from cloudpc.cli.context import Project as Opened
    from cloudpc.web.runs import Runs

    left = Run(["up"], "root", ["demo"])
    (tmp_path / "runs").mkdir()
    Runs(Opened(), tmp_path)._save(left)
    [found] = Runs(Opened(), tmp_path).all()
    assert found.is_over
    assert "the server ended before it did" in found.said
    assert ADDRESS in next(iter(pages.site.origins.addresses))


def test_the_overview_counts_and_hosts_say_how_full_they_are(pages: Pages, project: Project, admin: TestClient) -> None:
    project.host(cores=32, memory_mib=48 * 1024)
    admin.get("/overview")
    end = time.monotonic() + 30
    while pages.site.surroundings.seen.when is None:
        assert time.monotonic() < end
        time.sleep(0.1)
    page = admin.get("/overview").text
    project.host()
    assert re.search(r"<strong>2</strong> <span class=\"status provisioned\">", page)
    assert re.search(r"vCPU: \d+ of \d+", page)
    assert "<meter" in page
    assert not pages.site.surroundings.seen.problem


def test_run_now_is_up_of_all_policies(pages: Pages, admin: TestClient) -> None:
    answer = admin.post("/overview/do/preview", data={"csrf": pages.csrf(admin)}, follow_redirects=False)
    run = _ended(pages, answer.headers["location"])
    assert run.code == 0, pages.site.runs.lines(run)
    assert run.shown == "cloudpc preview"
    assert admin.post("/overview/do/down", data={"csrf": pages.csrf(admin)}).status_code == 404


def test_a_policy_s_text_is_checked_and_never_written(pages: Pages, project: Project, admin: TestClient) -> None:
    assert 'href="/policies/demo"' in admin.get("/policies").text
    file = project.root / "stacks" / "Pulumi.demo.yaml"
    before = file.read_text()
    assert "displayName: Demo" in admin.get("/policies/demo").text
    form = {"csrf": pages.csrf(admin)}
    wrong = admin.post("/policies/demo", data={**form, "text": before.replace("tiny", "huge")}).text
    assert "stacks/Pulumi.demo.yaml" in wrong
    assert "problem" in wrong
    right = admin.post("/policies/demo", data={**form, "text": before.replace("displayName: Demo", "displayName: New")})
    assert "It is valid" in right.text, right.text
    assert "+    displayName: New" in right.text
    assert file.read_text() == before
    assert admin.post("/policies/demo", data={**form, "text": "a: ["}).status_code == 200
    assert admin.get("/policies/..%2F..%2Fetc").status_code == 404


def test_users_have_no_admin_s_pages(someone: TestClient) -> None:
    for address in ("/overview", "/fleet", "/policies", "/policies/demo", "/runs"):
        assert someone.get(address).status_code == 404, address


def test_an_action_that_is_added_has_its_button(
    pages: Pages, admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloudpc.rules.actions import ACTIONS
    from tests.fakes.added_action.hostname import Hostname

    monkeypatch.setattr("cloudpc.web.asking.ACTIONS", [*ACTIONS, Hostname()])
    page = admin.get(f"/cloud-pcs/{pages.id_of('u000')}").text
    assert "Hostname…" in page
    asked = admin.get(f"/cloud-pcs/{pages.id_of('u000')}/do/hostname").text
    assert 'name="to"' in asked
    assert 'name="shown_as"' in asked
