"""Records a project of one's own as a version made it: its files, its state, and the fake host that it ran on.

`python -m tests.state.record_project tests/state/projects/<version>`, with the version to be remembered (this file
copied into a checkout of it) and `pulumi` on PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[2]
PLACE = "/tmp/recorded"
"""What stands in the record for the folder that it was made in."""
PASSPHRASE = "a passphrase"
_NEVER = "2099-12-31T00:00:00Z"
"""The end of the grace period: the record gets older, and what is in it must not."""
_OF_A_PLACE = ("sourcePosition", "stackTrace")
_NOT_THEIRS = ("README.md", "requirements.txt", ".gitignore", ".github", "stacks/schemas")
"""What nothing reads while a project is worked with."""
PLAN = {"id": "LAB_1C_0.5GB_8GB", "vCpuCount": 1, "ramInGB": 0.5, "storageInGB": 8}


def main() -> None:
    """Write the record."""
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        env = _environment(Path(folder))
        _cloudpc(env, "init", str(root), cwd=Path(folder))
        _settle(root, Path(folder))
        _cloudpc(env, "up", "demo", cwd=root)
        _leaves(root / "stacks" / "directory.yaml", "u-bob")
        _cloudpc(env, "up", "demo", cwd=root)
        exported = subprocess.run(
            ["pulumi", "stack", "export", "--stack", "demo"],
            cwd=root,
            env=env,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in _NOT_THEIRS:
            path = root / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for cache in root.rglob("__pycache__"):
            shutil.rmtree(cache)
        (root / "state.json").write_text(json.dumps(_timeless(json.loads(exported)), indent=1) + "\n")
        (Path(folder) / "host" / "calls.log").unlink()
        shutil.copytree(Path(folder) / "host", root / "host")
        shutil.copytree(root, target, ignore=shutil.ignore_patterns(".cloudpc", "pulumi-home", "*.lock", "*.password"))
        (target / "installation").write_text((root / ".cloudpc" / "installation").read_text())
        for path in target.rglob("*"):
            if path.is_file():
                path.write_text(path.read_text().replace(folder, PLACE))


def _environment(folder: Path) -> dict[str, str]:
    (folder / "state").mkdir()
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "CLOUDPC_"))},
        "PYTHONPATH": str(REPO / "tests" / "fakes"),
        "PULUMI_HOME": str(folder / "pulumi-home"),
        "PULUMI_BACKEND_URL": f"file://{folder}/state",
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_PYTHON_CMD": sys.executable,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "CLOUDPC_CACHE": str(folder / "cache"),
    }


def _cloudpc(env: dict[str, str], *arguments: str, cwd: Path) -> None:
    subprocess.run([sys.executable, "-m", "cloudpc.cli.main", *arguments], cwd=cwd, env=env, check=True)


def _settle(root: Path, folder: Path) -> None:
    """Small plans, an image of nothing, and the fake host, instead of what the first policy has."""
    image = folder / "tiny.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M"], check=True)
    (folder / "host").mkdir()
    (folder / "host" / "host.json").write_text("{}")
    policy = root / "stacks" / "Pulumi.demo.yaml"
    content = yaml.safe_load(policy.read_text())
    content["config"]["cloudpc:policy"] |= {"imageType": "custom", "imageId": "tiny"}
    digest = subprocess.run(["sha256sum", str(image)], check=True, capture_output=True, text=True).stdout.split()[0]
    content["config"]["cloudpc:images"] = {"tiny": {"path": str(image), "sha256": digest, "firmware": "bios"}}
    content["config"]["cloudpc:hosts"] = [{"name": "host", "uri": f"fake://{folder}/host"}]
    policy.write_text(yaml.safe_dump(content))
    directory = root / "stacks" / "directory.yaml"
    people: dict[str, Any] = yaml.safe_load(directory.read_text())
    people["servicePlans"] = [PLAN]
    for user in people["users"]:
        user["servicePlans"] = [PLAN["id"]]
    everybody = [user["id"] for user in people["users"]]
    people["groups"] = [{**group, "members": everybody} for group in people["groups"]]
    directory.write_text(yaml.safe_dump(people))


def _leaves(directory: Path, user_id: str) -> None:
    people = yaml.safe_load(directory.read_text())
    for group in people["groups"]:
        group["members"].remove(user_id)
    directory.write_text(yaml.safe_dump(people))


def _timeless(exported: dict[str, Any]) -> dict[str, Any]:
    for resource in exported["deployment"]["resources"]:
        for place in _OF_A_PLACE:
            resource.pop(place, None)
        for values in (resource.get("inputs") or {}, resource.get("outputs") or {}):
            if values.get("gracePeriodEndDateTime"):
                values["gracePeriodEndDateTime"] = _NEVER
    return exported


if __name__ == "__main__":
    main()
