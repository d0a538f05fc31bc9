"""`cloudpc policy validate|schema`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cloudpc import configuration
from cloudpc.cli.context import Project
from cloudpc.cli.output import Exit, err, out, print_json
from cloudpc.entitlement import entitled
from cloudpc.problems import Problem, report

app = typer.Typer(no_args_is_help=True, help="Check provisioning policies before anything is run.")


@app.command()
def validate(
    policies: Annotated[list[str] | None, typer.Argument(help="Names of policies; all of them without.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the problems as JSON.")] = False,
) -> None:
    """Check policies and everything they name, as every run does first. Exits with 2 if there are problems."""
    project = Project()
    problems: list[Problem] = []
    names = policies or project.policy_ids()
    for name in names:
        if found := project.problems(name):
            problems += [p for p in found if p not in problems]
        elif not as_json:
            inputs = configuration.read(name, project.values(name), project.stacks_folder)
            count = len(entitled(inputs.policy, inputs.snapshot))
            out.print(f"{name}: valid; {count} Cloud PC{'' if count == 1 else 's'} owed")
    if as_json:
        print_json([{"file": p.file, "field": p.field, "message": p.message, "found": p.found} for p in problems])
    elif problems:
        err.print(report(problems), markup=False)
    elif not names:
        err.print(f"no policies in {project.stacks_folder}")
    if problems:
        raise typer.Exit(Exit.INVALID)


class Kind(StrEnum):
    """Which file a schema is of."""

    POLICY = "policy"
    DIRECTORY = "directory"
    CONNECTION = "connection"


@app.command()
def schema(
    of: Annotated[Kind, typer.Option("--of", help="Which kind of file in stacks/.")] = Kind.POLICY,
) -> None:
    """Print the JSON Schema of a policy's file, or of another in stacks/, for editors."""
    print_json(configuration.json_schemas()[of])
