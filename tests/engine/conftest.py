"""A project of its own for each test, driven by the real Pulumi engine on the fake hypervisor."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

REPO = Path(__file__).resolve().parents[2]
FAKES = REPO / "tests" / "fakes"
PLAN = {"id": "LAB_1C_0.5GB_8GB", "vCpuCount": 1, "ramInGB": 0.5, "storageInGB": 8}


@dataclass
class Ran:
    """A command that has ended."""

    code: int
    output: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.output}"


@dataclass
class Project:
    """A checkout-like folder: own stacks, directory, state and hosts; the repo's provider."""

    root: Path
    image: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.root / "stacks").mkdir(parents=True)
        for name in ("provider", ".venv", "vm-images", "tools"):
            (self.root / name).symlink_to(REPO / name)
        for name in ("Pulumi.yaml", "stacks/__main__.py"):
            shutil.copy(REPO / name, self.root / name)
        (self.root / "state").mkdir()
        self.env = {
            **os.environ,
            "PULUMI_BACKEND_URL": f"file://{self.root}/state",
            "PULUMI_CONFIG_PASSPHRASE": "a passphrase",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PYTHONPATH": str(FAKES),
            "CLOUDPC_PROJECT": str(self.root),
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
        salt = [line for line in path.read_text().splitlines() if "encryptionsalt" in line] if path.exists() else []
        config = {
            "cloudpc:policy": policy,
            "cloudpc:directory": {"kind": "local", "path": "directory.yaml"},
            "cloudpc:images": {"tiny": {"path": str(self.image), "sha256": sha256(self.image), "firmware": "bios"}},
            "cloudpc:hosts": [{"name": host, "uri": f"fake://{self.root}/{host}"} for host in hosts or ["host"]],
        }
        path.write_text(yaml.safe_dump({"config": config}) + "".join(f"{line}\n" for line in salt))
        return path

    def host(self, name: str = "host", **settings: Any) -> None:
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        (folder / "host.json").write_text(json.dumps(settings))
        for count in folder.glob("fault-*.count"):
            count.unlink()

    # ---- running

    def pulumi(self, *arguments: str, **env: str) -> Ran:
        return self._run(["pulumi", *arguments, "--non-interactive"], env)

    def cloudpc(self, *arguments: str, **env: str) -> Ran:
        return self._run([sys.executable, "-m", "cloudpc.cli.main", *arguments], env)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive"], cwd=self.root, env=self.env, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def _run(self, command: list[str], env: dict[str, str]) -> Ran:
        done = subprocess.run(
            command, cwd=self.root, env=self.env | env, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout)

    def up(self, stack: str = "demo", *, code: int = 0, **env: str) -> Ran:
        ran = self.pulumi("up", "--yes", "--skip-preview", "--stack", stack, **env)
        assert ran.code == code, ran
        return ran

    def init(self, stack: str = "demo") -> None:
        assert self.pulumi("stack", "init", stack).code == 0

    # ---- looking

    def state(self, stack: str = "demo") -> dict[str, dict[str, Any]]:
        """Outputs of the Cloud PCs in state, by user id (and plan, where a user has several)."""
        ran = self.pulumi("stack", "export", "--stack", stack)
        assert ran.code == 0, ran
        resources = json.loads(ran.output)["deployment"].get("resources", [])
        found = [r["outputs"] for r in resources if r["type"].endswith("cloudpc:CloudPC")]
        for outputs in found:
            if "credentials" in outputs:  # a ciphertext differs each time
                outputs["credentials"] = "ciphertext" if "ciphertext" in outputs["credentials"] else "NOT A SECRET"
        ids = [o["userId"] for o in found]
        return {
            o["userId"] if ids.count(o["userId"]) == 1 else f"{o['userId']}/{o['servicePlan']['id']}": o for o in found
        }

    def statuses(self, stack: str = "demo") -> dict[str, str]:
        return {key: outputs["status"] for key, outputs in self.state(stack).items()}

    def machines(self, host: str = "host") -> dict[str, dict[str, Any]]:
        """What the fake host has, by user id."""
        files = (self.root / host / "machines").glob("*.json")
        return {m["tag"]["user_id"]: m for m in (json.loads(f.read_text()) for f in files)}

    def calls(self, host: str = "host") -> list[str]:
        log = self.root / host / "calls.log"
        return [" ".join(line.split()[2:]) for line in log.read_text().splitlines()] if log.exists() else []

    def leaks(self, host: str = "host") -> list[str]:
        """Files on the host that belong to no machine."""
        folder = self.root / host
        names = {m["name"] for m in self.machines(host).values()}
        return sorted(p.name for p in [*folder.glob("*.seed"), *folder.glob("*.qcow2")] if p.stem not in names)


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


@pytest.fixture(scope="session")
def tiny_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "tiny.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
    return path


@pytest.fixture
def new_project(tmp_path: Path, tiny_image: Path) -> Callable[[str], Project]:
    return lambda name: Project(tmp_path / name, tiny_image)


@pytest.fixture
def project(new_project: Callable[[str], Project]) -> Project:
    """With a space in its name, two users, one policy, one host, one stack."""
    made = new_project("a project")
    made.directory(2)
    made.policy()
    made.init()
    return made
