"""Remote actions as buttons: which there are for somebody, what each costs, and the command that does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from cloudpc.model.cloud_pc import PolicySettings, RecordedCloudPC
from cloudpc.rules.actions import ACTIONS
from cloudpc.rules.actions.action import Action
from cloudpc.rules.asked import Asked
from cloudpc.web.fleet import Row, Today
from cloudpc.web.person import Person


@dataclass(frozen=True)
class _Candidate:
    row: Row
    today: Today
    asked: Any

    @property
    def recorded(self) -> RecordedCloudPC:
        return self.row.record.recorded

    @property
    def settings_of_today(self) -> PolicySettings | None:
        return self.today.settings

    @property
    def is_entitled(self) -> bool:
        return self.row.record.key in self.today.entitled

    @property
    def is_outdated(self) -> bool:
        return bool(self.row.outdated)


@dataclass(frozen=True)
class Option:
    """One argument of an action, as a form has it."""

    name: str
    label: str
    help: str
    required: bool
    kind: str
    """text, number, checkbox or select."""
    choices: tuple[str, ...] = ()
    longest: int | None = None


@dataclass(frozen=True)
class Button:
    """An action on one Cloud PC, as somebody may ask for it."""

    action: Action[Any]
    row: Row
    refusal: str = ""
    """Why it may not be asked for now; empty: it may."""
    is_users: bool = False
    """Whether it is the button of a user, who may know the action by another name."""

    @property
    def command(self) -> str:
        """Its command, which is its name in addresses, too."""
        return self.action.command

    @property
    def label(self) -> str:
        """On the button."""
        name = (self.is_users and self.action.users_call_it) or self.command
        return name.replace("-", " ").capitalize()

    @property
    def summary(self) -> str:
        """What it does, in a sentence."""
        return self.action.help.partition("\n\n")[0]

    @property
    def more(self) -> str:
        """What else is worth knowing."""
        return self.action.help.partition("\n\n")[2]

    @property
    def cost(self) -> str:
        """What is lost by it, in a sentence; empty: nothing is."""
        question = self.action.question
        if question is None:
            return ""
        named = {option.name: "…" for option in self.options}
        text = question.title.format(**named, cloud_pcs=f"the Cloud PC of {self.row.user}", them="it")
        return f"{text.rstrip(':')}."

    @property
    def is_direct(self) -> bool:
        """Whether a press is enough: nothing is lost, and nothing has to be said."""
        return self.action.question is None and not self.options

    @property
    def options(self) -> list[Option]:
        """What it is asked for with."""
        return [_option(name, taken) for name, taken in self.action.asked.options().items()]

    def words(self, given: Mapping[str, str]) -> list[str]:
        """The command, after `cloudpc`. A value stands behind a `=`, so that none is taken for an option."""
        pc, words = self.row.record, [self.command]
        for option in self.options:
            value, name = given.get(option.name, ""), f"--{option.name.replace('_', '-')}"
            if option.kind == "checkbox":
                words += [name] if value else []
            elif value or option.required:
                words.append(f"{name}={value}")
        words += [f"--policy={pc.policy}", f"--service-plan={pc.service_plan}"]
        words += ["--yes"] if self.action.question else []
        return [*words, "--", pc.user_id] if pc.user_id.startswith("-") else [*words, pc.user_id]


def buttons(person: Person, row: Row, today: Today) -> list[Button]:
    """All that this person may see of a Cloud PC."""
    return [button for action in ACTIONS if (button := button_of(person, row, today, action.command))]


def button_of(person: Person, row: Row, today: Today, command: str) -> Button | None:
    """One by its command; None if there is none for this person."""
    action = next((each for each in ACTIONS if each.command == command), None)
    if action is None or not (person.is_admin or action.is_for_users_of(today.policy)):
        return None
    fields = dict.fromkeys(action.asked.options())
    unsaid: Asked = action.asked.model_construct(generation=1, **fields)
    why = action.refusal(_Candidate(row, today, unsaid))
    return Button(action, row, str(why) if why else "", not person.is_admin)


def _option(name: str, taken: Any) -> Option:
    annotation = taken.annotation
    kinds = [each for each in (get_args(annotation) or (annotation,)) if each is not type(None)]
    longest = next((each.max_length for each in taken.metadata if hasattr(each, "max_length")), None)
    kind = "text"
    choices: tuple[str, ...] = ()
    if get_origin(annotation) is Literal:
        kind, choices = "select", tuple(map(str, get_args(annotation)))
    elif kinds == [bool]:
        kind = "checkbox"
    elif kinds and kinds[0] in (int, float):
        kind = "number"
    label = name.replace("_", " ").capitalize()
    return Option(name, label, taken.description or "", taken.is_required(), kind, choices, longest)
