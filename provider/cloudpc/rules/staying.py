"""What becomes of a Cloud PC that its user is entitled to: it is as it was made, unless somebody asks for more."""

from __future__ import annotations

from functools import partial

from cloudpc.model.cloud_pc import WAITING, RecordedCloudPC, Status
from cloudpc.rules import grace
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.case import Case
from cloudpc.rules.anew import Anew
from cloudpc.rules.decision import Decision, standing_still
from cloudpc.rules.entitlement import Entitlement
from cloudpc.rules.kept import as_it_is
from cloudpc.rules.notices import Reason, StillWaiting
from cloudpc.rules.today import Today


def decide(recorded: RecordedCloudPC, owed: Entitlement, today: Today, anew: Anew) -> Decision:
    """What becomes of it. In the order of `lifecycle.next_step`, which says what is then done."""
    # a renamed user keeps the Cloud PC; only the name it is shown under follows
    recorded = recorded.model_copy(update={"user_principal_name": owed.user.user_principal_name})
    if recorded.status is Status.IN_GRACE_PERIOD:
        return grace.returning(recorded, today)
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
    """What is done though nobody asks for it."""
    if recorded.status_if_there is Status.IN_GRACE_PERIOD:
        return grace.returning(recorded, today)
    if recorded.status in WAITING:
        detail = recorded.status_detail
        told = (StillWaiting(recorded.status, detail.message),) if detail else ()
        return Decision(anew.again(owed, recorded, recorded.generation), told)
    return Decision(as_it_is(recorded), standing_still(recorded))
