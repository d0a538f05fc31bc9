"""How much state a Cloud PC takes in the file backend, and what of it takes the room.

Two stacks of different sizes on the fake hypervisor: what they differ by, for each Cloud PC, as the backend writes it
and as compact JSON. With --real, one Cloud PC of the image `micro`, whose host key and names have their real length.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import machines
from benchmarks.common import UP, Report, Workspace, arguments, fleet, pulumi, run, say, workspace
from tests.support.project import Project

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr1oZs1LkO8Ry5N2yp7aYz0kEJzq8nZhb3bJm1yQy7M someone@example"


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--few", type=int, default=1, help="Cloud PCs in the small stack (1)")
    parser.add_argument("--many", type=int, default=101, help="Cloud PCs in the large stack (101)")
    parser.add_argument("--real", action="store_true", help="one on this machine's libvirt, too")
    options = parser.parse_args()
    report = Report("State of a Cloud PC, in bytes", ["part", "bytes"])
    with workspace() as here:
        say("making stacks")
        few, many = here.project("few"), here.project("many")
        fleet(few, options.few)
        fleet(many, options.many)
        more = options.many - options.few
        report.rows.append({"part": "as written, each more", "bytes": round((_written(many) - _written(few)) / more)})
        report.rows.append({"part": "as compact JSON, each more", "bytes": round((_all(many) - _all(few)) / more)})
        entry = _entries(many)[options.many // 2]
        report.rows += _parts("one on the fake hypervisor", entry)
        if options.real:
            report.rows += _parts("one real, image micro", _real(here))
        key = 2 * _size(_KEY)
    report.notes.append(f"A user's public key is in inputs and outputs: {key} bytes for one of type ed25519.")
    report.show(as_json=options.json)


def _real(here: Workspace) -> dict[str, Any]:
    machines.built()
    with machines.real_project(here, 1) as project:
        machines.init(project)
        pulumi(project, *UP)
        machines.all_provisioned(project, 1)
        return _entries(project)[0]


def _parts(title: str, entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The whole entry, its parts from large to small, and what outputs only repeat of inputs."""
    parts = {name: _size({name: value}) - 1 for name, value in entry.items()}  # without braces, with a comma
    rows = [{"part": title, "bytes": _size(entry)}]
    rows += [{"part": f"- {name}", "bytes": size} for name, size in sorted(parts.items(), key=lambda p: -p[1])[:8]]
    rest = sum(sorted(parts.values(), reverse=True)[8:])
    rows.append({"part": "- all others", "bytes": rest})
    inputs, outputs = entry["inputs"], entry["outputs"]
    again = {name: value for name, value in outputs.items() if inputs.get(name) == value}
    rows.append({"part": "repeated: outputs equal to inputs", "bytes": _size(again) - 2})
    for name, value in sorted(outputs.items(), key=lambda item: -_size(item[1]))[:6]:
        rows.append({"part": f"  outputs.{name}", "bytes": _size({name: value}) - 1})
    return rows


def _file(project: Project) -> Path:
    return project.root / "state" / ".pulumi" / "stacks" / "cloudpc" / "demo.json"


def _written(project: Project) -> int:
    return _file(project).stat().st_size


def _all(project: Project) -> int:
    return _size(json.loads(_file(project).read_text()))


def _entries(project: Project) -> list[dict[str, Any]]:
    resources: list[dict[str, Any]] = json.loads(_file(project).read_text())["checkpoint"]["latest"]["resources"]
    return [resource for resource in resources if resource["type"].endswith(":CloudPC")]


def _size(value: object) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


if __name__ == "__main__":
    run(main)
