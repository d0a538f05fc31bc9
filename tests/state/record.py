"""Records what a version's state looks like: one Cloud PC of each kind, with the fake host they are on.

`python -m tests.state.record tests/state/<date>.json`, with the version that is to be remembered and `pulumi` on PATH.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.support.project import Project, user

FULL = "the host's storage is full, so that its disk can't grow"
NEVER = "2099-12-31T00:00:00Z"
"""The end of the grace period: the record gets older, and its Cloud PCs must not."""
_PLACES = ("sourcePosition", "stackTrace")
"""Where the program stood on the machine that recorded it: the engine needs neither."""
PEOPLE = [
    *(user(name) for name in ("well", "warned", "paused", "torn", "lost", "fails")),
    user("waits", "LAB_2C_1GB_8GB"),
]


def machine_file(project: Project, name: str) -> Path:
    """The fake host's, of a user's machine."""
    return project.root / "host" / "machines" / f"{project.machines()[name]['id']}.json"


def make(project: Project) -> None:
    """One Cloud PC of each kind."""
    made = ("well", "paused", "torn", "lost", "leaves", "stuck")
    project.directory([user(name) for name in made])
    project.policy()
    project.init()
    project.up()
    project.directory([user(name) for name in ("well", "paused", "torn", "lost", "warned")])
    project.policy(packages=["htop"])
    project.host(exit_code=1)  # of whatever is run in a guest
    project.up()
    project.policy()
    project.directory(PEOPLE)
    _harm(project)
    faults = [
        {"call": "power_on", "user": "paused", "fault": "error"},
        {"call": "delete", "user": "stuck", "fault": "error"},
        {"call": "wait_ready", "user": "fails", "fault": "error", "retriable": False},
    ]
    project.host(faults=faults, cores=6)  # one for who fails, and none for who waits
    project.cloudpc("end-grace", "stuck", "--yes")
    assert project.statuses() == {
        "well": "provisioned", "warned": "provisionedWithWarnings", "paused": "provisioned",
        "torn": "provisionedWithWarnings", "lost": "failed", "fails": "failed", "waits": "pendingProvision",
        "leaves": "inGracePeriod", "stuck": "deprovisioning",
    }  # fmt: skip


def _harm(project: Project) -> None:
    """What people do to machines by hand."""
    lost = project.machines()["lost"]
    machine_file(project, "lost").unlink()
    (project.root / "host" / f"{lost['name']}.qcow2").unlink()
    paused, torn = (machine_file(project, name) for name in ("paused", "torn"))
    for file, change in (paused, {"power": "paused", "paused_because": FULL}), (torn, {"tag": None}):
        file.write_text(json.dumps({**json.loads(file.read_text()), **change}))


def recorded(project: Project) -> dict[str, Any]:
    """State, what opens its secrets, and the host."""
    exported = json.loads(project.pulumi("stack", "export", "--stack", "demo").output)
    for resource in exported["deployment"]["resources"]:
        for place in _PLACES:
            resource.pop(place, None)
        for values in (resource.get("inputs") or {}, resource.get("outputs") or {}):
            if values.get("userId") == "leaves":
                values["gracePeriodEndDateTime"] = NEVER
    host = project.root / "host"
    files = [path for pattern in ("machines/*.json", "*.qcow2", "*.seed", "*.log") for path in host.glob(pattern)]
    return {
        "passphrase": project.env["PULUMI_CONFIG_PASSPHRASE"],
        "host": {str(path.relative_to(host)): path.read_text() for path in files if path.name != "calls.log"},
        "state": exported,
    }


def main() -> None:
    """Write the record."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "tiny.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M"], check=True)
        project = Project(Path(folder) / "project", image)
        try:
            make(project)
            text = json.dumps(recorded(project), indent=1).replace(folder, "/tmp/recorded")
        finally:
            project.stop()
    Path(sys.argv[1]).write_text(text + "\n")


if __name__ == "__main__":
    main()
