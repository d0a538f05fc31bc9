"""What hosts without an agent of ours run in a Linux guest, run here: the wait for first-boot set-up, a password."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cloudpc import guests
from cloudpc.model.errors import ErrorCode
from cloudpc.model.guests import Completed, Script
from cloudpc.model.watch import Watch
from cloudpc.provisioning import set_up

LINUX = guests.named("linux")


def run(script: Script, folder: Path, **programs: str) -> Completed:
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}", **script.secrets}
    done = subprocess.run(
        script.argv, env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=30, check=False,
    )  # fmt: skip
    return Completed(done.returncode, done.stdout)


def wait(folder: Path, seconds: float = 20, **programs: str) -> Completed:
    script = LINUX.first_boot(seconds)
    file = str(folder / "result.json")
    own = Script(script.text, script.timeout, name=script.name, arguments=(script.arguments[0], file))
    return run(own, folder, **programs)


def test_a_first_boot_that_is_over_is_seen(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"v1": {"datasource": "x", "errors": []}}')
    assert LINUX.first_boot_problem(wait(tmp_path)) is None


def test_it_is_waited_for(tmp_path: Path) -> None:
    done = wait(tmp_path, sleep=f"""echo '{{"v1": {{"errors": []}}}}' > {tmp_path}/result.json""")
    assert LINUX.first_boot_problem(done) is None


def test_what_went_wrong_is_told(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"v1": {"errors": ["no user", "no disk"]}}')
    problem = LINUX.first_boot_problem(wait(tmp_path))
    assert problem is not None
    assert problem.code is ErrorCode.FIRST_BOOT_FAILED
    assert problem.message == "First-boot set-up failed: no user; no disk."


@pytest.mark.parametrize("said", ['{"v1": {"errors": ["' + "x" * 5000 + '"]}}', "nonsense"])
def test_a_file_that_can_not_be_read_whole_is_no_success(tmp_path: Path, said: str) -> None:
    (tmp_path / "result.json").write_text(said)
    problem = LINUX.first_boot_problem(wait(tmp_path))
    assert problem is not None
    assert problem.code is ErrorCode.FIRST_BOOT_FAILED


def test_one_that_does_not_end_says_how_far_it_is(tmp_path: Path) -> None:
    stands = {"cut": "echo $(($(cat $0.n 2>/dev/null || echo 0) + 1)) | tee $0.n", "sleep": ""}  # a clock that runs
    stands["cloud-init"] = "echo status: running"
    problem = LINUX.first_boot_problem(wait(tmp_path, 3, **stands))
    assert problem is not None
    assert problem.code is ErrorCode.BOOT_TIMEOUT
    assert "status: running" in problem.message


def test_a_host_that_ended_the_wait_is_no_success() -> None:
    problem = LINUX.first_boot_problem(Completed(124, "took longer than 20 s", timed_out=True))
    assert problem is not None
    assert problem.code is ErrorCode.BOOT_TIMEOUT


def test_a_password_is_read_by_chpasswd_and_is_no_argument_of_anything(tmp_path: Path) -> None:
    script = LINUX.password("alice", "it's $ecret\\n:%")
    assert "ecret" not in " ".join(script.argv)
    done = run(script, tmp_path, chpasswd=f"cat > {tmp_path}/read; env > {tmp_path}/env")
    assert done.exit_code == 0
    assert (tmp_path / "read").read_text() == "alice:it's $ecret\\n:%\n"
    assert "ecret" not in (tmp_path / "env").read_text()


class NoAgent:
    """A guest whose host only runs scripts."""

    def __init__(self, done: Completed) -> None:
        self.done = done
        self.ran: list[Script] = []

    def run(self, scripts: list[Script], _watch: Watch) -> list[Completed]:
        self.ran += scripts
        return [self.done]


def test_a_guest_whose_host_sets_no_passwords_gets_the_script() -> None:
    guest = NoAgent(Completed(0, ""))
    set_up.set_password(guest, LINUX, "alice", "secret", Watch())
    assert guest.ran == [LINUX.password("alice", "secret")]


def test_a_password_that_is_refused_is_told_without_it() -> None:
    with pytest.raises(set_up.ProvisioningError) as refused:
        set_up.set_password(NoAgent(Completed(1, "no user alice")), LINUX, "alice", "secret", Watch())
    assert refused.value.code is ErrorCode.CREDENTIALS_FAILED
    assert "no user alice" in refused.value.message
    assert "secret" not in refused.value.message
