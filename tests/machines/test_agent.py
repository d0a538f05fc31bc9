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
from cloudpc.machines.libvirt import first_boot_wait
from cloudpc.machines.libvirt.agent import Agent, AgentUnavailable
from cloudpc.machines.libvirt.answers import AgentRefused
from cloudpc.machines.libvirt.first_boot_wait import _Questions
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import Cancelled, ErrorCode

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


@pytest.mark.parametrize(
    "answers",
    [
        (SILENT, 7, {"count": 4}, {}),
        (7, SILENT, {}, 8, {"count": 4}, {}),
        (7, {"count": 4}, SILENT, 8, {"count": 4}, {}),
    ],
    ids=["open", "write", "close"],
)
def test_a_file_is_written_from_its_beginning_until_it_is_whole(
    guest: Callable[..., list[str]], answers: tuple[Any, ...]
) -> None:
    asked = guest(*answers)
    Agent(Domain()).write_file("/key", b"text")
    assert len(asked) == len(answers)


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

    monkeypatch.setattr(first_boot_wait, "_LISTEN_FOR", 0.01)
    guest(7, part(b'{"v1": {"errors": []}}', eof=True), {})
    with _Questions(Unheard()) as questions:
        questions._thread.join(10)
    assert questions.answer.done


# ---- a guest is anybody's: what its agent answers may be anything


NONSENSE: list[Any] = [
    None, 5, "text", [], {}, [[]], {"pid": -1}, {"pid": 1e300}, {"pid": True}, {"pid": "5"}, {"pid": 2**70},
]  # fmt: skip
"""Answers to nothing that was asked."""
RAW = ["", "null", "[" * 100_000, '{"return": ' + "9" * 6000 + "}", '{"error": {}}', "\x00", '{"return": {"pid": NaN}}']


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The agent's answer to everything, as text."""
    return lambda text: monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", lambda *_: text)


def _refused_by(agent: Agent) -> None:
    with pytest.raises(AgentRefused):
        agent.run(["true"], stdin=b"", timeout=5)
    with pytest.raises(AgentRefused):
        agent.read_file("/etc/os-release")
    assert _Questions(Domain())._answered().done is False


@pytest.mark.parametrize("answer", NONSENSE)
def test_nonsense_is_refused(raw: Callable[[str], None], answer: Any) -> None:
    raw(json.dumps({"return": answer}))
    if answer != 5:  # a handle, of a file that then makes no sense
        _refused_by(Agent(Domain()))
    assert Agent(Domain()).addresses("52:54:00:00:00:01") == []


@pytest.mark.parametrize("text", RAW)
def test_what_is_no_answer_at_all_is_refused(raw: Callable[[str], None], text: str) -> None:
    raw(text)
    _refused_by(Agent(Domain()))


@pytest.mark.parametrize(
    "part_",
    [
        {"buf-b64": 5, "count": 1, "eof": False}, {"buf-b64": "AA=A", "count": 1, "eof": True},
        {"buf-b64": "ü", "count": 1, "eof": True}, {"buf-b64": "QQ==", "count": 1, "eof": 0}, {"buf-b64": "QQ=="}, [],
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_refused(guest: Callable[..., list[str]], part_: Any) -> None:
    guest(7, part_, {})
    with pytest.raises(AgentRefused):
        Agent(Domain()).read_file("/etc/os-release")


def test_a_file_without_end_is_read_up_to_its_limit_and_closed(guest: Callable[..., list[str]]) -> None:
    asked = guest(7, *[part(bytes(400), eof=False)] * 3, {})
    with pytest.raises(AgentRefused, match="more than 1000 bytes"):
        Agent(Domain()).read_file("/etc/os-release", limit=1000)
    assert asked[-1] == "guest-file-close"


def test_a_file_that_comes_byte_by_byte_has_one_deadline(
    guest: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    guest(7, *[part(b"a", eof=False)] * 50, {})
    with pytest.raises(TimeoutError):
        Agent(Domain()).read_file("/etc/os-release", timeout=20)


def test_reading_can_be_cancelled(guest: Callable[..., list[str]]) -> None:
    cancel = Cancellation()
    cancel.cancel()
    guest(7, *[part(b"a", eof=False)] * 50)
    with pytest.raises(Cancelled):
        Agent(Domain(), cancel=cancel).read_file("/etc/os-release")


@pytest.mark.parametrize(
    "status", [{"exited": "yes"}, {"exited": True, "exitcode": "0"}, {"exited": True, "signal": -9}]
)
def test_how_a_program_ended_is_checked(guest: Callable[..., list[str]], status: Any) -> None:
    guest({"pid": 5}, status, {"pid": 6})
    with pytest.raises(AgentRefused):
        Agent(Domain()).run(["true"], stdin=b"", timeout=60)


def test_of_what_a_program_says_the_end_is_kept(guest: Callable[..., list[str]]) -> None:
    said = base64.b64encode(bytes(10**6) + b"the end").decode()
    guest({"pid": 5}, {"exited": True, "exitcode": 2**32 - 1, "out-data": said})
    ended = Agent(Domain()).run(["yes"], stdin=b"", timeout=60)
    assert (ended.exit_code, len(ended.output), ended.output[-7:]) == (2**32 - 1, 256 * 1024, "the end")


def test_only_addresses_are_taken_for_addresses(guest: Callable[..., list[str]]) -> None:
    mac = "52:54:00:00:00:01"
    found = ["2001:db8::1", "10.0.0.7", "$(reboot)", "-oProxyCommand=x", "2001:db8::2%eth0 x", 7, None, "10.0.0.7"]
    entries: list[Any] = [{"ip-address": address} for address in found]
    guest([{"hardware-address": mac.upper(), "ip-addresses": [*entries, "10.0.0.8"]}, {"hardware-address": 5}, "eth0"])
    assert Agent(Domain()).addresses(mac) == ["10.0.0.7", "2001:db8::1"]


@pytest.mark.parametrize("errors", ["5", '"text"', "null", '{"a": 1}'])
def test_a_result_that_makes_no_sense_fails_the_first_boot(guest: Callable[..., list[str]], errors: str) -> None:
    guest(7, part(f'{{"v1": {{"errors": {errors}}}}}'.encode(), eof=True), {})
    answer = _Questions(Domain())._answered()
    assert answer.done
    assert "no list" in answer.errors[0]


def test_the_thread_that_asks_outlives_what_nobody_thought_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object, **__: object) -> None:
        raise KeyError("not thought of")

    monkeypatch.setattr(Agent, "read_file", bug)
    with _Questions(Domain()) as questions:
        questions._thread.join(10)
    assert questions.answer.lost is not None
    assert questions.answer.lost.code is ErrorCode.INTERNAL_ERROR
