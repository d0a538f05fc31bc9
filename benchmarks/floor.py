"""The engine's floor: as many dynamic resources that do nothing, through the same engine, backend and launcher.

Three processes import this module: the benchmark, the program (`run`) and the provider host (`TrivialProvider`). What
only the benchmark needs is imported where it is used, so that the floor's own processes stay small.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

if TYPE_CHECKING:
    from tests.support.project import Project

_FILE = "CLOUDPC_BENCHMARK_FLOOR"
_SECRETS = ["credentials"]
_PROGRAM = "from benchmarks import floor\n\nfloor.run()\n"


class TrivialProvider(ResourceProvider):
    """Answers at once, with what it was told to record."""

    serialize_as_secret_always = False

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Nothing changes but what is numbered to."""
        return DiffResult(changes=_olds.get("number") != _news.get("number"))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Record the new number; all else as it was."""
        return UpdateResult({**_olds, "number": _news.get("number")})

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Record the inputs, and the outputs that a Cloud PC would have beyond them."""
        return CreateResult(props["userId"], {**props, **_told()["outputs"]})


class Trivial(Resource, module="floor", name="Trivial"):
    """A resource that is nothing; protected as a Cloud PC is."""

    def __init__(self, name: str, inputs: dict[str, Any], *, protect: bool) -> None:
        options = pulumi.ResourceOptions(protect=protect, additional_secret_outputs=_SECRETS)
        super().__init__(TrivialProvider(), name, inputs, options)


@functools.cache
def _told() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(Path(os.environ[_FILE]).read_text())
    return told


def run() -> None:
    """The floor's program: declares the resources; as any program does, or with a state like ours."""
    if _told()["like ours"]:
        from cloudpc.iac.resources import leave_out_stack_traces

        leave_out_stack_traces()
    for name, inputs in _told()["resources"].items():
        Trivial(name, inputs, protect=_told().get("protect", True))


def stack(
    project: Project, resources: dict[str, dict[str, Any]], outputs: dict[str, Any], *, like_ours: bool = False
) -> Project:
    """Make a project's program declare these resources, and create them.

    Args:
        project: a new one.
        resources: inputs by name; each has a `userId`.
        outputs: what each resource has beyond its inputs.
        like_ours: without the SDK's stack traces in state, which ours leave out.
    """
    from benchmarks.common import UP, pulumi

    (project.root / "stacks" / "__main__.py").write_text(_PROGRAM)
    (project.root / "stacks" / "Pulumi.demo.yaml").write_text("config: {}\n")
    told = project.root / "floor.json"
    told.write_text(json.dumps({"resources": resources, "outputs": outputs, "like ours": like_ours}))
    project.env[_FILE] = str(told)
    pulumi(project, "stack", "init", "demo")
    pulumi(project, *UP, PULUMI_SKIP_CHECKPOINTS="true")
    return project


def number(project: Project, number: int, *, protect: bool = True) -> None:
    """Have the next run update each resource."""
    told = json.loads((project.root / "floor.json").read_text())
    _tell(project, told, {n: {**inputs, "number": number} for n, inputs in told["resources"].items()}, protect=protect)


def remove_all(project: Project) -> None:
    """Have the next run delete each resource; they must not be protected any more."""
    _tell(project, json.loads((project.root / "floor.json").read_text()), {}, protect=False)


def _tell(project: Project, told: dict[str, Any], resources: dict[str, Any], *, protect: bool) -> None:
    (project.root / "floor.json").write_text(json.dumps({**told, "resources": resources, "protect": protect}))


def minimal(project: Project, count: int) -> Project:
    """A stack of so many resources with a single property."""
    return stack(project, {f"u{i:03}": {"userId": f"u{i:03}"} for i in range(count)}, {})


def empty(project: Project) -> Project:
    """A stack whose program declares nothing."""
    return stack(project, {}, {})


def like(fleet: Project, project: Project) -> Project:
    """A stack of trivial resources that record what a fleet of Cloud PCs has recorded."""
    from benchmarks.common import pulumi

    exported = json.loads(pulumi(fleet, "stack", "export", "--stack", "demo", "--show-secrets").output)
    found = [r for r in exported["deployment"]["resources"] if r["type"].endswith(":CloudPC")]
    resources = {r["urn"].rpartition("::")[2]: _own(r["inputs"]) for r in found}
    first = found[0]
    outputs = {key: value for key, value in first["outputs"].items() if key not in first["inputs"]}
    outputs["credentials"] = json.loads(outputs["credentials"]["plaintext"])
    return stack(project, resources, outputs, like_ours=True)


def _own(inputs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in inputs.items() if key != "__provider"}
