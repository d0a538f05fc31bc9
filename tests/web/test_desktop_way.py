"""Where a ticket for a desktop leads: to the Cloud PC as state has it now, whatever the pages still show."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cloudpc.cli.output import CommandError
from cloudpc.model.access import Rdp, Ssh, to_outputs
from cloudpc.model.cloud_pc import RecordedCloudPC
from cloudpc.operations.records import CloudPCRecord, StackRecord
from cloudpc.rules.entitlement import Entitlement
from cloudpc.rules.lifecycle import reconcile
from cloudpc.web import desktop_page
from cloudpc.web.connections import Present
from cloudpc.web.desktop_page import Desktops
from cloudpc.web.fleet import Row, Snapshot
from cloudpc.web.person import Person
from cloudpc.web.rdp_proxy import Desktop
from cloudpc.web.site import Site
from tests.core import make

ALICE = Person("u-alice@contoso.example", user_id="u-alice")
SSH = Ssh(host="10.0.0.5", port=22, host_key="ssh-ed25519 AAAA")


def _record(way: Ssh | Rdp, status: str = "provisioned", **outputs: Any) -> CloudPCRecord:
    owed = [Entitlement(make.user("u-alice"), make.plan())]
    [desired] = reconcile({}, owed, {}, make.today(), make.NOW).desired
    values: dict[str, Any] = {
        **desired.model_dump(by_alias=True, mode="json"),
        "status": status,
        "credentials": {"user": "alice", "password": "secret-of-alice"},
        **to_outputs(way),
        **outputs,
    }
    return CloudPCRecord("demo", RecordedCloudPC.model_validate(values), "u-alice@contoso.example")


def _desktop(monkeypatch: pytest.MonkeyPatch, shown: CloudPCRecord, now: CloudPCRecord) -> Desktop:
    monkeypatch.setattr(desktop_page, "Project", lambda: SimpleNamespace(with_secrets=lambda *_: now))
    return desktop_page._desktop(cast("Site", None), Row(shown), ALICE)


def test_the_certificate_and_the_end_of_grace_are_those_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _record(SSH.with_desktop("aa" * 32), "inGracePeriod", gracePeriodEndDateTime="2026-12-01T00:00:00Z")
    given = _desktop(monkeypatch, shown, _record(SSH.with_desktop("bb" * 32)))
    assert (given.fingerprint, given.known) == ("bb" * 32, Present(1))
    given = _desktop(monkeypatch, _record(SSH.with_desktop("bb" * 32)), shown)
    assert (given.fingerprint, given.known) == ("aa" * 32, Present(1, datetime(2026, 12, 1, tzinfo=UTC)))


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (_record(SSH.with_desktop("bb" * 32), generation=2), "has become another Cloud PC"),
        (_record(SSH), "has no desktop"),
        (_record(Rdp(host="10.0.0.5", port=3389, certificate_thumbprint="bb" * 32)), "has no desktop"),
    ],
)
def test_what_has_become_another_or_has_none_is_told(
    monkeypatch: pytest.MonkeyPatch, now: CloudPCRecord, why: str
) -> None:
    with pytest.raises(CommandError, match=why):
        _desktop(monkeypatch, _record(SSH.with_desktop("aa" * 32)), now)


def test_connections_end_as_soon_as_the_fleet_shows_another_cloud_pc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desktop_page, "_FOLLOWS_EVERY", 0.01)

    def snapshot(*records: CloudPCRecord) -> Snapshot:
        return Snapshot([StackRecord("demo", cloud_pcs=records)], read=datetime.now(UTC))

    async def follow() -> str:
        first, second = _record(SSH), _record(SSH, generation=2)
        desktops, fleet = Desktops(), SimpleNamespace(snapshot=Snapshot())
        app: Any = SimpleNamespace(state=SimpleNamespace(site=SimpleNamespace(fleet=fleet), desktops=desktops))
        opened = desktops.open.opened("session", Row(first).id, desktop_page.present(first))
        async with desktop_page.followed(app):
            with opened as connection:
                for shown in (fleet.snapshot, snapshot(first)):
                    fleet.snapshot = shown
                    await asyncio.sleep(0.05)
                    assert not connection.ended.done()
                fleet.snapshot = snapshot(second)
                return await asyncio.wait_for(connection.ended, 10)

    assert asyncio.run(follow()) == "The Cloud PC was reprovisioned."
