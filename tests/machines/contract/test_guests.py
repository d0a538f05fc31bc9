"""The guest: whole scripts in their order, with secrets that nobody else sees, and a limit to everything."""

from __future__ import annotations

import secrets
import threading
import time

import pytest

from cloudpc import guests
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Guest, Script
from cloudpc.provisioning import set_up

from ..audit import CommandLines
from .subject import Ready, Subject
from .watching import Watched


def run(ready: Ready, *scripts: Script) -> list[Completed]:
    """In the machine that is ready."""
    return guest(ready).run(scripts, Watched())


def guest(ready: Ready) -> Guest:
    """Of the machine that is ready."""
    return ready.subject.host.guest(ready.order.id)


def set_password(ready: Ready, user: str, password: str) -> None:
    """By its host, or by a script of its system where the host can't."""
    set_up.set_password(guest(ready), guests.named(ready.subject.image.guest_os), user, password, Watched())


def test_all_scripts_run_in_their_order_and_each_says_how_it_ended(ready: Ready) -> None:
    place = f"/tmp/{secrets.token_hex(8)}"
    done = run(
        ready,
        Script(f"echo one >> {place}; exit 3", timeout=30),
        Script(f"echo two >> {place}", timeout=30),
        Script(f"cat {place}; rm {place}; echo wrong >&2; exit 4", timeout=30),
    )
    assert [each.exit_code for each in done] == [3, 0, 4]
    assert done[2].output.split() == ["one", "two", "wrong"]
    assert not any(each.timed_out for each in done)


def test_no_scripts_are_no_call(ready: Ready) -> None:
    assert run(ready) == []


def test_a_script_is_given_its_arguments_and_what_it_reads(ready: Ready) -> None:
    script = Script('printf "%s|" "$@"; cat', timeout=30, arguments=("a b", "$HOME", "'", ""), stdin="grüß".encode())
    [done] = run(ready, script)
    assert done.output == "a b|$HOME|'||grüß"


def test_a_program_that_is_not_there_ends_the_script_and_no_more(ready: Ready) -> None:
    first, second = run(ready, Script("no-such-program", timeout=30), Script("echo on", timeout=30))
    assert first.exit_code == 127
    assert second.output.strip() == "on"


def test_the_end_of_a_long_output_is_kept(ready: Ready) -> None:
    [done] = run(ready, Script("seq 200000; echo the end", timeout=60))
    assert done.exit_code == 0
    assert done.output.rstrip().endswith("the end")
    assert len(done.output) < 1_000_000


def test_what_takes_too_long_is_ended_and_the_next_one_runs(ready: Ready) -> None:
    mark = str(secrets.randbelow(10**6) + 10**6)
    late, then = run(ready, Script(f"sleep {mark}; true", timeout=1), Script("ps", timeout=30))
    assert late.timed_out
    assert late.exit_code != 0
    assert mark not in then.output, "it runs on"


def test_secrets_are_in_the_environment_of_their_script_alone(ready: Ready) -> None:
    secret = secrets.token_hex(16)
    look = (
        'f=$(mktemp); printf %s "$SECRET" > $f; echo "${SECRET:-none}"; '
        'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" "\\n" | grep -cFf $f; rm $f'
    )
    others_look = Script('echo "${SECRET:-none}"', timeout=30)
    with CommandLines() as seen:
        its, others = run(ready, Script(look, timeout=30, secrets={"SECRET": secret}), others_look)
    assert its.output.split() == [secret, "0"], "a command line of the guest shows it"
    assert others.output.split() == ["none"]
    assert seen.with_(secret) == []


def test_cancel_ends_a_script_soon(ready: Ready) -> None:
    watch = Watched()
    threading.Timer(0.3, watch.cancel.cancel).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        guest(ready).run([Script("sleep 60", timeout=90)], watch)
    assert time.monotonic() - began < ready.subject.soon


def test_a_password_is_set_and_no_command_line_shows_it(ready: Ready) -> None:
    secret = secrets.token_urlsafe(16)
    with CommandLines() as seen:
        set_password(ready, "alice", secret)
    assert seen.with_(secret) == []


def test_a_password_of_nobody_is_refused_without_telling_it(ready: Ready) -> None:
    secret = secrets.token_urlsafe(16)
    with pytest.raises(ProvisioningError) as refused:
        set_password(ready, "nobody-of-this-name", secret)
    assert refused.value.code is ErrorCode.CREDENTIALS_FAILED
    assert secret not in f"{refused.value.message} {refused.value.hint} {refused.value.console}"


def test_a_guest_that_is_gone_says_so(subject: Subject) -> None:
    with pytest.raises(ProvisioningError) as gone:
        subject.host.guest(subject.order().id).run([Script("true", timeout=30)], Watched())
    assert gone.value.code in (ErrorCode.GUEST_DIED, ErrorCode.GUEST_AGENT_LOST)


def test_what_is_gone_is_reached_nowhere(subject: Subject) -> None:
    with pytest.raises(ProvisioningError):
        subject.host.access(subject.order().id, Watched().within(1))
    assert subject.things() == []


def test_it_says_how_it_is_reached_and_keeps_to_it(ready: Ready) -> None:
    host, machine_id = ready.subject.host, ready.order.id
    access = host.access(machine_id, Watched())
    assert access.host
    assert 0 < access.port < 65536
    another = ready.subject.open()
    assert another.access(machine_id, Watched()) == access
    another.close()
