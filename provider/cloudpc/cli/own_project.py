"""`cloudpc init` and `cloudpc setup`: a project of one's own, and what it needs on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from cloudpc.cli.output import CommandError, Exit, err, out
from cloudpc.files import new_project, origin, packaged
from cloudpc.files.project import project_root
from cloudpc.iac.engine import to_its_end
from cloudpc.model.text import command_line


def init(
    folder: Annotated[Path, typer.Argument(help="Where to make it; the folder is made if it does not exist.")],
    name: Annotated[str | None, typer.Option(help="The project's name; default: the folder's.")] = None,
    template: Annotated[
        bool, typer.Option("--template", help="Make a folder for `pulumi new FOLDER --generate-only`.")
    ] = False,
    wheel: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="The wheel that CI installs, copied into wheels/; default: the one this cloudpc was installed from.",
        ),
    ] = None,
) -> None:
    """Make a project of one's own: Pulumi.yaml, a first policy and its directory, a CI workflow.

    Existing files are never overwritten.
    """
    if wheel and not origin.is_our_wheel(wheel):
        raise CommandError(
            f"{wheel} is not a wheel of cloudpc: name a cloudpc-….whl, or leave --wheel out", Exit.INVALID
        )
    installs = origin.of_wheel(wheel) if wheel else origin.of_installed()
    values = {"REQUIREMENT": installs.requirement}
    if not template:
        values |= {"PROJECT": name or new_project.name_of(folder), "DESCRIPTION": new_project.DESCRIPTION}
    for path in new_project.create(folder, values, installs.wheel):
        err.print(f"  {path}")
    if installs.from_index:
        err.print(f"CI installs {installs.requirement} from your package index (requirements.txt).")
        err.print("Where that has none, put a wheel into wheels/ and write ./wheels/NAME there.")
    if template:
        out.print("A template. In an empty folder:")
        out.print(f"  {command_line('pulumi', 'new', str(folder.resolve()), '--generate-only')}")
    else:
        out.print(f"A project in {folder}. Next:")
        out.print(f"  {command_line('cd', str(folder))}")
    out.print("  cloudpc setup")
    out.print("  cloudpc image build debian-12")
    out.print("  cloudpc up demo")


def setup() -> None:
    """Install what a project needs on this machine: system packages, Pulumi, libvirt. Again, it takes a second.

    It says what it installs, and asks sudo where you are not root. A `pulumi` on the PATH is used if its version fits.
    """
    root = project_root()
    brought = packaged.root()
    environment = dict(os.environ)
    if brought != root:
        environment |= {"CLOUDPC_SETUP_PROJECT": str(root), "CLOUDPC_SETUP_PROGRAMS": str(Path(sys.executable).parent)}
    process = subprocess.Popen([str(brought / "tools" / "setup")], env=environment, cwd=root)
    if code := to_its_end(process, process.wait):
        raise CommandError(f"set-up ended with exit code {code}; the reason is above")


def version() -> str:
    """Of this package."""
    from importlib import metadata

    return metadata.version("cloudpc")
