"""The lifecycle over whole histories: people come and go, policies are edited, provisioning ends well or badly."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloudpc import naming
from cloudpc.entitlement import Entitlement
from cloudpc.lifecycle import (
    USABLE,
    DesiredCloudPC,
    PolicySettings,
    RecordedCloudPC,
    Script,
    Status,
    StatusDetail,
    Step,
    Today,
    next_step,
    reconcile,
)

from . import make

_USERS = [f"u{i}" for i in range(4)]
_PLANS = ["small", "big"]
_OUTCOMES = st.sampled_from(
    [
        Status.PROVISIONED,
        Status.PROVISIONED_WITH_WARNINGS,
        Status.FAILED,
        Status.PENDING_PROVISION,
        Status.NOT_PROVISIONED,
    ]
)
_SETTINGS = st.builds(
    make.settings,
    image_digest=st.sampled_from(["aa", "bb"]),
    locale=st.sampled_from(["en-US", "de-DE"]),
    packages=st.sampled_from([(), ("git",)]),
    script=st.none() | st.builds(Script, path=st.just("setup.sh"), sha256=st.sampled_from(["11", "22"])),
    first_boot_in_seconds=st.sampled_from([60, 60.5, 900]),
)
_TEMPLATES = st.sampled_from(["CPC-%USERNAME:5%-%RAND:5%", "%RAND:5%", "PC-%RAND:6%"])


_WAITING = {Status.NOT_PROVISIONED, Status.PENDING_PROVISION}


def _few_names(template: str, username: str, seed: str, taken: Container[str]) -> str:
    """Everybody's first wish is one of two names."""
    wish = len(seed) + ord(seed[-3]) + len(template)
    return next(name for i in range(100) if (name := f"N{wish % 2 + 2 * i}").lower() not in taken)


def outputs_of(desired: DesiredCloudPC, status: Status) -> dict[str, Any]:
    """What a provider records: what was asked for, and what came of it, through Pulumi's JSON."""
    detail = {"code": "bootTimeout", "message": "not ready"} if status not in USABLE else None
    values = desired.model_dump(by_alias=True, mode="json", exclude_defaults=True)
    values |= {"status": status.value, "host": "local", "attempts": 1} | ({"statusDetail": detail} if detail else {})
    again: dict[str, Any] = make.through_pulumi(values)
    return again


