"""What becomes of each Cloud PC: previous state, entitlements and the clock in, desired Cloud PCs out. Pure and total.

The rules are design section 5's. Sources: Windows 365 "Provisioning", "Device management overview", "Grace period".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from cloudpc.model import naming
from cloudpc.model.cloud_pc import (
    EXTRAS,
    LEAVING,
    USABLE,
    WAITING,
    WITH_MACHINE,
    Account,
    DesiredCloudPC,
    PlanSize,
    PolicySettings,
    RecordedCloudPC,
    Status,
)
from cloudpc.model.directory import Snapshot
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.rules import entitlement, ownership
from cloudpc.rules.entitlement import Entitlement, Loss
from cloudpc.rules.ownership import PolicyFacts


class Step(StrEnum):
    """What the provider has to do to get from what is recorded to what is desired."""

    NONE = "none"
    PROVISION = "provision"
    REPROVISION = "reprovision"
    SET_UP = "setUp"
    """Try again, on the machine as it is, what failed of its set-up."""
    UPDATE_KERNEL = "updateKernel"
    """Give the machine as it is another build's kernel, for its next start."""
    START = "start"
    BEGIN_GRACE = "beginGrace"
    RESTORE = "restore"
    END = "end"


def next_step(recorded: RecordedCloudPC, desired: DesiredCloudPC) -> Step:
    """Total: every pair has an answer. A policy edit alone is none, since kept ones are asked to be what they are."""
    if desired.desired_status is Status.DEPROVISIONING:
        # one that works never ends without its grace: a refresh has found it well after the run was planned
        return Step.NONE if recorded.is_gone or recorded.status in USABLE else Step.END
    if recorded.status is Status.DEPROVISIONING:
        return Step.NONE  # what has ended is not restored
    if desired.desired_status is Status.IN_GRACE_PERIOD:
        if recorded.status_if_there in USABLE:
            return Step.BEGIN_GRACE
        return Step.START if recorded.stands_still else Step.NONE
    if recorded.status is Status.IN_GRACE_PERIOD:
        return Step.RESTORE  # and nothing else, whatever was asked for meanwhile: somebody's data is on it
    if desired.generation > recorded.generation:
        return Step.REPROVISION
    if recorded.status_if_there is Status.IN_GRACE_PERIOD:
        return Step.RESTORE
    if recorded.status in WAITING or (recorded.status is Status.FAILED and desired.retry > recorded.retry):
        # a refresh may find lost what a retry was asked for while it was there; its disk may still be there
        return Step.NONE if recorded.is_lost else Step.PROVISION
    return _step_on_the_machine(recorded, desired)


def _step_on_the_machine(recorded: RecordedCloudPC, desired: DesiredCloudPC) -> Step:
    """What is done with one that stays, and nothing of it is lost."""
    if recorded.failed_extras and desired.retry > recorded.retry:
        return Step.SET_UP
    if recorded.status in USABLE and desired.kernel_generation > recorded.kernel_generation:
        return Step.UPDATE_KERNEL
    return Step.START if recorded.stands_still else Step.NONE


@dataclass(frozen=True)
class Actions:
    """`cloudpc:actions`: generations by key, raised by a command such as `cloudpc retry` or by a pull request."""

    reprovision: Mapping[str, int] = field(default_factory=dict)
    retry: Mapping[str, int] = field(default_factory=dict)
    end_grace: Mapping[str, datetime] = field(default_factory=dict)
    """The end of the very grace period that is to be cut short: no later one is meant."""
    update_kernel: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Today:
    """The policy as it is now: what new Cloud PCs are made with, and its grace period."""

    policy_id: str
    installation: str
    naming_template: str
    settings: PolicySettings
    grace_period_in_hours: int = 168
    actions: Actions = Actions()


