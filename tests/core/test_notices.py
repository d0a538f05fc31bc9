"""The words of each reason, in one place; other tests assert reasons."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cloudpc.model.cloud_pc import Status
from cloudpc.rules.actions.end_grace import AnotherEnd, NotInGrace
from cloudpc.rules.actions.power import RESTART
from cloudpc.rules.actions.reasons import Ignored, NotEntitled, PolicyNotKnown, WrongStatus
from cloudpc.rules.actions.reprovision import AdoptFirst, GenerationIsOver, NotInState, Reprovisioned
from cloudpc.rules.actions.retry import AttemptsAgain, IsLost, ReprovisionInstead, SetUpAgain
from cloudpc.rules.actions.update_kernel import HasIt, OtherImage, OwnKernel
from cloudpc.rules.entitlement import Loss, Lost
from cloudpc.rules.notices import (
    BeginsGrace,
    EndsUnused,
    EntitledAgain,
    GraceEnds,
    New,
    Notice,
    NotRemovedWhole,
    Reason,
    StandsStill,
    StillWaiting,
    UnknownKey,
)

_NINE = datetime(2026, 11, 25, 9, tzinfo=UTC)
_TOLD: list[tuple[Reason, str]] = [
    (New("micro"), "will get a new Cloud PC (image micro)"),
    (StillWaiting(Status.PENDING_PROVISION, "No room."), "pendingProvision: No room; tried again"),
    (EntitledAgain(), "entitled again: the grace period is cancelled, nothing is rebuilt"),
    (
        EntitledAgain(waived=3),
        "entitled again: the grace period is cancelled, nothing is rebuilt; "
        "the reprovision asked for before (generation 3) is over",
    ),
    (StandsStill(), "is off, and will be started"),
    (StandsStill("the host's disk was full"), "is paused (the host's disk was full), and will be resumed"),
    (BeginsGrace(_NINE, "left group Lab"), "grace until 2026-11-25 09:00 UTC (left group Lab)"),
    (
        GraceEnds("left group Lab", _NINE),
        "ends now (grace period ended on 2026-11-25 09:00 UTC; left group Lab): all data on it is deleted",
    ),
    (GraceEnds("left group Lab"), "ends now (ended by the admin; left group Lab): all data on it is deleted"),
    (EndsUnused(Status.FAILED, "left group Lab"), "failed, and ends (left group Lab)"),
    (
        NotRemovedWhole(("its disk", "its seed")),
        "could not be removed completely yet, will be tried again: its disk; its seed",
    ),
    (Reprovisioned(loses_data=True), "reprovision: all data on it is lost"),
    (
        Reprovisioned(loses_data=False, changes=("image a -> b", "other packages")),
        "reprovision: no data is lost (image a -> b; other packages)",
    ),
    (AttemptsAgain(), "failed; will be tried again, up to three attempts"),
    (SetUpAgain(), "the failed parts of its set-up are repeated on its machine; nothing is lost"),
    (IsLost(), "its machine is lost; `cloudpc reprovision` makes a new one, a retry doesn't"),
]
_WARNED: list[tuple[Reason, str]] = [
    (
        UnknownKey("retry", "u1/smal"),
        "cloudpc:actions.retry names u1/smal, but this policy has no such Cloud PC; "
        "a key is <user id>/<service plan id>, as `cloudpc list --json` shows them",
    ),
    (
        GenerationIsOver(asked=2, over=3),
        "reprovision generation 2 in cloudpc:actions is ignored: state is at 3; "
        "remove the line, or write 4 to ask for one",
    ),
    (
        NotInState(),
        "not reprovisioned: its user has a machine that state does not know; `cloudpc adopt` takes it back, "
        "`cloudpc adopt --remove` deletes it",
    ),
    (
        AnotherEnd(_NINE, _NINE.replace(hour=10)),
        "endGrace 2026-11-25 09:00 UTC in cloudpc:actions is ignored: its grace period ends on 2026-11-25T10:00:00Z",
    ),
    (
        Ignored("updateKernel", str(OtherImage("a", "b"))),
        "updateKernel in cloudpc:actions is ignored: it was made from the image a, and the policy now names b",
    ),
]
_REFUSED: list[tuple[Reason, str]] = [
    (
        WrongStatus(Status.PENDING_PROVISION, "only a failed one can be"),
        "it is pendingProvision (each run tries again by itself); only a failed one can be",
    ),
    (WrongStatus(Status.FAILED, "only another can be"), "it is failed; only another can be"),
    (WrongStatus(Status.DEPROVISIONING, "no"), "it is deprovisioning (it has ended); no"),
    (
        WrongStatus(Status.IN_GRACE_PERIOD, RESTART.rule),
        "it is inGracePeriod (its user is no longer entitled); "
        "only one that is provisioned or provisionedWithWarnings can be restarted",
    ),
    (NotEntitled(), "its user is no longer entitled: the next run of its policy decides what happens to it"),
    (PolicyNotKnown(), "its policy's current settings are unknown"),
    (
        AdoptFirst(),
        "its user has a machine that state does not know; `cloudpc adopt` takes it back; "
        "after `cloudpc adopt --remove`, `cloudpc retry` makes a new one",
    ),
    (ReprovisionInstead(), "its machine is lost; `cloudpc reprovision` makes a new one"),
    (OwnKernel(), "a machine of a custom image has its kernel on its own disk; update it there"),
    (HasIt("debian-12"), "it already has the kernel of the current build of debian-12"),
    (
        NotInGrace(Status.PROVISIONED),
        "it is provisioned; only a Cloud PC that is inGracePeriod has a grace period to end",
    ),
]


@pytest.mark.parametrize(("reason", "words"), [*_TOLD, *_WARNED, *_REFUSED])
def test_words(reason: Reason, words: str) -> None:
    assert str(reason) == words
    assert Notice("u1/small", reason, "u1@contoso.example (Small)").message == f"u1@contoso.example (Small): {words}"
    assert Notice("u1/small", reason).message == words
    assert reason.warning == ((reason, words) in _WARNED)


@pytest.mark.parametrize(
    ("loss", "words", "by_directory"),
    [
        (Loss(Lost.DIRECTORY_ENTRY), "the user is no longer in the directory", True),
        (Loss(Lost.ENABLED_ACCOUNT), "the account is disabled", True),
        (Loss(Lost.ASSIGNMENT, ("A", "B")), "the policy is no longer assigned to A, B", False),
        (Loss(Lost.ANY_ASSIGNMENT), "the policy is assigned to no group", False),
        (Loss(Lost.MEMBERSHIP, ("A", "B")), "left group A and group B", True),
        (
            Loss(Lost.MEMBERSHIP, ("A",), gone=("B", "C")),
            "left group A, or was in B, C, which the directory no longer has",
            True,
        ),
        (Loss(Lost.LICENCE, ("small",)), "no longer has a licence for small", True),
        (Loss(Lost.POLICY), "another policy serves the user", False),
    ],
)
def test_why_somebody_is_entitled_no_longer(loss: Loss, words: str, by_directory: bool) -> None:
    assert (str(loss), loss.by_directory) == (words, by_directory)
