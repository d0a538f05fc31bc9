"""Builds an image from a recipe: mmdebstrap makes the tree, hooks inside it pack the initrd, ext4 goes into a qcow2."""

from __future__ import annotations

import io
import os
import shlex
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from cloudpc.images import commands, filesystem, recipe, store
from cloudpc.images.commands import Note, ToolError
from cloudpc.images.mirror import Mirror
from cloudpc.images.recipe import Recipe
from cloudpc.model.errors import ErrorCode, ProvisioningError

KERNEL, INITRD, DISK = "vmlinuz", "initrd.img", "disk.qcow2"
EPOCH = 1735689600
"""SOURCE_DATE_EPOCH of all images (2025-01-01): times in them are never later."""

CODE = tuple(Path(__file__).with_name(name) for name in ("builder.py", "filesystem.py"))
"""The modules that decide an image's bytes; they are part of its key."""

# Run by mmdebstrap on the tree; the part in front of it comes as a tar archive, so that neither the folder's name nor
# its permissions nor this user's umask matter.
_FIRST = 'chroot "$1" /build/shared/make-initrd {modules}'
_EACH_PART = 'chroot "$1" /build/{place}/customize'
_LAST = (
    "download /build/vmlinuz {kernel}",
    "download /build/initrd.img {initrd}",
    'rm -rf "$1/build" "$1/etc/ld.so.preload" "$1/usr/share/libeatmydata.so"',
)
# dpkg waits for the disk after each change of its lists, thousands of times, and nobody needs the tree after a crash.
# Where the library does not fit the tree's C library, which the linker says, all goes on without.
_WITHOUT_SYNC = (
    # not among the libraries, of which the image has a list; below /usr, where usrmerge moves what programs have loaded
    'cp {library} "$1/usr/share/libeatmydata.so" && echo /usr/share/libeatmydata.so >"$1/etc/ld.so.preload"',
    '[ -z "$(chroot "$1" /bin/true 2>&1)" ] || rm "$1/etc/ld.so.preload"',
)


def build(recipe_: Recipe, source: Mirror, made: Path, log: Path, note: Note) -> None:
    """Build into the empty folder `made`: kernel, initrd and disk. Everything that programs say goes into `log`.

    Raises:
        ProvisioningError: IMAGE_NOT_FOUND with what went wrong and what to do; not retriable.
    """
    commands.require_programs()
    settings = recipe_.settings
    began = time.monotonic()
    overlay = made.parent / "overlay.tar"
    _write_overlay(recipe_, overlay)
    try:
        with log.open("w", encoding="utf-8") as lines:
            filesystem.make_disk(
                list(_mmdebstrap(recipe_, source, overlay, made)),
                made / DISK,
                size_mib=settings.disk_size_in_mb,
                journal_mib=settings.journal_size_in_mb,
                epoch=EPOCH,
                on_line=_Progress(note, lines),
                stdin=source.sources,
                env={"SOURCE_DATE_EPOCH": str(EPOCH), **dict(source.proxies)},
            )
    except ToolError as failure:
        raise _explained(recipe_, source, failure, log) from None
    note(f"built in {time.monotonic() - began:.0f} s")


