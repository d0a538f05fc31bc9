"""A project of its own, driven by the real Pulumi engine, on the fake hypervisor unless told otherwise.

Without pytest, because benchmarks use it too.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import yaml

from tests.support.fake_settings import write_settings

REPO = Path(__file__).resolve().parents[2]
FAKES = REPO / "tests" / "fakes"
PLAN: dict[str, Any] = {"id": "LAB_1C_0.5GB_8GB", "vCpuCount": 1, "ramInGB": 0.5, "storageInGB": 8}
UP = ("up", "--yes", "--skip-preview", "--stack")
PASSPHRASE = "a passphrase"
_SALT = "encryptionsalt: "


@dataclass
class Ran:
    """A command that has ended."""

    code: int
    output: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.output}"


@dataclass
class Project:
    """A checkout-like folder: own stacks, directory, state and hosts; the repo's provider.

    All that Pulumi and our commands write goes below it, and none of the caller's settings for them reach it.
    """

    root: Path
    image: Path
    env: dict[str, str] = field(default_factory=dict)
    longest: float = 300
    """Seconds a command may take."""
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.root / "stacks").mkdir(parents=True)
        for name in ("provider", ".venv", "vm-images", "tools"):
            (self.root / name).symlink_to(REPO / name)
        for name in ("Pulumi.yaml", "stacks/__main__.py"):
            shutil.copy(REPO / name, self.root / name)
        (self.root / "state").mkdir()
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "CLOUDPC_"))},
            "PULUMI_HOME": str(self.root / "pulumi-home"),
            "PULUMI_BACKEND_URL": f"file://{self.root}/state",
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PYTHONPATH": str(FAKES),
            "CLOUDPC_PROJECT": str(self.root),
            "CLOUDPC_CACHE": str(self.root / "cache"),
            "XDG_STATE_HOME": str(self.root / "xdg-state"),
            "NO_COLOR": "1",
        }

    # ---- writing

    def directory(self, users: int | list[dict[str, Any]], groups: dict[str, list[str]] | None = None) -> None:
        if isinstance(users, int):
            users = [user(f"u{i:03}") for i in range(users)]
        members = groups or {"everybody": [u["id"] for u in users]}
        content = {
            "users": users,
            "groups": [{"id": g, "displayName": g.title(), "members": m} for g, m in members.items()],
            "servicePlans": [PLAN, {**PLAN, "id": "LAB_2C_1GB_8GB", "vCpuCount": 2, "ramInGB": 1}],
        }
        (self.root / "stacks" / "directory.yaml").write_text(yaml.safe_dump(content))

    def policy(self, name: str = "demo", *, hosts: list[str] | None = None, **changes: Any) -> Path:
        policy = {
            "displayName": name.title(),
            "domainJoinConfigurations": [{"domainJoinType": "azureADJoin", "regionName": "automatic"}],
            "imageType": "custom",
            "imageId": "tiny",
            "assignments": [{"target": {"groupId": "everybody"}}],
            **changes,
        }
        path = self.root / "stacks" / f"Pulumi.{name}.yaml"
        folder = quote(str(self.root))
        salt = [line for line in path.read_text().splitlines() if line.startswith(_SALT)] if path.exists() else []
        config = {
            "cloudpc:policy": policy,
            "cloudpc:directory": {"kind": "local", "path": "directory.yaml"},
            "cloudpc:images": {"tiny": {"path": str(self.image), "sha256": sha256(self.image), "firmware": "bios"}},
            "cloudpc:hosts": [{"name": host, "uri": f"fake://{folder}/{host}"} for host in hosts or ["host"]],
        }
        path.write_text(yaml.safe_dump({"config": config}) + "".join(f"{line}\n" for line in salt))
        return path

    def host(self, name: str = "host", **settings: Any) -> None:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        write_settings(folder, settings)
        for count in folder.glob("fault-*.count"):
            count.unlink()

    # ---- running

    def pulumi(self, *arguments: str, **env: str) -> Ran:
        return self._end(self.start(*arguments, **env))

    def cloudpc(self, *arguments: str, **env: str) -> Ran:
        return self._end(self.start_cloudpc(*arguments, **env))

    def answered(self, answer: str, *arguments: str) -> Ran:
        """A command of ours with somebody at a terminal, who has one answer to what it asks."""
        ours, theirs = pty.openpty()
        try:
            os.write(ours, f"{answer}\n".encode())
            return self._end(self._start([sys.executable, "-m", "cloudpc.cli.main", *arguments], {}, stdin=theirs))
        finally:
            os.close(ours)
            os.close(theirs)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return self._start(["pulumi", *arguments, "--non-interactive"], env)

    def start_cloudpc(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return self._start([sys.executable, "-m", "cloudpc.cli.main", *arguments], env)

    def _start(self, command: list[str], env: dict[str, str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command, cwd=self.root, env=self.env | env, text=True, start_new_session=True,
            stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.started.append(process)
        return process

    def _end(self, process: subprocess.Popen[str]) -> Ran:
        try:
            output, _ = process.communicate(timeout=self.longest)
        except subprocess.TimeoutExpired:
            self._kill()
            output, _ = process.communicate()
            raise AssertionError(f"not done after {self.longest:.0f} s: {process.args!r}\n{output}") from None
        return Ran(process.returncode, output)

    def processes(self, what: bytes = b"") -> list[int]:
        """All that was started for this project and runs now, whoever started it; only those with this argument."""
        mark = f"CLOUDPC_PROJECT={self.root}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile; a zombie has neither
                environment, command = ((folder / name).read_bytes().split(b"\0") for name in ("environ", "cmdline"))
                if mark in environment and (not what or what in command):
                    found.append(int(folder.name))
        return found

    def stop(self) -> None:
        """Kill what still runs: nothing that a test started may outlive it."""
        self._kill()
        for process in self.started:
            process.wait()
            if process.stdout:
                process.stdout.close()
        self.started.clear()

    def _kill(self) -> None:
        while left := self.processes():
            # They stand still first: on a busy machine, a provider has time to notice that its engine is dead.
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in left:
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)

    def up(self, stack: str = "demo", *, code: int = 0, **env: str) -> Ran:
        ran = self.pulumi(*UP, stack, **env)
        assert ran.code == code, ran
        return ran

    def init(self, stack: str = "demo") -> None:
        """A new stack, as `pulumi stack init` leaves it but for its selection; asked once, since it takes a second."""
        new = _new_stack()
        for name, content in new.files.items():
            file = self._backend() / name.replace(_STACK, stack)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content.replace(f'/{_STACK}"', f'/{stack}"'))
        path = self.root / "stacks" / f"Pulumi.{stack}.yaml"
        before = path.read_text() if path.exists() else ""
        if _SALT not in before:
            path.write_text(before + new.salt)

    # ---- looking

    def state(self, stack: str = "demo") -> dict[str, dict[str, Any]]:
        """Outputs of the Cloud PCs in state, by user id (and plan, where a user has several)."""
        name = yaml.safe_load((self.root / "Pulumi.yaml").read_text())["name"]
        file = self._backend() / ".pulumi" / "stacks" / name / f"{stack}.json"
        resources = json.loads(file.read_text())["checkpoint"]["latest"].get("resources", [])
        found = [r["outputs"] for r in resources if r["type"].endswith("cloudpc:CloudPC")]
        for outputs in found:
            if "credentials" in outputs:  # a ciphertext differs each time
                outputs["credentials"] = "ciphertext" if "ciphertext" in outputs["credentials"] else "NOT A SECRET"
        ids = [o["userId"] for o in found]
        return {
            o["userId"] if ids.count(o["userId"]) == 1 else f"{o['userId']}/{o['servicePlan']['id']}": o for o in found
        }

    def _backend(self) -> Path:
        return Path(unquote(urlsplit(self.env["PULUMI_BACKEND_URL"]).path))

    def statuses(self, stack: str = "demo") -> dict[str, str]:
        return {key: outputs["status"] for key, outputs in self.state(stack).items()}

    def machines(self, host: str = "host") -> dict[str, dict[str, Any]]:
        """What the fake host has, by user id."""
        found = {}
        for file in (self.root / host / "machines").glob("*.json"):
            with suppress(FileNotFoundError):  # removed since it was listed
                machine = json.loads(file.read_text())
                found[machine["tag"]["user_id"]] = machine
        return found

    def calls(self, host: str = "host") -> list[str]:
        """What was asked of the fake host, and for whom."""
        return [call for event, call in self._log(host) if event == "begin"]

    def most_at_once(self, call: str, host: str = "host") -> int:
        """How many calls of this name overlapped."""
        now = most = 0
        for event, done in self._log(host):
            if done.rpartition(" ")[0] == call:
                now += 1 if event == "begin" else -1
                most = max(most, now)
        return most

    def _log(self, host: str) -> list[tuple[str, str]]:
        log = self.root / host / "calls.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(event, call) for _, _, event, call in (line.split(" ", 3) for line in lines)]

    def kept(self, host: str = "host") -> list[Path]:
        """Consoles' logs of failed ones; each stands for its disk, too."""
        return sorted((self.root / host).glob("*-failed-*.log"))

    def leaks(self, host: str = "host") -> list[str]:
        """Files on the host that belong to no machine, and that no failed one has left for diagnosis."""
        folder = self.root / host
        names = {m["name"] for m in self.machines(host).values()}
        names |= {path.name.partition("-failed-")[0] for path in self.kept(host)}
        return sorted(p.name for p in [*folder.glob("*.seed"), *folder.glob("*.qcow2")] if p.stem not in names)


_STACK = "a-stack-of-a-name-of-its-own"


@dataclass(frozen=True)
class _NewStack:
    files: dict[str, str]
    """What `pulumi stack init` writes into a backend, below its folder."""
    salt: str
    """The line of the stack's file."""


@functools.cache
def _new_stack() -> _NewStack:
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder) / "project", Path(folder))
        ran = project.pulumi("stack", "init", _STACK)
        assert ran.code == 0, ran
        project.stop()
        backend = project.root / "state"
        # a file's attributes and its backup are nothing that the engine needs
        written = [file for file in backend.rglob("*") if file.suffix in (".yaml", ".json")]
        [salt] = (project.root / "stacks" / f"Pulumi.{_STACK}.yaml").read_text().splitlines()
        return _NewStack({str(file.relative_to(backend)): file.read_text() for file in written}, f"{salt}\n")


def user(id_: str, *plans: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "userPrincipalName": f"{id_}@contoso.example",
        "displayName": id_.title(),
        "servicePlans": list(plans) or [PLAN["id"]],
        **changes,
    }


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
