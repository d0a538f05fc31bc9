"""`cloudpc image`: the gallery images of this project."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.status import Status

from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit, err, out, print_json, styled, table
from cloudpc.files.project import project_root
from cloudpc.images import gallery
from cloudpc.images.commands import Note
from cloudpc.images.recipe import FOLDER, Recipe
from cloudpc.model.image import DiskImage, Image

if TYPE_CHECKING:
    from cloudpc.model.machines import Host
    from cloudpc.model.watch import Watch

app = typer.Typer(
    no_args_is_help=True, help="Gallery images: built on this machine from recipes, cloudpc's own and the project's."
)


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="An array of objects, for scripts.")] = False,
    verify: Annotated[bool, typer.Option(help="Hash all files again instead of trusting size and time.")] = False,
) -> None:
    """List the recipes, and which images are built from them."""
    folder = project_root() / FOLDER
    found = [(recipe, gallery.find(folder, recipe.image_id, verify=verify)) for recipe in gallery.recipes(folder)]
    if as_json:
        print_json([_row(recipe, image) for recipe, image in found])
        return
    shown = table("IMAGE", "NAME", "STATUS", "DIGEST", "SIZE", "PATH")
    for recipe, image in found:
        row = _row(recipe, image)
        size = f"{row['size'] / 1e6:.0f} MB" if image else ""
        shown.add_row(
            recipe.image_id, row["displayName"], row["status"], (row["digest"] or "")[:12], size, row["path"] or ""
        )
    out.print(shown)


@app.command()
def build(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Recipes; `cloudpc image list` shows them.")],
    force: Annotated[bool, typer.Option("--force", help="Build again, with the mirror's current packages.")] = False,
) -> None:
    """Build images; existing ones are left as they are."""
    folder = project_root() / FOLDER
    known = [recipe.image_id for recipe in gallery.recipes(folder)]
    if unknown := [name for name in names if name not in known]:
        message = f"no recipe in {folder}: {', '.join(unknown)}; there are: {', '.join(known) or 'none'}"
        raise CommandError(message, Exit.INVALID)
    for name in names:
        with _progress(name) as note:
            image = gallery.build(folder, name, note, force=force)
        out.print(f"{name} {image.digest[:12]} {image.disk.path.parent}")


@app.command()
def upload(
    policies: Annotated[list[str] | None, typer.Argument(help="Names of policies; default: all.")] = None,
) -> None:
    """Bring the images of policies to their hosts, so that the next run need not."""
    from cloudpc.model.errors import ProvisioningError
    from cloudpc.operations.runtime import Runtime

    project, troubles = Project(), []
    for name in dict.fromkeys(policies or project.policy_ids()):
        inputs = project.inputs(name)
        resources = Runtime(inputs.configuration.surroundings, project.stacks_folder).resources(inputs.settings)
        for host in resources.places:
            try:
                _bring(host, resources.image_on(host))
            except ProvisioningError as error:
                troubles.append(f"{host.name}: {error}")
            finally:
                host.close()
    if troubles:
        raise CommandError("\n".join(dict.fromkeys(troubles)))


def _bring(host: Host, find: Callable[[Watch], Image]) -> None:
    from cloudpc.model.abilities import KeepsImages
    from cloudpc.model.watch import Watch

    if not isinstance(host, KeepsImages):
        out.print(f"{host.name} needs no copy")
        return
    with _progress(host.name) as note:
        watch = Watch(tell=note)
        image = find(watch)
        host.bring_image(image, watch)
    out.print(f"{host.name} has {image.image_id} {image.digest[:12]}")


def _row(recipe: Recipe, image: DiskImage | None) -> dict[str, Any]:
    files = [file for file in (image.disk, image.kernel, image.initrd) if file] if image else []
    return {
        "imageId": recipe.image_id,
        "displayName": recipe.settings.display_name,
        "status": "built" if image else "not built",
        "digest": image.digest if image else None,
        "size": sum(file.size for file in files) if image else None,
        "path": str(Path(image.disk.path).parent) if image else None,
    }


@contextlib.contextmanager
def _progress(name: str) -> Iterator[Note]:
    """Says what a build is doing: in place on a terminal, a line each elsewhere."""
    began = time.monotonic()

    def text(step: str) -> str:
        return f"{name}: {step} ({time.monotonic() - began:.0f} s)"

    if not err.is_terminal:
        yield lambda step: err.print(text(step))
        return
    with Status(styled(text("starting"), ""), console=err) as status:
        yield lambda step: status.update(styled(text(step), ""))