@dataclass(frozen=True)
class Notice:
    """What will happen to a Cloud PC, when and why, in words; or what stands in its way."""

    key: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class Reconciliation:
    """The desired Cloud PCs of one policy, and what to tell about them."""

    desired: tuple[DesiredCloudPC, ...]
    notices: tuple[Notice, ...]
    lost_by_directory: tuple[str, ...] = ()
    """Keys of those that enter grace now because of the directory: many at once are more likely its fault."""
    taken_away: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Ids of the groups whose assignment was taken away, by key: a later run must not blame the directory."""


def plan(
    policy: ProvisioningPolicy,
    snapshot: Snapshot,
    own: PolicyFacts,
    siblings: Iterable[PolicyFacts],
    today: Today,
    now: datetime,
    *,
    formerly_assigned: Mapping[str, str] | None = None,
    taken_away: Mapping[str, Sequence[str]] | None = None,
) -> Reconciliation:
    """What one run of one policy makes of the world: whose users are its own, who is owed what, what becomes of each.

    Args:
        policy: as it is now.
        snapshot: the directory as it is now.
        own: this policy's assignments now, and its Cloud PCs as state has them.
        siblings: what state has of the other policies that have run.
        today: what new Cloud PCs are made with.
        now: with a time zone.
        formerly_assigned: the groups that this policy's last run was assigned to: ids, and how they are called.
        taken_away: what the last run made of that, which may have been killed before it recorded anything else.
    """
    siblings, former, before = list(siblings), dict(formerly_assigned or {}), taken_away or {}
    previous = {key: _named_as_now(recorded, snapshot) for key, recorded in own.cloud_pcs.items()}
    serving, elsewhere = ownership.owners([own, *siblings], snapshot), ownership.held(siblings)
    kept = {key for key, pc in previous.items() if pc.status in WITH_MACHINE}
    owed = [
        entitled
        for entitled in entitlement.entitled(policy, snapshot)
        # what is left of another policy's entry keeps us from making one, not from keeping the one its user works on
        if serving[entitled.user.id] == own.policy_id and (entitled.key not in elsewhere or entitled.key in kept)
    ]
    keys = {entitled.key for entitled in owed}
    lost = {
        key: entitlement.loss(
            policy,
            snapshot,
            pc.user_id,
            pc.service_plan.id,
            dict.fromkeys(before.get(key, ()), "another group") | former,
        )
        for key, pc in previous.items()
        if key not in keys
    }
    last = ownership.last_generations([own, *siblings])
    plan = reconcile(previous, owed, lost, today, now, last, remembered=own.ended.keys())
    groups = {key: why.taken_away for key, why in lost.items() if why.taken_away and not previous[key].is_gone}
    return replace(plan, taken_away=groups)


def _named_as_now(recorded: RecordedCloudPC, snapshot: Snapshot) -> RecordedCloudPC:
    """State has the user's name of its last change; who has left the directory keeps that one."""
    user = snapshot.users.get(recorded.user_id)
    return recorded.model_copy(update={"user_principal_name": user.user_principal_name}) if user else recorded


def reconcile(
    previous: Mapping[str, RecordedCloudPC],
    owed: Iterable[Entitlement],
    lost: Mapping[str, Loss],
    today: Today,
    now: datetime,
    last_generations: Mapping[str, int] | None = None,
    remembered: Iterable[str] = (),
) -> Reconciliation:
    """Decide for every Cloud PC that is recorded or owed.

    Args:
        previous: what this policy's state remembers, by key.
        owed: what the policy owes now: the user is its own, and no other policy still has one of that plan.
        lost: for each recorded one that is not owed, why (`entitlement.loss`).
        today: the policy as it is now.
        now: with a time zone.
        last_generations: of those there have been, by key, so that a device name is not given again.
        remembered: keys of those that this policy had before: who asked for something of them did not mistype.
    """
    return _Run(previous, lost, today, now, last_generations or {}).all(owed, remembered)