def _mmdebstrap(recipe_: Recipe, source: Mirror, overlay: Path, made: Path) -> Iterator[str]:
    settings = recipe_.settings
    yield from ("mmdebstrap", f"--mode={'root' if os.geteuid() == 0 else 'unshare'}", f"--variant={settings.variant}")
    yield from ("--format=tar", f"--include={','.join(settings.packages)}", "--dpkgopt=force-unsafe-io")
    # Keys are named by apt's sources or trusted by apt; this check leaves a folder in /tmp when it is interrupted.
    yield "--skip=check/signed-by"
    yield from (f"--aptopt={option}" for option in (*source.options, 'Acquire::Languages "none";'))
    for path in settings.excluded_paths:
        option = "path-include" if path.startswith("!") else "path-exclude"
        yield f"--dpkgopt={option}={path.removeprefix('!')}"
    # So that mmdebstrap mounts them even where packages are only unpacked: busybox finds itself through /proc.
    yield """--setup-hook=mkdir -p "$1/proc" "$1/sys" """
    kind = "customize"
    if settings.variant == "extract":  # the only kind of hook it has; nothing of apt is left for mmdebstrap to clean up
        kind = "extract"
        yield "--skip=cleanup/apt,cleanup/mmdebstrap"
    else:
        yield from (f"--extract-hook={hook}" for hook in _without_sync())
    yield f"--{kind}-hook=tar-in {shlex.quote(str(overlay))} /"
    words = {
        "modules": shlex.join(settings.initrd_modules),
        "kernel": shlex.quote(str(made / KERNEL)),
        "initrd": shlex.quote(str(made / INITRD)),
    }
    customized = [_EACH_PART.format(place=shlex.quote(part.place)) for part in recipe_.parts]
    hooks = [_FIRST.format(**words), *customized, *(hook.format(**words) for hook in _LAST)]
    yield from (f"--{kind}-hook={hook}" for hook in hooks)
    yield from (settings.suite, "-", "-")


def _without_sync() -> Iterator[str]:
    """Hooks by which nothing in the tree waits for the disk, if this machine has Debian's libeatmydata1."""
    if library := next(Path("/usr/lib").glob("*-linux-gnu/libeatmydata.so"), None):
        yield from (hook.format(library=shlex.quote(str(library))) for hook in _WITHOUT_SYNC)


def _write_overlay(recipe_: Recipe, path: Path) -> None:
    """The recipe's own files as an archive of /build, owned by root, with fixed times and only Git's part of modes."""
    with tarfile.open(path, "w") as tar:
        for name, file in recipe_.sources():
            entry = tarfile.TarInfo(f"build/{name}")
            entry.mtime = EPOCH
            if file.is_symlink():
                entry.type, entry.linkname, content = tarfile.SYMTYPE, str(file.readlink()), b""
            else:
                entry.mode, content = 0o755 if recipe.is_executable(file) else 0o644, file.read_bytes()
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


class _Progress:
    """Passes mmdebstrap's own steps on, and everything into the log."""

    def __init__(self, note: Note, log: TextIO) -> None:
        self._note = note
        self._log = log

    def __call__(self, line: str) -> None:
        self._log.write(line + "\n")
        if line.startswith("I: ") and line.endswith("..."):
            self._note(line.removeprefix("I: ").removesuffix("..."))


def _explained(recipe_: Recipe, source: Mirror, failure: ToolError, log: Path) -> ProvisioningError:
    """What a failed build means, for whoever wanted the image."""
    text = "\n".join(failure.lines)
    gone = (
        "Failed to fetch",
        "Could not resolve",
        "Could not connect",
        "Unable to connect",
        "Unable to locate package",
    )
    hint = f"The whole log of the build: {log}"
    if any(sign in text for sign in gone):
        uris = sorted({line.split()[1] for line in source.sources.splitlines() if line.startswith("URIs:")})
        what = f"the Debian mirror cannot be reached or lacks a package ({', '.join(uris)})"
        hint = "Check that `apt-get update` works on this machine; the image is built from the same mirror."
    elif "subuid" in text or "newuidmap" in text:
        what, hint = commands.NO_RANGE, commands.HINT_FOR_RANGE
    elif "Could not allocate block" in text or "No space left" in text:
        what = "there is not enough room: on this machine's disk, or in the recipe's diskSizeInMB"
    else:
        errors = [line for line in failure.lines if line.startswith(("E:", "W:", "error"))] or list(failure.lines)
        what = " | ".join(errors[-3:])
    message = f"Image {recipe_.image_id} could not be built: {what}."
    return ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, message, retriable=False, hint=hint)


def key(recipe_: Recipe) -> str:
    """Identifies what an image is built from, but for the mirror's packages. Hex.

    Where they come from is left out: a line changed in apt's configuration does not make an image unusable.
    """
    return recipe.key(recipe_, CODE)


def images_folder() -> store.Store:
    """The store of built images."""
    return store.Store(store.cache_root() / "images" / "gallery")
