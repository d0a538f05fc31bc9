"""`cloudpc policy import`: policies of a tenant become stacks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit, err, out
from cloudpc.configuration import hosts
from cloudpc.configuration.exported import value_of
from cloudpc.configuration.graph_policy import policies_in
from cloudpc.configuration.imported import POLICY, Imported, to_yaml
from cloudpc.configuration.lookups import References
from cloudpc.configuration.policy_import import convert, stack_name
from cloudpc.files import regular_file, yaml_file
from cloudpc.graph.configuration import GraphConfig
from cloudpc.graph.errors import GraphError
from cloudpc.model import drivers
from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.model.problems import InvalidConfigurationError, Problem, from_validation
from cloudpc.model.text import command_line

_DIGITS = 100
_TOO_DEEP = "it is nested too deeply"
_SHARED = ("cloudpc:directory", "cloudpc:graph", "cloudpc:hosts", "cloudpc:images", "cloudpc:installation")
"""What a new policy has like all others of the project, where those agree."""


def import_(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="JSON as Graph answers …/provisioningPolicies?$expand=assignments, or as tools export that."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The stack's name; default: like its displayName.")] = None,
    image: Annotated[
        str | None, typer.Option("--image", help="Our gallery image to use in place of Microsoft's.")
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="All policies of the tenant that cloudpc:graph names; CloudPC.Read.All.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace cloudpc:policy in an existing file; the rest of it stays.")
    ] = False,
) -> None:
    """Turn provisioning policies of Windows 365 into stacks/Pulumi.NAME.yaml. Nothing is run.

    What can't be carried over is said line by line, and what is left to do. Exits with 1 if one can't be imported, with
    2 if none can.
    """
    if bool(files) == all_:
        raise CommandError("name files, or --all for those of the tenant", Exit.INVALID)
    run = _Import(Project(), image, force=force)
    for file in files or ():
        run.read(file)
    if all_:
        run.add(_of_tenant(run.project), "the tenant")
    if name is not None and len(run.found) > 1:
        raise CommandError(f"--name is for one policy; there are {len(run.found)}", Exit.INVALID)
    run.write(name)
    raise typer.Exit(run.tell())


@dataclass
class _Import:
    project: Project
    image: str | None
    force: bool
    found: list[tuple[str, object]] = field(default_factory=list)
    """Policies as JSON, with where each came from."""
    written: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def read(self, file: Path) -> None:
        """Add the policies of a file."""
        shown = str(file)
        try:
            policies = policies_in(_parsed(regular_file.read_once(file)), shown)
        except OSError as error:
            self.problems.append(Problem(shown, "file", f"can't be read: {error.strerror}"))
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            self.problems.append(Problem(shown, where, f"is not valid JSON: {error.msg}"))
        except ValueError as error:
            self.problems.append(Problem(shown, "file", f"is not valid JSON: {error}"))
        except InvalidConfigurationError as error:
            self.problems += error.problems
        else:
            self.add(policies, shown)

    def add(self, policies: Iterable[object], source: str) -> None:
        """Add policies, each as Graph says it."""
        found = [(source, policy) for policy in policies]
        if not found:
            err.print(f"{source}: there is no policy to import")
        self.found += found

    def write(self, name: str | None) -> None:
        """Convert and write each by itself: one that can't be imported keeps no other away."""
        taken: set[str] = set()
        for source, values in self.found:
            try:
                imported = convert(values, _shown(source, values), self.image)
                stack = name or stack_name(imported.display_name, taken)
                taken.add(stack)
                self._write(stack, imported)
            except InvalidConfigurationError as error:
                self.problems += error.problems

    def tell(self) -> Exit:
        """What could not be imported; and the exit code."""
        if self.written:
            out.print(f"then: {command_line('cloudpc', 'policy', 'validate', *self.written)}")
        if self.problems:
            err.print("not imported:", *(f"  {problem}" for problem in self.problems), sep="\n")
        if not self.written:
            return Exit.INVALID
        return Exit.ERROR if self.problems else Exit.OK

    def _write(self, stack: str, imported: Imported) -> None:
        folder = self.project.stacks_folder
        path = folder / f"Pulumi.{stack}.yaml"
        shown = f"{folder.name}/{path.name}"
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", stack):
            message = "a stack's name may only contain letters, digits, hyphens, underscores and periods"
            raise InvalidConfigurationError([Problem("command line", "--name", message, stack)])
        there = stack in self.project.policy_ids()
        if there and not self.force:
            message = f"is there already: --force replaces its {POLICY}, --name gives {imported.display_name} another"
            raise InvalidConfigurationError([Problem(shown, "file", message)])
        content = yaml_file.read(path, shown) if there else {}
        keep = dict(content) if isinstance(content, dict) else {}
        config = keep.pop("config", None)
        others = dict(config) if isinstance(config, dict) and there else self._shared()
        others.pop(POLICY, None)
        others.setdefault("cloudpc:directory", {"kind": "graph"})
        with path.open("w" if there else "x", encoding="utf-8") as file:
            file.write(to_yaml(imported, others, keep))
        self.written.append(stack)
        out.print(f"{shown} is written: {imported.display_name}")
        for remark in imported.remarks:
            if not remark.decide:
                out.print(f"  not carried over: {remark}")
        for problem in self._left(imported, shown, others):
            out.print(f"  left to do: {problem.field}: {problem.message}")
        for remark in imported.remarks:
            if remark.decide and remark.field in ("assignments", "domainJoinConfigurations"):
                out.print(f"  left to do: {remark.field}: {remark.why}")

    def _left(self, imported: Imported, shown: str, others: Mapping[str, Any]) -> list[Problem]:
        """What the policy names and is not here; validate looks for groups, since a tenant may have to be asked."""
        references = References(shown, self.project.directories)
        policy = ProvisioningPolicy.model_validate(imported.policy)
        for index in range(len(policy.domain_join_configurations)):
            references.network(index, policy, ())
        images = others.get("cloudpc:images")
        # validate also reports what is wrong with an image itself
        if policy.image_type == "gallery" or not isinstance(images, dict) or policy.image_id not in images:
            used = hosts.read(others.get(hosts.KEY), shown, []) or drivers.this_machine()
            references.image(policy, {}, (), used)
        return references.problems

    def _shared(self) -> dict[str, Any]:
        """What all other policies of the project have in common."""
        siblings = []
        for policy in self.project.policy_ids():
            try:
                siblings.append(self.project.values(policy))
            except InvalidConfigurationError:
                continue
        return {
            key: siblings[0][key]
            for key in _SHARED
            if siblings and key in siblings[0] and all(values.get(key) == siblings[0][key] for values in siblings)
        }


