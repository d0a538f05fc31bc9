"""Restores a template's memory as another machine, and has that become one of its own before anything else happens."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import libvirt

from cloudpc.guests.linux import clone
from cloudpc.machines.libvirt import save_image
from cloudpc.machines.libvirt.agent import Agent, AgentUnavailable
from cloudpc.machines.libvirt.answers import AgentRefused
from cloudpc.machines.libvirt.clone_xml import UnlikeTemplateError, card_address, clone_xml
from cloudpc.machines.libvirt.definitions import is_running
from cloudpc.machines.libvirt.save_image import UnknownSaveFormatError
from cloudpc.machines.libvirt.template_store import Template
from cloudpc.machines.libvirt.volumes import MachineVolumes
from cloudpc.model.guests import Seed
from cloudpc.model.machines import Order
from cloudpc.model.watch import Watch

_PIECE = 1024 * 1024


class NotClonedError(Exception):
    """Why a machine has to boot instead."""


class SilentCloneError(NotClonedError):
    """The same, but others of its template may do well: it runs, and its host is too busy for its agent to answer."""


@dataclass(frozen=True)
class Clone:
    """One machine that is made of a template.

    Args:
        order: which one.
        template: of its kind.
        seed: what it reads as soon as it knows who it is.
        volumes: in the pool of both.
        is_local: whether paths of the host are paths here.
    """

    order: Order
    template: Template
    seed: Seed
    volumes: MachineVolumes
    is_local: bool

    def restore(self, domain: Any, own: str) -> None:
        """Put the domain, whose definition is `own`, to where the template was saved; it is paused then.

        Raises:
            NotClonedError: the saved memory is not as it should be.
            libvirt.libvirtError: it could not be restored.
        """
        try:
            with self._memory(own) as path:
                domain.connect().restoreFlags(path, None, libvirt.VIR_DOMAIN_SAVE_PAUSED)
        except (UnknownSaveFormatError, UnlikeTemplateError, OSError) as error:
            raise NotClonedError(f"the saved memory can't be used: {error}") from error

    @contextmanager
    def _memory(self, own: str) -> Iterator[str]:
        """Where libvirt reads the memory from, with the head of this machine: streamed if we may, or else a copy."""
        if self.is_local and os.access(self.template.save, os.R_OK):
            with Path(self.template.save).open("rb") as saved:
                fixed = saved.read(save_image.FIXED_LENGTH)
                head = self._head(fixed + saved.read(save_image.data_length(fixed)), own)
                with _streamed(head, saved) as path:
                    yield path
        else:
            name = PurePosixPath(self.template.save).name
            with self.volumes.memory(self.order.name, name, lambda found: self._head(found, own)) as path:
                yield path

    def _head(self, found: bytes, own: str) -> bytes:
        head = save_image.read(found)
        return head.with_xml(clone_xml(head.xml, own)).to_bytes()

    def identify(self, domain: Any, watch: Watch) -> None:
        """Give the guest, which runs, its own randomness, identity, card and seed; it goes on with its first boot.

        Raises:
            NotClonedError: it did not become one of its own, and must not go on.
            SilentCloneError: so it is, and why may be the host's load.
        """
        own = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        agent = Agent(domain, answer_within=10, cancel=watch.cancel)
        script = clone.identify(self.order.id, card_address(own), self.seed)
        try:
            agent.ping()  # which may be asked again until the agent is there
            done = agent.run(script.argv, stdin=script.stdin, timeout=script.timeout)
            if done.exit_code != 0:
                raise NotClonedError(f"it could not be told who it is: {done.output.strip()[-300:] or 'no output'}")
            _plug_in(domain)
            agent.write_file(clone.IDENTITY, b"")
        except AgentUnavailable as error:
            kind = SilentCloneError if is_running(domain) else NotClonedError
            raise kind(f"its guest agent did not answer: {error}") from error
        except (AgentRefused, TimeoutError) as error:
            raise NotClonedError(f"its guest agent did not do what was asked: {error}") from error


def _plug_in(domain: Any) -> None:
    """Its card, which it has given its own address; one that libvirt does not know of leads to no neighbours."""
    running = ElementTree.fromstring(domain.XMLDesc(0))  # noqa: S314 - from libvirt
    for interface in running.iterfind("./devices/interface"):
        for link in interface.findall("link"):
            link.set("state", "up")
        domain.updateDeviceFlags(ElementTree.tostring(interface, encoding="unicode"), libvirt.VIR_DOMAIN_AFFECT_LIVE)


@contextmanager
def _streamed(head: bytes, rest: Any) -> Iterator[str]:
    """A path from which libvirt reads, once, this head and what follows in the file; nothing is copied to a disk."""
    with tempfile.TemporaryDirectory(prefix="cloudpc-") as folder:
        path = Path(folder) / "memory"
        os.mkfifo(path, 0o600)

        def write() -> None:
            with suppress(BrokenPipeError), path.open("wb") as pipe:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIECE)
                pipe.write(head)
                shutil.copyfileobj(rest, pipe, _PIECE)

        writer = threading.Thread(target=write, name="restore", daemon=True)
        writer.start()
        try:
            yield str(path)
        finally:
            # a daemon that has not opened it leaves the writer waiting for somebody who does
            reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            os.close(reader)
            writer.join()