class History(RuleBasedStateMachine):
    """State, directory and policy of one stack; `up` is what a run of Pulumi does with them."""

    def __init__(self) -> None:
        super().__init__()
        self.users = {user_id: make.user(user_id) for user_id in _USERS}
        self.licences: set[tuple[str, str]] = set()
        self.members: set[str] = set()
        self.recorded: dict[str, RecordedCloudPC] = {}
        self.tried: dict[str, int] = {}
        self.ever: set[str] = set()

    @initialize(settings=_SETTINGS, template=_TEMPLATES)
    def begin(self, settings: PolicySettings, template: str) -> None:
        self.today = Today("lab", make.INSTALLATION, template, settings)

    # ---- what people do

    @rule(user=st.sampled_from(_USERS))
    def join(self, user: str) -> None:
        self.members.add(user)

    @rule(user=st.sampled_from(_USERS))
    def leave(self, user: str) -> None:
        self.members.discard(user)

    @rule(user=st.sampled_from(_USERS), plan=st.sampled_from(_PLANS))
    def win_licence(self, user: str, plan: str) -> None:
        self.licences.add((user, plan))

    @rule(user=st.sampled_from(_USERS), plan=st.sampled_from(_PLANS))
    def lose_licence(self, user: str, plan: str) -> None:
        self.licences.discard((user, plan))

    @rule(user=st.sampled_from(_USERS), name=st.sampled_from(["ann", "bob", "eve"]))
    def rename(self, user: str, name: str) -> None:
        self.users[user] = replace(self.users[user], user_principal_name=f"{name}.{user}@contoso.example")

    @rule(settings=_SETTINGS, template=_TEMPLATES)
    def edit_policy(self, settings: PolicySettings, template: str) -> None:
        self.today = replace(self.today, settings=settings, naming_template=template)

    # ---- what a run does

    def entitled(self) -> list[Entitlement]:
        return [Entitlement(self.users[u], make.plan(p)) for u, p in sorted(self.licences) if u in self.members]

    def desired(self) -> dict[str, DesiredCloudPC]:
        with mock.patch.object(naming, "device_name", _few_names):
            plan = reconcile(self.recorded, self.entitled(), self.today)
        keys = [d.key for d in plan.desired]
        assert len(keys) == len(set(keys)), "keys are unique"
        return {d.key: DesiredCloudPC.model_validate(make.through_pulumi(_inputs(d))) for d in plan.desired}

    @rule(outcome=st.data())
    def up(self, outcome: st.DataObject) -> None:
        owed = {e.key for e in self.entitled()}
        for key, desired in self.desired().items():
            before = self.recorded.get(key)
            if before is not None and next_step(before, desired) is Step.NONE:
                assert not (before.status in _WAITING and key in owed), "who waits and is entitled is tried again"
                continue
            assert key in owed, "nothing is made for somebody who is not entitled"
            assert before is None or before.status in _WAITING, "only what is new or waits is provisioned"
            status = outcome.draw(_OUTCOMES, label=f"outcome of {key}")
            self.recorded[key] = RecordedCloudPC.model_validate(outputs_of(desired, status))
            self.tried[key] = self.tried.get(key, 0) + 1
            self.ever.add(key)

    # ---- what must hold whatever happened

    @invariant()
    def who_is_owed_or_recorded_is_desired_and_nobody_else(self) -> None:
        if hasattr(self, "today"):
            assert self.desired().keys() == self.recorded.keys() | {e.key for e in self.entitled()}

    @invariant()
    def nothing_disappears(self) -> None:
        assert self.ever == set(self.recorded)

    @invariant()
    def no_device_name_is_given_twice(self) -> None:
        if hasattr(self, "today"):
            names = [d.device_name.lower() for d in self.desired().values()]
            assert len(names) == len(set(names))

    @precondition(lambda self: self.recorded)
    @invariant()
    def what_exists_or_failed_stays_as_it_was_made(self) -> None:
        for key, desired in self.desired().items():
            recorded = self.recorded.get(key)
            if recorded is None or recorded.status in _WAITING:
                continue
            pinned = DesiredCloudPC.model_validate(recorded.model_dump())
            assert desired.model_copy(update={"user_principal_name": pinned.user_principal_name}) == pinned
            assert next_step(recorded, desired) is Step.NONE
            assert not _changes(recorded, desired)

    @precondition(lambda self: self.recorded)
    @invariant()
    def names_that_are_shown_follow_the_directory(self) -> None:
        for key, desired in self.desired().items():
            if key in {e.key for e in self.entitled()}:
                assert desired.user_principal_name == self.users[desired.user_id].user_principal_name

    @invariant()
    def a_second_look_decides_the_same(self) -> None:
        if not hasattr(self, "today"):
            return
        first = self.desired()
        self.recorded, before = (
            {
                key: RecordedCloudPC.model_validate(
                    outputs_of(d, self.recorded[key].status if key in self.recorded else Status.PROVISIONED)
                )
                for key, d in first.items()
            },
            self.recorded,
        )
        second = self.desired()
        stays = {key for key, r in self.recorded.items() if r.status not in _WAITING}
        self.recorded = before
        assert {k: d for k, d in first.items() if k in stays} == {k: d for k, d in second.items() if k in stays}


def _inputs(desired: DesiredCloudPC) -> dict[str, Any]:
    return desired.model_dump(by_alias=True, mode="json", exclude_defaults=True)


def _changes(recorded: RecordedCloudPC, desired: DesiredCloudPC) -> dict[str, Any]:
    """Inputs that differ from what was recorded, as a preview would show them; a rename is no change."""
    old, new = _inputs(DesiredCloudPC.model_validate(recorded.model_dump())), _inputs(desired)
    names = (old.keys() | new.keys()) - {"userPrincipalName"}
    return {name: new.get(name) for name in names if old.get(name) != new.get(name)}


TestHistory = History.TestCase


# ---- single steps, by name


def _entitlement(user_id: str = "u1", **changes: Any) -> Entitlement:
    return Entitlement(make.user(user_id, "small", **changes), make.plan())


def _recorded(status: Status, entitlement: Entitlement | None = None, **changes: Any) -> dict[str, RecordedCloudPC]:
    [desired] = reconcile({}, [entitlement or _entitlement()], make.today()).desired
    recorded = RecordedCloudPC.model_validate(outputs_of(desired, status)).model_copy(update=changes)
    return {recorded.key: recorded}