def _of_tenant(project: Project) -> list[object]:
    """All policies of the tenant that the project's own policies name, else of whoever is signed in."""
    from cloudpc.graph.client import Graph
    from cloudpc.graph.policies import provisioning_policies

    key = "cloudpc:graph"
    found = {name: project.values(name).get(key) for name in project.policy_ids()}
    tenants = {json.dumps(value, sort_keys=True): (name, value) for name, value in found.items() if value is not None}
    if len(tenants) > 1:
        names = ", ".join(name for name, _ in tenants.values())
        raise CommandError(f"{key} is not the same in {names}: which tenant?", Exit.INVALID)
    name, value = next(iter(tenants.values()), ("", {}))
    try:
        config = GraphConfig.model_validate(value)
    except ValidationError as error:
        file = project.shown(name)
        raise InvalidConfigurationError(from_validation(file, key, GraphConfig, error)) from None
    graph = Graph(config)
    try:
        return provisioning_policies(graph)
    except GraphError as error:
        raise CommandError(f"the tenant's policies can't be read: {error}") from None
    finally:
        graph.close()


def _parsed(content: bytes) -> object:
    """JSON as tools write it: UTF-8 or UTF-16, with a byte order mark or without.

    Raises:
        ValueError: it is none; in words.
    """
    try:
        found = json.loads(content, parse_int=_number)
    except UnicodeDecodeError as error:
        message = f"its encoding is not one of Unicode ({error.reason}); save it as UTF-8"
        raise ValueError(message) from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if yaml_file.is_too_deep(found):
        raise ValueError(_TOO_DEEP)
    return found


def _number(digits: str) -> int | str:
    """A number with more digits than any in a policy counts as unreadable, and costs no other policy."""
    return int(digits) if len(digits) <= _DIGITS else digits


def _shown(source: str, values: object) -> str:
    """Which policy of a file a problem is about."""
    name = value_of(values, "displayName") if isinstance(values, dict) else None
    return f"{source} ({name})" if isinstance(name, str) and name else source
