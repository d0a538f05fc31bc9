"""The fake hypervisor of files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from fake_driver import DRIVER, FakeHostConfig

from cloudpc.model.machines import Network, Order
from tests.support.fake_settings import write_settings
from tests.support.orders import IMAGE

from .subject import Subject


class FileSubject(Subject):
    """In a folder of its own."""

    driver = DRIVER

    @classmethod
    def opened(cls, request: pytest.FixtureRequest) -> Iterator[Self]:
        folder = request.getfixturevalue("tmp_path_factory").mktemp("host")
        subject = cls(FakeHostConfig(name="files", uri=f"fake://{folder}"), IMAGE)
        subject.folder = folder
        subject.configure()
        yield subject
        subject.configure()
        subject.clear()

    def configure(self, **more: object) -> None:
        """Its settings, for so long."""
        room = {"cores": 8, "memory_mib": 65536, "disk_gib": 1024}
        guest = {"shell": True, "no_user": "nobody-of-this-name"}
        settings = {**room, **guest, "networks": ["lan"], **more}
        write_settings(self.folder, settings)

    def things(self) -> list[str]:
        volumes = (path.name for path in self.folder.glob("cloudpc-*"))
        return sorted([*(machine["name"] for machine in self._machines()), *volumes])

    def take_tag_away(self, order: Order) -> None:
        self._change(order, lambda machine: {**machine, "tag": None})

    def add_to_tag(self, order: Order) -> None:
        self._change(order, lambda machine: {**machine, "tag": {**machine["tag"], "from_a_later_version": 1}})

    def give_disk(self, order: Order) -> None:
        (self.folder / f"{order.name}.qcow2").write_text("a disk")

    def lose(self, order: Order) -> list[str]:
        self.give_disk(order)
        file = self._file(order)
        file.rename(file.with_suffix(".lost"))
        return [f"{order.name}.qcow2"]

    def put_back(self, order: Order) -> None:
        file = self._file(order)
        file.with_suffix(".lost").rename(file)

    def turn_off(self, order: Order) -> None:
        self._change(order, lambda machine: {**machine, "power": "stopped"})

    @contextmanager
    def away(self) -> Iterator[None]:
        self.configure(away=True)
        yield
        self.configure()

    def never_ready(self) -> Order:
        self.configure(seconds={"wait_ready": 600})
        return super().never_ready()

    @property
    def another_network(self) -> Network:
        return Network("network", "lan")

    def _machines(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in (self.folder / "machines").glob("*.json")]

    def _file(self, order: Order) -> Path:
        return self.folder / "machines" / f"{order.id}.json"

    def _change(self, order: Order, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        file = self._file(order)
        file.write_text(json.dumps(change(json.loads(file.read_text()))))