def test_a_new_cloud_pc_is_made_with_todays_policy() -> None:
    today = make.today(settings=make.settings(locale="de-DE"))
    [desired] = reconcile({}, [_entitlement()], today).desired
    assert desired.settings.locale == "de-DE"
    assert desired.account.name == "u1"
    assert desired.desired_status is Status.PROVISIONED
    assert desired.generation == 1


def test_a_waiting_one_is_tried_again_with_todays_policy_and_keeps_its_name() -> None:
    recorded = _recorded(Status.PENDING_PROVISION)
    plan = reconcile(recorded, [_entitlement()], make.today(settings=make.settings(locale="de-DE")))
    assert plan.desired[0].settings.locale == "de-DE"
    assert plan.desired[0].device_name == recorded["u1/small"].device_name
    assert next_step(recorded["u1/small"], plan.desired[0]) is Step.PROVISION
    assert [notice.message for notice in plan.notices] == [
        "u1@contoso.example (Small): pendingProvision: not ready; tried again"
    ]


def test_a_waiting_one_whose_user_is_no_longer_entitled_is_not_tried() -> None:
    recorded = _recorded(Status.PENDING_PROVISION)
    plan = reconcile(recorded, [], make.today())
    assert plan.desired[0].desired_status is Status.NOT_PROVISIONED
    assert next_step(recorded["u1/small"], plan.desired[0]) is Step.NONE
    assert "none will be made" in plan.notices[0].message


def test_who_is_no_longer_entitled_keeps_the_cloud_pc_with_a_note() -> None:
    recorded = _recorded(Status.PROVISIONED)
    plan = reconcile(recorded, [], make.today())
    assert next_step(recorded["u1/small"], plan.desired[0]) is Step.NONE
    assert "kept unchanged" in plan.notices[0].message


def test_a_renamed_user_keeps_the_cloud_pc_and_its_account() -> None:
    recorded = _recorded(Status.PROVISIONED)
    [desired] = reconcile(recorded, [_entitlement(user_principal_name="eve@contoso.example")], make.today()).desired
    assert desired.user_principal_name == "eve@contoso.example"
    assert desired.account.name == "u1"
    assert desired.device_name == recorded["u1/small"].device_name
    assert next_step(recorded["u1/small"], desired) is Step.NONE


@pytest.mark.parametrize("status", [s for s in Status if s not in _WAITING])
def test_only_what_waits_is_ever_provisioned(status: Status) -> None:
    recorded = _recorded(status)
    [desired] = reconcile(recorded, [_entitlement()], make.today(settings=make.settings(image_digest="new"))).desired
    assert next_step(recorded["u1/small"], desired) is Step.NONE


def test_the_installation_of_an_existing_cloud_pc_stays() -> None:
    recorded = _recorded(Status.PROVISIONED)
    [desired] = reconcile(recorded, [_entitlement()], make.today(installation="another0")).desired
    assert desired.installation == make.INSTALLATION


def test_names_of_different_installations_differ() -> None:
    [mine] = reconcile({}, [_entitlement()], make.today()).desired
    [theirs] = reconcile({}, [_entitlement()], make.today(installation="another0")).desired
    assert mine.device_name != theirs.device_name


@given(
    settings=_SETTINGS,
    ram=st.floats(0.25, 64) | st.integers(1, 64),
    keys=st.lists(st.text(max_size=5), max_size=2),
    detail=st.none() | st.builds(StatusDetail, code=st.text(), message=st.text()),
    status=st.sampled_from(Status),
)
def test_state_gives_back_what_was_recorded(
    settings: PolicySettings, ram: float, keys: list[str], detail: StatusDetail | None, status: Status
) -> None:
    plan = replace(make.plan(), ram_in_gb=ram)
    user = make.user("u1", "small", ssh_public_keys=tuple(keys), display_name="Ünï 💥")
    [desired] = reconcile({}, [Entitlement(user, plan)], make.today(settings=settings)).desired
    recorded = RecordedCloudPC(**desired.model_dump(), status=status, status_detail=detail, host="kvm1")
    for leave_out_defaults in (False, True):
        dumped = recorded.model_dump(by_alias=True, mode="json", exclude_defaults=leave_out_defaults)
        again = RecordedCloudPC.model_validate(make.through_pulumi(dumped))
        assert again == recorded
        # the hash that decides about adoption is taken of this text: numbers must read the same after the journey
        assert again.settings.model_dump_json() == desired.settings.model_dump_json()
        assert again.account.model_dump_json() == desired.account.model_dump_json()
