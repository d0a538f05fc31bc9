"""A remote action that the program does not have, as an example of what one is."""

from __future__ import annotations

from cloudpc.model.guests import Script
from cloudpc.rules.actions.action import Question
from cloudpc.rules.actions.on_machine import Came, OnMachine
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.asked import Asked


class SignOut(OnMachine[Asked]):
    """Graph has no such action."""

    name = "signOut"
    command = "sign-out"
    help = "Sign out whoever works on Cloud PCs.\n\nWhat is not saved is lost."
    description = "Raised: whoever works on it is signed out."
    question = Question("Whoever works on {cloud_pcs} is signed out:", "Sign out of {them}?")
    can_be = "signed out of"
    notice = "whoever works on it is signed out"
    not_done = "not signed out, tried again by the next run"

    def work(self, at: Workplace) -> Came:
        at.wake()
        at.host.guest(at.recorded.machine_id).run([Script("loginctl terminate-user 1000", timeout=30)], at.watch)
        return Came("signed out")
