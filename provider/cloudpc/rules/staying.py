"""What becomes of a Cloud PC that its user is entitled to: it is as it was made, unless somebody asks for more."""

from __future__ import annotations

from functools import partial

from cloudpc.model.cloud_pc import WAITING, RecordedCloudPC, Status
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.action import Case, as_it_is
from cloudpc.rules.actions.reprovision import REPROVISION
from cloudpc.rules.anew import Anew
from cloudpc.rules.decision import Decision, standing_still
from cloudpc.rules.entitlement import Entitlement
from cloudpc.rules.notices import EntitledAgain, Reason, StillWaiting
from cloudpc.rules.today import Today


def decide(recorded: RecordedCloudPC, owed: Entitlement, today: Today, anew: Anew) -> Decision:
    """What becomes of it. In the order of `lifecycle.next_step`, which says what is then done."""
    # a renamed user keeps the Cloud PC; only the name it is shown under follows
    recorded = recorded.model_copy(update={"user_principal_name": owed.user.user_principal_name})
    if recorded.status is Status.IN_GRACE_PERIOD:
        return _returning(recorded, today)
    told: list[Reason] = []
    for action in ACTIONS:
        asked = today.asked(action.name, recorded.key)
        answer = action.plan(Case(recorded, asked, today.settings, partial(anew.again, owed, recorded)))
        told += answer.told
        if answer.desired is not None:
            return Decision(answer.desired, tuple(told))
        if answer.waived is not None:
            recorded = recorded.model_copy(update={"waived_generation": answer.waived})
    unasked = _unasked(recorded, owed, today, anew)
    return Decision(unasked.desired, (*told, *unasked.told))


def _unasked(recorded: RecordedCloudPC, owed: Entitlement, today: Today, anew: Anew) -> Decision:
    """What is done without anybody asking for it."""
    if recorded.status_if_there is Status.IN_GRACE_PERIOD:
        return _returning(recorded, today)
    if recorded.status in WAITING:
        detail = recorded.status_detail
        told = (StillWaiting(recorded.status, detail.message),) if detail else ()
        return Decision(anew.again(owed, recorded, recorded.generation), told)
    return Decision(as_it_is(recorded), standing_still(recorded))


def _returning(recorded: RecordedCloudPC, today: Today) -> Decision:
    """Restored with its data, even if a reprovision was asked for: whoever asked did not know of the return."""
    asked, waived = today.asked(REPROVISION.name, recorded.key), 0
    if isinstance(asked, int) and asked > REPROVISION.count(recorded):
        waived = asked
    desired = as_it_is(recorded).model_copy(
        update={
            "desired_status": Status.PROVISIONED,
            "grace_period_end_date_time": None,
            "why": "",
            "waived_generation": waived or recorded.waived_generation,
        }
    )
    return Decision(desired, (EntitledAgain(waived),))
