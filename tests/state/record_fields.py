"""Records every field that a version keeps of a Cloud PC and of a policy, each with a value that says something.

`python -m tests.state.record_fields > tests/state/fields/<date>.json`, with the version that is to be remembered: each
later one reads it (tests/core/test_recorded_fields.py). What is recorded stays; a field that is new gets a new file.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

from pydantic import SecretStr

from cloudpc.iac import outputs
from cloudpc.iac.records import ended_outputs
from cloudpc.model.access import Access, Bastion, Rdp, Ssh
from cloudpc.model.cloud_pc import (
    Account,
    Before,
    NetworkChoice,
    PinnedScript,
    PlanSize,
    PolicySettings,
    RecordedCloudPC,
    Status,
    StatusDetail,
)  # fmt: skip
from cloudpc.model.credentials import RecordedCredentials, RecordedPass
from cloudpc.model.devices import ComputerAccount, RegisteredDevice
from cloudpc.operations.records import EndedRecord

AT = datetime(2026, 11, 30, 8, tzinfo=UTC)
_DETAIL = StatusDetail(code="packagesFailed", message="no such package", additional_information={"failed": "packages"})
_THUMBPRINT, _SHA256 = "AB" * 32, "cd" * 32
_BASTION = Bastion(bastion_id="/subscriptions/s/bastionHosts/b", target_id="/subscriptions/s/virtualMachines/m")
_WAYS: tuple[Access, ...] = (
    Ssh(
        host="127.0.0.1", port=22001, via="root@kvm1", host_key="ssh-ed25519 AAAA", certificate_thumbprint=_THUMBPRINT,
        bastion=_BASTION,
    ),
    Rdp(host="10.0.0.4", port=3389, via="root@kvm2", certificate_thumbprint=_THUMBPRINT, bastion=_BASTION),
)  # fmt: skip


def cloud_pc(access: Access) -> RecordedCloudPC:
    """One of which everything is recorded that can be; some of it never is at once."""
    return RecordedCloudPC(
        policy_id="demo",
        installation="0123456789abcdef",
        user_id="u-alice",
        user_principal_name="alice@contoso.example",
        desired_status=Status.IN_GRACE_PERIOD,
        why="left the group Staff",
        grace_period_end_date_time=AT,
        generation=3,
        waived_generation=2,
        retry=1,
        kernel_generation=4,
        kernel_digest=_SHA256,
        desired_power_state="poweredOff",
        actions={"restart": 2, "rename": 1},
        action_arguments={"rename": {"displayName": "Alice's"}},
        device_name="CPC-alice-AAAAA",
        account=Account(name="alice", display_name="Alice", ssh_public_keys=("ssh-ed25519 AAAA alice",)),
        service_plan=PlanSize(id="LAB", display_name="Lab", v_cpu_count=2, ram_in_gb=0.5, storage_in_gb=8),
        settings=PolicySettings(
            provisioning_policy_name="Demo",
            image_type="custom",
            image_id="own",
            image_digest=_SHA256,
            image_kind="azureImage",
            image_forms={"qcow2": _SHA256},
            guest_os="windows",
            has_desktop=True,
            networks=(
                NetworkChoice(
                    kind="network", source="corp", connection="hq", domain_join_type="hybridAzureADJoin"
                ),
            ),
            locale="de-DE",
            time_zone="Europe/Berlin",
            local_admin_enabled=True,
            packages=("git",),
            script=PinnedScript(path="scripts/set-up", sha256=_SHA256),
            start_from="template",
            first_boot_in_seconds=600,
            set_up_in_seconds=300,
        ),
        status=Status.IN_GRACE_PERIOD,
        status_detail=_DETAIL,
        last_modified_date_time=AT,
        attempts=3,
        host="kvm1",
        access=access,
        credentials=RecordedCredentials(
            user="alice",
            password=SecretStr("a password"),
            access_pass=RecordedPass(
                value=SecretStr("a pass"), start_date_time="2026-11-30T08:00:00Z", lifetime_in_minutes=90,
                is_usable_once=True,
            ),
        ),
        facts={"vmName": "cpc-0123456789"},
        on_premises_connection_name="hq",
        status_before_grace=Status.PROVISIONED_WITH_WARNINGS,
        before_loss=Before(status=Status.PROVISIONED_WITH_WARNINGS, status_detail=_DETAIL),
        before_change=Before(status=Status.PROVISIONED_WITH_WARNINGS, status_detail=_DETAIL),
        power_state="deallocated",
        paused_because="the host's storage is full",
        billed_while_off=True,
        leftovers=("its machine on kvm1: refused",),
        device=RegisteredDevice(
            registration="adopt", display_name="CPC-alice-AAAAA", id="o1", device_id="d1", managed_device_id="m1",
            tenant_id="t1",
        ),
        computer=ComputerAccount(
            connection="hq", name="CPC-alice-AAAAA", object_guid="g1", distinguished_name="CN=CPC-alice-AAAAA,DC=corp"
        ),
        events=("2026-11-30T08:00:00Z inGracePeriod: left the group Staff",),
    )  # fmt: skip


def policy() -> dict[str, object]:
    """What is recorded of a policy."""
    ended = EndedRecord(
        "demo", key="u-bob/LAB", user_principal_name="bob@contoso.example", device_name="CPC-bob-AAAAA", generation=2,
        event="2026-11-29T08:00:00Z ended: the grace period is over",
    )  # fmt: skip
    return {
        "policyId": "demo",
        "installation": "0123456789abcdef",
        "displayName": "Demo",
        "description": "Two users on this machine",
        "assignments": [{"groupId": "staff", "displayName": "Staff", "firstSeen": AT.isoformat()}],
        "ended": [ended_outputs(ended)],
        "takenAway": {"u-alice/LAB": ["staff"]},
    }


def main() -> None:
    """Write the record."""
    record = {"cloudPCs": [outputs.written(cloud_pc(way)) for way in _WAYS], "policy": policy()}
    sys.stdout.write(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
