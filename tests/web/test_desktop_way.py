"""Where a ticket for a desktop leads: to the Cloud PC as state has it now, whatever the pages still show."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cloudpc.cli.output import CommandError
from cloudpc.model.access import Rdp, Ssh, to_outputs
from cloudpc.model.cloud_pc import RecordedCloudPC
from cloudpc.operations.records import CloudPCRecord
from cloudpc.web import desktop_page
from cloudpc.web.fleet import Row
from cloudpc.web.person import Person
from cloudpc.web.rdp_proxy import Desktop
from cloudpc.web.site import Site
from tests.core.fake_rim import desired

ALICE = Person("u-alice@contoso.example", user_id="u-alice")
SSH = Ssh(host="10.0.0.5", port=22, host_key="ssh-ed25519 AAAA")


def _record(way: Ssh | Rdp, status: str = "provisioned", **outputs: Any) -> CloudPCRecord:
    values: dict[str, Any] = {
        **desired().model_dump(by_alias=True, mode="json"),
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
    assert (given.fingerprint, given.until) == ("bb" * 32, None)
    given = _desktop(monkeypatch, _record(SSH.with_desktop("bb" * 32)), shown)
    assert (given.fingerprint, given.until) == ("aa" * 32, datetime(2026, 12, 1, tzinfo=UTC))


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