class _Run:
    def __init__(
        self,
        previous: Mapping[str, RecordedCloudPC],
        lost: Mapping[str, Loss],
        today: Today,
        now: datetime,
        last_generations: Mapping[str, int],
    ) -> None:
        self._previous = previous
        self._lost = lost
        self._today = today
        self._now = now
        self._last_generations = last_generations
        self._taken = {p.device_name.lower() for p in previous.values()}
        self._notices: list[Notice] = []
        self._lost_by_directory: list[str] = []

    def all(self, owed: Iterable[Entitlement], remembered: Iterable[str]) -> Reconciliation:
        entitlements = {e.key: e for e in owed}
        keys = self._previous.keys() | entitlements.keys()
        desired = [self._one(key, entitlements.get(key)) for key in sorted(keys)]
        self._tell_of_unknown({*keys, *remembered})
        return Reconciliation(
            tuple(pc for pc in desired if pc is not None), tuple(self._notices), tuple(self._lost_by_directory)
        )

    def _one(self, key: str, owed: Entitlement | None) -> DesiredCloudPC | None:
        recorded = self._previous.get(key)
        if recorded is None:
            assert owed is not None  # noqa: S101 - the key comes from one of the two
            who = f"{owed.user.user_principal_name} ({owed.service_plan.display_name})"
            self._notices.append(
                Notice(key, f"{who}: is to get a new Cloud PC (image {self._today.settings.image_id})")
            )
            return self._new(owed, self._first_generation(key))
        if recorded.is_gone:
            return None  # the engine's delete has nothing left to do
        if recorded.status is Status.DEPROVISIONING:
            self._tell(recorded, f"could not be removed whole yet, tried again: {'; '.join(recorded.leftovers)}")
            return _as_it_is(recorded)
        if owed is None:
            return self._leaving(recorded)
        return self._staying(recorded, owed)

    def _staying(self, recorded: RecordedCloudPC, owed: Entitlement) -> DesiredCloudPC:
        # a renamed user keeps the Cloud PC; only the name it is shown under follows
        recorded = recorded.model_copy(update={"user_principal_name": owed.user.user_principal_name})
        if recorded.status is Status.IN_GRACE_PERIOD:
            return self._returning(recorded)
        wanted = self._generation(recorded)
        if wanted > recorded.generation and recorded.is_not_in_state:
            self._tell(
                recorded,
                "not reprovisioned: state does not know its user's machine; `cloudpc adopt` takes it back, "
                "`cloudpc adopt --remove` deletes it",
                warning=True,
            )
            recorded, wanted = recorded.model_copy(update={"waived_generation": wanted}), recorded.generation
        if wanted > recorded.generation:
            made_with = recorded.settings
            new = self._new(owed, wanted, recorded)
            loses = "all data on it is lost" if recorded.has_machine else "no data is lost"
            self._tell(recorded, f"reprovision: {loses}{_changes(made_with, new.settings)}")
            return new
        retry = self._today.actions.retry.get(recorded.key, 0)
        if recorded.status in WAITING:
            detail = recorded.status_detail
            if detail is not None:
                self._tell(recorded, f"{recorded.status}: {detail.message.rstrip('.')}; tried again")
            return self._new(owed, recorded.generation, recorded)
        if recorded.status is Status.FAILED and retry > recorded.retry:
            if recorded.is_lost:
                self._tell(recorded, "its machine is lost: `cloudpc reprovision` makes a new one, a retry doesn't")
            else:
                self._tell(recorded, "failed; tried again, three attempts")
                return self._new(owed, recorded.generation, recorded)
        if recorded.status_if_there is Status.IN_GRACE_PERIOD:
            return self._returning(recorded)
        if changes := self._set_up_again(recorded, retry) or self._kernel(recorded):
            return _as_it_is(recorded).model_copy(update=changes)
        self._tell_if_it_stands_still(recorded)
        return _as_it_is(recorded)

    def _set_up_again(self, recorded: RecordedCloudPC, retry: int) -> dict[str, object]:
        """Only what failed, as today's policy has it: what somebody has mended there is why it is tried again."""
        if not recorded.failed_extras or retry <= recorded.retry:
            return {}
        names = [EXTRAS[code] for code in recorded.failed_extras]
        mended = {name: getattr(self._today.settings, name) for name in (*names, "set_up_in_seconds")}
        self._tell(recorded, "what failed of its set-up is tried again on its machine; nothing is lost")
        return {"retry": retry, "settings": recorded.settings.model_copy(update=mended)}

    def _kernel(self, recorded: RecordedCloudPC) -> dict[str, object]:
        """Another build of the same image: of another image, nothing but a reprovision makes one."""
        wanted = self._today.actions.update_kernel.get(recorded.key, 0)
        if recorded.status not in USABLE or wanted <= recorded.kernel_generation:
            return {}
        if why := no_kernel_for(recorded.settings, self._today.settings):
            self._tell(recorded, f"updateKernel in cloudpc:actions is ignored: {why}", warning=True)
            return {}
        self._tell(recorded, "gets the kernel of its image's present build at its next start; nothing is lost")
        return {"kernel_generation": wanted, "kernel_digest": self._today.settings.image_digest}

    def _returning(self, recorded: RecordedCloudPC) -> DesiredCloudPC:
        """Restored with its data, even if a reprovision was asked for: whoever asked did not know of the return."""
        asked, waived = self._today.actions.reprovision.get(recorded.key, 0), recorded.waived_generation
        over = ""
        if asked > self._over(recorded):
            waived, over = asked, f"; the reprovision asked for before (generation {asked}) is over"
        self._tell(recorded, f"entitled again: the grace period is over, nothing is rebuilt{over}")
        return _as_it_is(recorded).model_copy(
            update={
                "desired_status": Status.PROVISIONED,
                "grace_period_end_date_time": None,
                "why": "",
                "waived_generation": waived,
            }
        )

    def _leaving(self, recorded: RecordedCloudPC) -> DesiredCloudPC:
        loss = self._lost[recorded.key]
        # of a lost one there may still be a disk, and a person who defines its machine again
        if recorded.status_if_there in USABLE:
            end = self._now + timedelta(hours=self._today.grace_period_in_hours)
            self._tell(recorded, f"grace until {_shown(end)} ({loss.words})")
            if loss.by_directory:
                self._lost_by_directory.append(recorded.key)
            return _as_it_is(recorded).model_copy(
                update={
                    "desired_status": Status.IN_GRACE_PERIOD,
                    "grace_period_end_date_time": end,
                    "why": loss.words,
                }
            )
        if recorded.status_if_there is Status.IN_GRACE_PERIOD:
            end = recorded.grace_period_end_date_time or self._now
            asked = self._today.actions.end_grace.get(recorded.key)
            cut_short = asked == end
            if self._now < end and not cut_short:
                if asked is not None and asked > self._now and recorded.generation == 1:  # else of one before
                    meant = f"endGrace {_shown(asked)} in cloudpc:actions is ignored: its grace period"
                    self._tell(recorded, f"{meant} ends on {end:%Y-%m-%dT%H:%M:%SZ}", warning=True)
                self._tell_if_it_stands_still(recorded)
                return _as_it_is(recorded)
            why = "ended by the admin" if cut_short and self._now < end else f"grace was over on {_shown(end)}"
            self._tell(recorded, f"ends now ({why}; {recorded.why}): all data on it is deleted")
            return _ended(recorded, f"{why}; {recorded.why}")
        self._tell(recorded, f"{recorded.status}, and ends ({loss.words})")
        return _ended(recorded, loss.words)

    def _generation(self, recorded: RecordedCloudPC) -> int:
        """The generation it is to be of: what is asked for, unless it is over already."""
        wanted, over = self._today.actions.reprovision.get(recorded.key), self._over(recorded)
        if wanted is None or wanted == over:
            return recorded.generation
        if wanted < over:
            self._tell(
                recorded,
                f"reprovision generation {wanted} in cloudpc:actions is ignored: state is at {over}; "
                f"remove the line, or write {over + 1} to ask for one",
                warning=True,
            )
            return recorded.generation
        return wanted

    @staticmethod
    def _over(recorded: RecordedCloudPC) -> int:
        return max(recorded.generation, recorded.waived_generation)

    def _first_generation(self, key: str) -> int:
        return max(self._last_generations.get(key, 0) + 1, self._today.actions.reprovision.get(key, 1))

    def _new(
        self,
        owed: Entitlement,
        generation: int,
        recorded: RecordedCloudPC | None = None,
    ) -> DesiredCloudPC:
        """With today's settings; retries asked for until now are over: should it fail, somebody asks anew."""
        user, plan, today = owed.user, owed.service_plan, self._today
        seed = "\0".join((today.installation, user.id, plan.id, str(generation)))
        if recorded is not None and generation == recorded.generation:
            self._taken.discard(recorded.device_name.lower())
        name = naming.device_name(today.naming_template, user.username, seed, self._taken)
        self._taken.add(name.lower())
        waived = recorded.waived_generation if recorded is not None and recorded.waived_generation > generation else 0
        asked, kernel = today.actions.retry.get(owed.key, 0), today.actions.update_kernel.get(owed.key, 0)
        return DesiredCloudPC(
            policy_id=today.policy_id,
            installation=today.installation,
            user_id=user.id,
            user_principal_name=user.user_principal_name,
            generation=generation,
            waived_generation=waived,
            retry=max(asked, recorded.retry if recorded is not None else 0),
            kernel_generation=max(kernel, recorded.kernel_generation if recorded is not None else 0),
            device_name=name,
            account=Account(
                name=naming.account_name(user.username),
                display_name=user.display_name,
                ssh_public_keys=user.ssh_public_keys,
            ),
            service_plan=PlanSize(
                id=plan.id,
                display_name=plan.display_name,
                v_cpu_count=plan.vcpu_count,
                ram_in_gb=plan.ram_in_gb,
                storage_in_gb=plan.storage_in_gb,
            ),
            settings=today.settings,
        )

    def _tell_of_unknown(self, known: Set[str]) -> None:
        """Whoever mistypes a key would wait for what never comes."""
        actions = self._today.actions
        asked = {
            "reprovision": actions.reprovision,
            "retry": actions.retry,
            "endGrace": actions.end_grace,
            "updateKernel": actions.update_kernel,
        }
        for action, keys in asked.items():
            for key in sorted(keys.keys() - known):
                message = f"cloudpc:actions.{action} names {key}, and this policy has no such Cloud PC"
                hint = "it is <user id>/<service plan id>, as `cloudpc list --json` has them"
                self._notices.append(Notice(key, f"{message}; {hint}", warning=True))

    def _tell_if_it_stands_still(self, recorded: RecordedCloudPC) -> None:
        if recorded.stands_still:
            is_paused = f"is paused ({recorded.paused_because}), and is resumed"
            self._tell(recorded, is_paused if recorded.power_state == "paused" else "is off, and is started")

    def _tell(self, recorded: RecordedCloudPC, what: str, *, warning: bool = False) -> None:
        who = f"{recorded.user_principal_name} ({recorded.service_plan.display_name})"
        self._notices.append(Notice(recorded.key, f"{who}: {what}", warning))


