"""Recorded Cloud PCs at random: such as there can be, by what a run or a look has made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from pydantic import SecretStr

from cloudpc.model.access import Rdp, Ssh
from cloudpc.model.cloud_pc import (
    USABLE,
    WAITING,
    WITH_MACHINE,
    Account,
    Before,
    DesiredCloudPC,
    PlanSize,
    RecordedCloudPC,
    Status,
    StatusDetail,
)
from cloudpc.model.credentials import RecordedCredentials, RecordedPass
from cloudpc.model.devices import ComputerAccount, RegisteredDevice
from cloudpc.model.errors import EXTRAS, ErrorCode

from . import make

_TIMES = st.integers(0, 1000).map(lambda hours: datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=hours))
_WORDS = st.sampled_from(["", "left group Staff", "the account is disabled"])
_COUNTS = st.integers(0, 3)
_DEVICE = RegisteredDevice(registration="record", display_name="CPC-1", id="o1", device_id="d1")
_COMPUTER = ComputerAccount(connection="hq", name="CPC-1", object_guid="g", distinguished_name="CN=CPC-1")
_WAYS = [
    Ssh(host="127.0.0.1", port=22001, host_key="ssh-ed25519 AAAA"),
    Ssh(host="127.0.0.1", port=22001, via="root@kvm1", host_key="ssh-ed25519 AAAA"),
    Rdp(host="10.0.0.4", port=3389, certificate_thumbprint="ab"),
]
_PASS = RecordedPass(value=SecretStr("pass"), start_date_time="2026-11-01T00:00:00Z", is_usable_once=True)


@st.composite
def desired(draw: st.DrawFn) -> DesiredCloudPC:
    """What may be asked for."""
    return DesiredCloudPC(
        policy_id="lab",
        installation=make.INSTALLATION,
        user_id="u1",
        user_principal_name=draw(st.sampled_from(["u1@contoso.example", "new@contoso.example"])),
        desired_status=draw(st.sampled_from([Status.PROVISIONED, Status.IN_GRACE_PERIOD, Status.DEPROVISIONING])),
        why=draw(_WORDS),
        grace_period_end_date_time=draw(st.none() | _TIMES),
        generation=draw(st.integers(1, 3)),
        waived_generation=draw(_COUNTS),
        retry=draw(_COUNTS),
        kernel_generation=draw(_COUNTS),
        kernel_digest=draw(st.sampled_from(["", "ab" * 32])),
        device_name="CPC-u1-AAAAA",
        account=Account(name="u1", display_name="U1"),
        service_plan=PlanSize(id="small", display_name="Small", v_cpu_count=1, ram_in_gb=0.5, storage_in_gb=8),
        settings=make.settings(locale=draw(st.sampled_from(["en-US", "de-DE"]))),
    )


def _details(draw: st.DrawFn, status: Status) -> StatusDetail | None:
    codes: list[str] = []
    if status is Status.PROVISIONED_WITH_WARNINGS:
        codes = [*EXTRAS, ErrorCode.TAG_UNREADABLE, ErrorCode.MACHINE_CHANGED]
    elif status is Status.FAILED:
        codes = [ErrorCode.GUEST_DIED, ErrorCode.MACHINE_LOST, ErrorCode.MACHINE_NOT_IN_STATE]
    elif status in WAITING:
        codes = [ErrorCode.NO_CAPACITY]
    elif status is Status.IN_GRACE_PERIOD and draw(st.booleans()):
        codes = [ErrorCode.TAG_UNREADABLE]
    if not codes:
        return None
    code = draw(st.sampled_from(codes))
    return StatusDetail(code=code, message="why", additional_information=draw(st.sampled_from([{}, {"stage": "x"}])))


@st.composite
def recorded(draw: st.DrawFn, *statuses: Status) -> RecordedCloudPC:
    """What state may have, of one of these statuses; of any, if none is given."""
    wanted = draw(st.sampled_from(["running", "running", "poweredOff"]))
    asked = draw(desired()).model_copy(update={"desired_power_state": wanted})
    status = draw(st.sampled_from(statuses or [s for s in Status if s is not Status.PROVISIONING]))
    detail = _details(draw, status)
    was = draw(st.sampled_from(sorted(WITH_MACHINE)))
    lost = detail is not None and detail.code == ErrorCode.MACHINE_LOST
    changed = detail is not None and detail.code in (ErrorCode.MACHINE_CHANGED, ErrorCode.TAG_UNREADABLE)
    has_it = status in WITH_MACHINE or lost
    more: dict[str, Any] = {}
    if has_it:
        more = {
            "access": draw(st.sampled_from(_WAYS)),
            "credentials": RecordedCredentials(
                user="u1", password=SecretStr("secret"), access_pass=draw(st.none() | st.just(_PASS))
            ),
            "power_state": draw(st.sampled_from(["running", "poweredOff"])),
            "on_premises_connection_name": draw(st.sampled_from(["", "hq"])),
            "device": draw(st.none() | st.just(_DEVICE)),
            "computer": draw(st.none() | st.just(_COMPUTER)),
        }
    return RecordedCloudPC(
        **asked.model_dump(),
        status=status,
        status_detail=detail,
        last_modified_date_time=draw(_TIMES),
        attempts=draw(st.integers(0, 3)),
        host="local" if has_it or status is Status.DEPROVISIONING else "",
        status_before_grace=draw(st.sampled_from(sorted(USABLE))) if status is Status.IN_GRACE_PERIOD else None,
        before_loss=Before(status=was) if lost else None,
        before_change=Before(status=Status.PROVISIONED) if changed and status in USABLE else None,
        leftovers=draw(st.sampled_from([(), ("its disk",)])) if status is Status.DEPROVISIONING else (),
        events=draw(st.sampled_from([(), ("2026-11-01T00:00:00Z provisioned generation 1 as CPC-u1-AAAAA",)])),
        **more,
    )
