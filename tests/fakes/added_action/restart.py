"""A remote action that the program does not have, as an example of what one is."""

from __future__ import annotations

from cloudpc.model.guests import Script
from cloudpc.rules.actions.action import Question
from cloudpc.rules.actions.on_machine import OnMachine
from cloudpc.rules.actions.workplace import Workplace
from cloudpc.rules.asked import Asked


class Restart(OnMachine[Asked]):
    """Graph's `reboot`."""

    name = command = "restart"
    graph = "reboot"
    help = "Restart the guests of Cloud PCs.\n\nWhoever works on one is signed out."
    description = "Raised: its guest is restarted."
    question = Question("Whoever works on {cloud_pcs} is signed out:", "Restart {them}?")
    rule = "only one that works can be restarted"
    notice = "is restarted; whoever works on it is signed out"
    not_done = "not restarted, tried again by the next run"

    def work(self, at: Workplace) -> str:
        at.wake()
        at.host.guest(at.recorded.machine_id).run([Script("systemctl reboot", timeout=30)], at.watch)
        return "restarted"