def _as_it_is(recorded: RecordedCloudPC) -> DesiredCloudPC:
    """What is recorded, as what is desired."""
    same = DesiredCloudPC.model_validate(recorded.model_dump())
    if recorded.status_if_there in LEAVING:
        return same.model_copy(update={"desired_status": recorded.status_if_there})
    return same.model_copy(update={"desired_status": Status.PROVISIONED})


def _ended(recorded: RecordedCloudPC, why: str) -> DesiredCloudPC:
    return _as_it_is(recorded).model_copy(update={"desired_status": Status.DEPROVISIONING, "why": why})


def _shown(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _changes(before: PolicySettings, after: PolicySettings) -> str:
    """Which settings a reprovision changes, in words."""
    found = outdated(before, after)
    return f" ({'; '.join(found)})" if found else ""


def no_kernel_for(made_with: PolicySettings, today: PolicySettings) -> str:
    """Why a machine can't be given the kernel of today's image, if so."""
    if made_with.image_type == "custom":
        return "a machine of a custom image has its kernel on its own disk; update it there"
    if (today.image_type, today.image_id) != (made_with.image_type, made_with.image_id):
        return f"it was made of the image {made_with.image_id}, and the policy has {today.image_id} now"
    return ""


def outdated(made_with: PolicySettings, today: PolicySettings, kernel_digest: str = "") -> list[str]:
    """What today's policy says otherwise than what a Cloud PC was made with: `image debian-12 -> debian-13`.

    Args:
        made_with: what it was made with.
        today: what the policy says.
        kernel_digest: the build whose kernel it was given since.
    """
    names = {
        "networks": "networks",
        "locale": "locale",
        "time_zone": "time zone",
        "local_admin_enabled": "local admin",
        "packages": "packages",
        "script": "post-provisioning script",
    }
    images = [(s.image_type, s.image_id) for s in (made_with, today)]
    found = []
    if images[0] != images[1]:
        same_name = made_with.image_id == today.image_id
        shown = [f"{kind} {name}" if same_name else name for kind, name in images]
        found.append(f"image {shown[0]} -> {shown[1]}")
    elif made_with.image_digest != today.image_digest:
        kernel = ", whose kernel it was given" if kernel_digest == today.image_digest else ""
        found.append(f"a newer build of image {today.image_id}{kernel}")
    for name, word in names.items():
        before, after = getattr(made_with, name), getattr(today, name)
        if before != after:
            plain = isinstance(before, str) and isinstance(after, str)
            found.append(f"{word} {before} -> {after}" if plain else f"other {word}")
    return found
