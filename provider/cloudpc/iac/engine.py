"""The `pulumi` command, as our commands run it: found, and given its backend, passphrase and parallelism."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from cloudpc.files import packaged, project_file
from cloudpc.iac import backend, file_backend
from cloudpc.model.errors import CloudPCError
from cloudpc.model.masking import masked

OPERATIONS_AT_ONCE = 32
"""What our commands let the engine have in flight; boots are bounded by each host."""
_LANGUAGE_HOST = "tools/language-host/pulumi-language-python"
"""For a `pulumi` that set-up has built: Pulumi's own language host comes only with its installer."""
OWN_FOLDER = ".cloudpc"
"""Of a project, with its own state in it."""
_PASSPHRASE = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
_CUT_OFF = "A run was killed while it wrote its state; `cloudpc up --clear-lock` repairs it."

_T = TypeVar("_T")


class Terminated(KeyboardInterrupt):
    """This process was asked to end by SIGTERM or SIGHUP: as orderly as by Ctrl-C."""


class EngineError(CloudPCError):
    """`pulumi` is missing or failed; the message is for people."""

    def __init__(self, message: str) -> None:
        super().__init__(masked(message))  # the backend's URL may be in it


@dataclass(frozen=True)
class Engine:
    """Pulumi for one project.

    Args:
        root: the folder of Pulumi.yaml.
        inside_a_run: whether an engine has started this process, in its own environment: that knows the backend.
    """

    root: Path
    inside_a_run: bool = False

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment `pulumi` runs in: the user's own, or `.cloudpc/env` where that names no backend.

        Raises:
            EngineError: `.cloudpc/env` can't be read.
        """
        env = {**(os.environ if self._is_complete else self._own_environment), **(extra or {})}
        env.setdefault("PULUMI_SKIP_UPDATE_CHECK", "true")
        env.setdefault("PULUMI_PARALLEL", str(OPERATIONS_AT_ONCE))
        # what runs the program and its provider where the project has no environment of its own
        env.setdefault("PULUMI_PYTHON_CMD", sys.executable)
        env.setdefault("CLOUDPC_LANGUAGE_HOST", str(packaged.root() / _LANGUAGE_HOST))
        return env

    @property
    def _is_complete(self) -> bool:
        """Whether this process's environment can be pulumi's as it is."""
        return self.inside_a_run or bool(os.environ.get(backend.VARIABLE))

    @cached_property
    def _own_environment(self) -> dict[str, str]:
        """This process's environment with `.cloudpc/env` sourced, by a shell."""
        file = self.root / OWN_FOLDER / "env"
        if not file.is_file():
            return dict(os.environ)
        script = '. "$1" && exec env -0'
        done = subprocess.run(["/bin/sh", "-c", script, "sh", str(file)], capture_output=True, check=False)
        if done.returncode != 0:
            raise EngineError(
                f"{file} can't be read: {os.fsdecode(done.stderr).strip()}; `cloudpc setup` writes it again"
            )
        # what others have put there need not be UTF-8
        own = dict(os.fsdecode(entry).split("=", 1) for entry in done.stdout.split(b"\0") if b"=" in entry)
        return own if own.get(backend.VARIABLE) else _with_the_shell_s_passphrase(own)

    @cached_property
    def backend(self) -> backend.Backend:
        """Where state is.

        Raises:
            EngineError: `.cloudpc/env` can't be read.
            InvalidConfigurationError: it is named twice, and differently; or Pulumi.yaml is wrong.
        """
        env, by_project = self.environment(), project_file.read(self.root).backend_url
        return backend.find(self.root, env, by_project, backend.VARIABLE if self._is_complete else ".cloudpc/env")

    @property
    def backend_url(self) -> str:
        """See `backend`; empty where only pulumi knows."""
        return self.backend.url

    def run(self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
        """Run `pulumi` on this terminal, with its own display; returns its exit code.

        Raises:
            EngineError: there is no `pulumi`.
            KeyboardInterrupt: it was interrupted, and has ended.
        """
        process = subprocess.Popen(self._command(arguments), cwd=self.root, env=self.environment(env))
        return to_its_end(process, process.wait)

    def start(self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start `pulumi` beside others, its lines in a pipe. A terminal's Ctrl-C does not reach it: send it on.

        Raises:
            EngineError: there is no `pulumi`.
        """
        return subprocess.Popen(
            self._command([*arguments, "--non-interactive"]), cwd=self.root, env=self.environment(env),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", process_group=0,
        )  # fmt: skip

    def read(self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None) -> str:
        """What `pulumi` prints.

        Raises:
            EngineError: it failed; with its own last words.
            KeyboardInterrupt: it was interrupted, and has ended.
        """
        process = subprocess.Popen(
            self._command([*arguments, "--non-interactive"]),
            cwd=self.root, env=self.environment(env), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace",
        )  # fmt: skip
        output, errors = to_its_end(process, process.communicate)
        if process.returncode != 0:
            words = [line for line in errors.splitlines() if line.strip()]
            if words and words[-1].endswith(("EOF", "unexpected end of JSON input")):
                words.append(_CUT_OFF)
            elif words and "PULUMI_ACCESS_TOKEN" in words[-1]:
                words = [self.backend.not_signed_in]
            elif words and "unable to open bucket file:" in words[-1]:
                words.append("The backend's folder is not there; `cloudpc setup` makes this project's own again.")
            raise EngineError("\n".join(words[-6:]) or f"`pulumi {' '.join(arguments)}` failed")
        return output

    @property
    def has_own_backend(self) -> bool:
        """Whether state is in the project's own folder, and not where the user has put it."""
        folder = file_backend.folder(self.backend_url)
        return folder is not None and folder.resolve() == (self.root / OWN_FOLDER / "state").resolve()

    def stacks(self) -> list[str]:
        """Names of the project's stacks that exist in the backend.

        Raises:
            EngineError: the backend can't be read.
        """
        if self.has_own_backend and not (self.root / OWN_FOLDER).exists():
            return []  # nothing has been set up here yet
        names = file_backend.stacks(self.backend_url, project_file.read(self.root).name)
        if names is not None:
            return names
        found: list[dict[str, Any]] = json.loads(self.read(["stack", "ls", "--json"]))
        return [stack["name"].rpartition("/")[2] for stack in found]

    def version_of(self, stack: str) -> tuple[int, ...] | None:
        """Tells one state of a stack from others without reading it; None where only pulumi could say."""
        return file_backend.version(self.backend_url, project_file.read(self.root).name, stack)

    def export(self, stack: str, *, show_secrets: bool = False) -> dict[str, Any]:
        """A stack's state (`resources`, `pending_operations`); secrets stay encrypted unless asked for.

        Raises:
            EngineError: there is no such stack, or it can't be read.
        """
        options = ["--show-secrets"] if show_secrets else []
        content = json.loads(self.read(["stack", "export", "--stack", stack, *options]))
        deployment: dict[str, Any] = content["deployment"]
        return deployment

    def _command(self, arguments: Sequence[str]) -> list[str]:
        _ = self.backend  # nothing runs where it is not clear which
        program = shutil.which("pulumi", path=self.environment().get("PATH")) or self._built
        if program is None:
            raise EngineError("there is no `pulumi` on the PATH; run `cloudpc setup`, or install it from pulumi.com")
        return [program, *arguments]

    @cached_property
    def _built(self) -> str | None:
        """The engine that set-up has built, where no `.cloudpc/env` leads to it: in CI, for example."""
        find = packaged.root() / "tools" / "engine" / "find"
        environment = {**os.environ, "CLOUDPC_SETUP_PROJECT": str(self.root)}
        found = subprocess.run([str(find)], capture_output=True, text=True, check=False, env=environment)
        return str(Path(found.stdout.strip()) / "pulumi") if found.returncode == 0 else None


def _with_the_shell_s_passphrase(own: Mapping[str, str]) -> dict[str, str]:
    """Where state is not the project's own, nor is what seals it: `.cloudpc` may be another one in each checkout."""
    given = {name: os.environ[name] for name in _PASSPHRASE if name in os.environ}
    return {**{name: value for name, value in own.items() if name not in _PASSPHRASE}, **given} if given else dict(own)


def to_its_end(process: subprocess.Popen[Any], wait: Callable[[], _T]) -> _T:
    """What waiting for it brings, however often this process is interrupted meanwhile.

    Raises:
        KeyboardInterrupt: it was; the other has ended.
    """
    interruption: KeyboardInterrupt | None = None
    while True:
        try:
            result = wait()
        except Terminated as ended:
            interruption = ended
            process.send_signal(signal.SIGINT)  # it was sent to us alone
            continue
        except KeyboardInterrupt as ended:
            interruption = ended  # the terminal has sent it to pulumi as well, which stops in its own, orderly way
            continue
        if interruption:
            raise interruption
        return result
