"""Answers of a guest agent that are lost, late or refused, without a guest."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import libvirt
import libvirt_qemu
import pytest

from cloudpc.machines.libvirt import agent as module
from cloudpc.machines.libvirt import guest as waiting
from cloudpc.machines.libvirt.agent import Agent, AgentUnavailable
from cloudpc.machines.libvirt.guest import _Questions
from cloudpc.provisioning.cancellation import Cancellation
from cloudpc.provisioning.errors import Cancelled, ErrorCode

from .test_errors import error

SILENT = error("Guest agent is not responding", libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_FROM_QEMU)


def refused(command: str, why: str) -> libvirt.libvirtError:
    text = f"internal error: unable to execute QEMU agent command '{command}': {why}"
    return error(text, libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_QEMU)


class Domain:
    """One that runs, with the agent's channel open."""

    def isActive(self) -> bool:
        return True

    def XMLDesc(self, _flags: int) -> str:
        target = "<target name='org.qemu.guest_agent.0' state='connected'/>"
        return f"<domain><devices><channel>{target}</channel></devices></domain>"


@pytest.fixture
def guest(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Says what the agent will answer, in order; returns the commands as they come in."""
    monkeypatch.setattr(module, "_ASK_AGAIN_EVERY", 0)
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0)

    def says(*answers: Any) -> list[str]:
        left, asked = list(answers), list[str]()

        def command(_domain: object, request: str, _timeout: int, _flags: int) -> str:
            asked.append(json.loads(request)["execute"])
            answer = left.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return json.dumps({"return": answer})

        monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", command)
        return asked

    return says


def part(text: bytes, *, eof: bool) -> dict[str, Any]:
    return {"buf-b64": base64.b64encode(text).decode(), "count": len(text), "eof": eof}


def test_a_file_whose_part_was_lost_is_read_from_its_beginning(guest: Callable[..., list[str]]) -> None:
    asked = guest(7, part(b"ssh-", eof=False), SILENT, {}, 8, part(b"ssh-", eof=False), part(b"key", eof=True), {})
    assert Agent(Domain()).read_file("/key") == b"ssh-key"
    assert asked.count("guest-file-open") == asked.count("guest-file-close") == 2


def test_how_a_program_ended_may_be_lost_but_it_is_never_started_twice(guest: Callable[..., list[str]]) -> None:
    asked = guest({"pid": 5}, SILENT, refused("guest-exec-status", "Invalid parameter 'pid'"), {"pid": 6})
    with pytest.raises(TimeoutError, match="answer of how was lost"):
        Agent(Domain()).run(["apt-get"], stdin=b"", timeout=60)
    assert asked == ["guest-exec", "guest-exec-status", "guest-exec-status", "guest-exec"], "the last is `kill`"
    guest(SILENT)
    with pytest.raises(AgentUnavailable):
        Agent(Domain()).run(["apt-get"], stdin=b"", timeout=60)


def test_waiting_for_a_silent_agent_can_be_cancelled(guest: Callable[..., list[str]]) -> None:
    cancel = Cancellation()
    cancel.cancel()
    guest({"pid": 5}, SILENT, {"pid": 6})
    with pytest.raises(Cancelled):
        Agent(Domain(), cancel=cancel).run(["sleep"], stdin=b"", timeout=60)


@pytest.mark.parametrize(
    "why",
    ["The command guest-file-open has been disabled for this instance", "Command guest-file-open has been disabled"],
)
def test_an_agent_that_may_not_answer_is_not_waited_for(guest: Callable[..., list[str]], why: str) -> None:
    guest(refused("guest-file-open", why))
    answer = _Questions(Domain())._question()
    assert answer.lost is not None
    assert answer.lost.code is ErrorCode.FIRST_BOOT_FAILED
    assert not answer.lost.retriable
    assert "qemu-ga" in answer.lost.hint


def test_an_agent_whose_event_was_lost_is_asked_all_the_same(
    guest: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unheard(Domain):
        def XMLDesc(self, _flags: int) -> str:
            return super().XMLDesc(0).replace("state='connected'", "state='disconnected'")

    monkeypatch.setattr(waiting, "_LISTEN_FOR", 0.01)
    guest(7, part(b'{"v1": {"errors": []}}', eof=True), {})
    with _Questions(Unheard()) as questions:
        questions._thread.join(10)
    assert questions.answer.done
