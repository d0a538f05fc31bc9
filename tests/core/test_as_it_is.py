"""What others know of a Cloud PC, what one is asked to be that stays, and how a look at it is told."""

from __future__ import annotations

from dataclasses import fields

import pytest
from pydantic import ValidationError

from cloudpc.model.cloud_pc import Status
from cloudpc.model.errors import ErrorCode
from cloudpc.operations import look
from cloudpc.rules.actions.rename import DisplayName
from cloudpc.rules.drift import outdated
from cloudpc.rules.kept import as_it_is
from cloudpc.rules.lifecycle import makes_machine
from cloudpc.rules.ownership import Holding

from . import make
from .test_actions import WARNED, recorded


def test_what_other_policies_need_to_know_is_what_it_is() -> None:
    pc = recorded(generation=3)
    held = Holding.of(pc)
    assert {each.name: getattr(held, each.name) for each in fields(Holding)} == {
        "user_id": pc.user_id, "device_name": pc.device_name, "status": pc.status, "generation": 3,
        "has_machine": True, "is_leaving": False, "is_gone": False,
    }  # fmt: skip


def test_one_that_has_warnings_is_asked_to_be_provisioned() -> None:
    wanted = {status: as_it_is(recorded(status)).desired_status for status in Status}
    leaving = {status: status for status in (Status.IN_GRACE_PERIOD, Status.DEPROVISIONING)}
    assert wanted == {**dict.fromkeys(Status, Status.PROVISIONED), **leaving}


def test_a_retry_of_one_that_has_failed_makes_a_machine() -> None:
    failed = recorded(Status.FAILED, ErrorCode.BOOT_TIMEOUT)
    again = as_it_is(failed).model_copy(update={"retry": 1})
    assert makes_machine(failed, again)
    assert not makes_machine(WARNED, as_it_is(WARNED).model_copy(update={"retry": 1}))
    assert makes_machine(recorded(Status.PENDING_PROVISION), as_it_is(recorded(Status.PENDING_PROVISION)))
    assert not makes_machine(recorded(), as_it_is(recorded()))


def test_a_build_of_a_kind_that_no_host_takes_any_more_is_not_outdated() -> None:
    made, today = make.settings(image_kind="disk", image_digest="cd" * 32), make.settings()
    assert outdated(made, today) == []
    assert outdated(make.settings(image_digest="cd" * 32), today) == ["a newer build of image micro"]


def test_what_a_look_has_found_is_told_by_what_is_wrong_or_by_what_has_happened() -> None:
    wrong = recorded(Status.FAILED, ErrorCode.MACHINE_LOST)
    assert look.told_seen(wrong) == "failed: why [machineLost]"
    well = recorded(
        events=(
            "2026-11-23T09:00:00Z provisioned",
            "2026-11-24T09:00:00Z failed gone",
            "2026-11-24T10:00:00Z provisioned its machine is back",
        )
    )
    assert look.told_seen(well) == "its machine is back"


def test_what_becomes_of_one_that_stands_still_is_told() -> None:
    paused = recorded(power_state="paused", paused_because="no space left")
    assert look.told_still(paused) == "paused: no space left; the next run resumes it"
    assert look.told_still(recorded(power_state="poweredOff")) == "off; the next run starts it"


def test_what_an_action_adds_are_its_fields_but_for_the_generation() -> None:
    assert list(DisplayName.options()) == ["display_name"]
    given = DisplayName.model_validate({"generation": 2, "displayName": 7})
    assert (given.arguments, given.words) == ({"displayName": "7"}, {"display_name": "7"})
    assert DisplayName.model_validate({"generation": 2, "displayName": True}).display_name == "true"
    with pytest.raises(ValidationError, match="valid string"):
        DisplayName.model_validate({"generation": 2, "displayName": ["Ada"]})
