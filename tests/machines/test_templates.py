"""When a machine is cloned, when it boots, and who makes the template."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import libvirt
import libvirt_qemu
import pytest

from cloudpc.machines.libvirt import template_making
from cloudpc.machines.libvirt.cloning import Clone
from cloudpc.machines.libvirt.connection import Connection
from cloudpc.machines.libvirt.domain_xml import AttachedNetwork, DomainSpec, UserNetwork
from cloudpc.machines.libvirt.locks import HostLocks
from cloudpc.machines.libvirt.making import Making
from cloudpc.machines.libvirt.template_making import TemplateMaker
from cloudpc.machines.libvirt.template_store import Template, TemplateKey, TemplateStore
from cloudpc.machines.libvirt.templates import Templates
from cloudpc.model.cancellation import Cancellation
from cloudpc.model.errors import Cancelled, ErrorCode, ProvisioningError
from cloudpc.model.image import DiskImage, ImageFile
from cloudpc.model.machines import Amount, Order
from cloudpc.model.watch import Watch
from tests.support.orders import IMAGE, order, seed

from .test_agent import SILENT
from .test_domain_xml import TAG, spec

FILE = ImageFile(Path("/none/kernel"), "ab" * 32, 1)
WAITS = replace(IMAGE, kernel=FILE, waits_for_identity=True)
SIZE = Amount(vcpus=1, memory_mib=256, disk_gib=8)
NETWORK = UserNetwork(None, restricted=True)
TEMPLATE = Template("cloudpc-template-x", "/pool/x.qcow2", "/pool/x.save")


@dataclass
class Bench:
    """Templates of a host that there is not."""

    folder: Path
    made: set[TemplateKey] = field(default_factory=set)
    makes: list[TemplateKey] = field(default_factory=list)
    retired: list[Template] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    fails: Exception | None = None
    versions: tuple[int, int] = (7002022, 9000000)
    cpu: str = "<model>Cascadelake</model>"
    network: UserNetwork | AttachedNetwork = NETWORK

    def templates(self) -> Templates:
        """As each process has them."""
        return Templates("lab", self.connection, self.store, self.like, self.make, self.folder)

    @property
    def connection(self) -> Connection:
        libvirtd = SimpleNamespace(
            getVersion=lambda: self.versions[0],
            getLibVersion=lambda: self.versions[1],
            getCapabilities=lambda: f"<capabilities><host><cpu>{self.cpu}</cpu></host></capabilities>",
        )
        return SimpleNamespace(get=lambda: libvirtd)  # type: ignore[return-value]

    @property
    def store(self) -> TemplateStore:
        find: Callable[[TemplateKey], Template | None] = lambda key: TEMPLATE if key in self.made else None  # noqa: E731
        return SimpleNamespace(find=find, retire=self.retired.append)  # type: ignore[return-value]

    def like(self, wanted: Order, _image: DiskImage, machine_id: UUID) -> DomainSpec:
        size = wanted.size
        return spec(id=machine_id, label=None, vcpus=size.vcpus, memory_mib=size.memory_mib, network=self.network)

    def make(self, key: TemplateKey, _spec: DomainSpec, _order: Order, _image: DiskImage, watch: Watch) -> None:
        self.makes.append(key)
        while not self.go.is_set():
            watch.wait(0.01)
        if self.fails:
            raise self.fails
        self.made.add(key)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "failures")


def wanted(user: str = "u-1", size: Amount = SIZE, **changes: Any) -> Order:
    return order(replace(TAG, user_id=user), size, **{"may_be_cloned": True, **changes})


def test_the_first_boots_and_the_others_wait_for_the_template_that_is_made_beside_it(bench: Bench) -> None:
    templates, first, told = bench.templates(), wanted("u-first"), list[str]()
    assert templates.find(first, WAITS, Watch()) is None
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(templates.find, wanted(f"u-{n}"), WAITS, Watch(tell=told.append)) for n in range(3)]
        while len(told) < 3:
            time.sleep(0.01)
        assert not any(each.done() for each in waiting)
        bench.go.set()
        assert [each.result() for each in waiting] == [TEMPLATE] * 3
    templates.settle(first.id)
    assert len(bench.makes) == 1
    assert bench.templates().find(wanted(), WAITS, Watch()) is TEMPLATE  # another process finds it


def test_a_run_ends_when_its_template_is_made(bench: Bench) -> None:
    templates, first = bench.templates(), wanted()
    templates.find(first, WAITS, Watch())
    with ThreadPoolExecutor(1) as threads:
        settled = threads.submit(templates.settle, first.id)
        time.sleep(0.05)
        assert not settled.done()
        bench.go.set()
        settled.result(10)
    templates.settle(first.id)
    templates.settle(wanted("u-other").id)


@pytest.mark.parametrize(
    ("asked", "image"),
    [
        (wanted(may_be_cloned=False), WAITS),
        (wanted(), IMAGE),
        (wanted(), replace(WAITS, waits_for_identity=False)),
        (wanted(), replace(WAITS, kernel=None)),
    ],
    ids=["startFrom: boot", "a custom image", "an image that does not wait", "firmware"],
)
def test_what_cannot_or_may_not_be_cloned_boots(bench: Bench, asked: Order, image: DiskImage) -> None:
    bench.go.set()
    assert bench.templates().find(asked, image, Watch()) is None
    assert bench.makes == []


def test_what_could_not_be_made_is_told_once_and_not_tried_again_for_a_day(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.go.set()
    bench.fails = ProvisioningError(ErrorCode.BOOT_TIMEOUT, "It took too long.")
    for templates in (bench.templates(), bench.templates()):
        first = wanted("u-first")
        assert templates.find(first, WAITS, Watch()) is None
        templates.settle(first.id)
        assert templates.find(wanted(), WAITS, Watch()) is None
        assert templates.problems() == ["no template of micro could be made: It took too long."]
    assert (len(bench.makes), len(caplog.messages)) == (1, 1)
    [file] = bench.folder.glob("*.json")
    yesterday = time.time() - 25 * 3600
    os.utime(file, (yesterday, yesterday))
    templates, first = bench.templates(), wanted("u-first")
    assert templates.problems() == []
    templates.find(first, WAITS, Watch())
    templates.settle(first.id)
    assert len(bench.makes) == 2


def test_a_fault_of_ours_is_no_traceback(bench: Bench) -> None:
    bench.go.set()
    bench.fails = RuntimeError("oh")
    templates, first = bench.templates(), wanted()
    assert templates.find(first, WAITS, Watch()) is None
    templates.settle(first.id)
    [problem] = templates.problems()
    assert problem == "no template of micro could be made: unexpected RuntimeError: oh"


@pytest.mark.parametrize("code", [ErrorCode.NO_CAPACITY, ErrorCode.STORAGE_FULL, ErrorCode.HOST_UNREACHABLE])
def test_a_host_without_room_or_that_restarts_is_asked_again_by_the_next_run(bench: Bench, code: ErrorCode) -> None:
    bench.go.set()
    bench.fails = ProvisioningError(code, "For now.")
    for count in (1, 2):
        templates, first = bench.templates(), wanted("u-first")
        assert templates.find(first, WAITS, Watch()) is None
        templates.settle(first.id)
        assert templates.find(wanted(), WAITS, Watch()) is None
        assert len(bench.makes) == count
        assert templates.problems() == []


def test_a_run_that_is_to_stop_waits_for_none(bench: Bench) -> None:
    templates, cancel, first = bench.templates(), Cancellation(), wanted("u-first")
    templates.find(first, WAITS, Watch(cancel))
    cancel.cancel()
    with pytest.raises(Cancelled):
        templates.find(wanted(), WAITS, Watch(cancel))
    templates.settle(first.id)
    assert (bench.made, templates.problems()) == (set(), [])


def test_one_that_a_clone_failed_of_is_never_used_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    templates = bench.templates()
    bench.made.add(templates.key(wanted(), WAITS))
    assert templates.find(wanted(), WAITS, Watch()) is TEMPLATE
    for _ in range(2):  # several clones of it may be on the way
        templates.failed(wanted(), WAITS, TEMPLATE, "no answer")
    assert bench.retired == [TEMPLATE]
    assert len(caplog.messages) == 1
    assert bench.templates().find(wanted(), WAITS, Watch()) is None
    assert bench.templates().find(wanted(size=replace(SIZE, vcpus=2)), WAITS, Watch()) is None  # begins its own
    assert len(bench.makes) == 1
    bench.go.set()


def test_whatever_a_memory_depends_on_makes_another_template(bench: Bench) -> None:
    key = bench.templates().key
    usual = key(wanted(), WAITS)
    assert key(wanted("u-another"), WAITS) == usual
    keys = [usual]
    keys += [key(wanted(size=replace(SIZE, **{name: 3})), WAITS) for name in ("vcpus", "memory_mib", "disk_gib")]
    keys += [key(wanted(), replace(WAITS, digest="cd" * 32))]
    changed = {
        "versions": [(7002023, 9000000), (7002022, 9000001)],
        "cpu": ["<model>Icelake</model>"],
        "network": [AttachedNetwork("network", "hq", is_up=False)],
    }
    for name, values in changed.items():
        for value in values:
            keys.append(replace(bench, **{name: value}).templates().key(wanted(), WAITS))
    assert len({each.whole for each in keys}) == len(keys)


class _Domain:
    """One that does not come to where it waits."""

    def __init__(self, reason: int, error: libvirt.libvirtError | None = None) -> None:
        self._reason, self._error = reason, error

    def XMLDesc(self, _flags: int) -> str:
        if self._error:
            raise self._error
        return "<domain/>"

    def state(self) -> tuple[int, int]:
        return libvirt.VIR_DOMAIN_PAUSED, self._reason

    def isActive(self) -> bool:
        return True

    def diskErrors(self) -> dict[str, int]:
        return {"vda": libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE}


def _awaited(domain: _Domain, folder: Path) -> ErrorCode:
    console = SimpleNamespace(panicked=False, tail=lambda: "", close=lambda: None)
    libvirtd = SimpleNamespace(createXML=lambda _xml, _flags: domain)
    locks = HostLocks(folder, "test:///default")
    connection = SimpleNamespace(get=lambda: libvirtd)
    maker = TemplateMaker(connection, None, None, locks, None, lambda _size: "")  # type: ignore[arg-type]
    domain.resume = lambda: None  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(template_making, "Console", lambda *_: console)
        patched.setattr(template_making.removal, "stop", lambda _: None)
        with pytest.raises(ProvisioningError) as raised:
            maker._save(spec(), TEMPLATE, SIZE, Watch().within(60))
    return raised.value.code


def test_one_whose_disk_does_not_fit_is_given_up_at_once(tmp_path: Path) -> None:
    begin = time.monotonic()
    assert _awaited(_Domain(libvirt.VIR_DOMAIN_PAUSED_IOERROR), tmp_path) is ErrorCode.STORAGE_FULL
    assert time.monotonic() - begin < 30


def test_a_host_that_restarts_while_one_is_made_is_no_fault_of_the_image(tmp_path: Path) -> None:
    error = libvirt.libvirtError("end of file while reading data")
    error.err = (libvirt.VIR_ERR_RPC, libvirt.VIR_FROM_RPC, "end of file while reading data", 2, "", None, None, -1, -1)
    assert _awaited(_Domain(0, error), tmp_path) is ErrorCode.HOST_UNREACHABLE


class _Restored:
    """A clone whose agent answers once, and no more."""

    def __init__(self, *, runs: bool) -> None:
        self._runs = runs

    def XMLDesc(self, _flags: int) -> str:
        return "<domain><devices><interface><mac address='52:54:00:00:00:01'/></interface></devices></domain>"

    def isActive(self) -> bool:
        return self._runs

    def name(self) -> str:
        return "m"

    def destroy(self) -> None: ...


@pytest.mark.parametrize(
    ("runs", "panicked", "is_broken"),
    [(True, False, False), (True, True, True), (False, False, True)],
    ids=["busy", "panicked", "gone"],
)
def test_a_busy_host_is_not_taken_for_a_broken_template(
    monkeypatch: pytest.MonkeyPatch, runs: bool, panicked: bool, is_broken: bool
) -> None:
    asked: list[str] = []

    def command(_domain: object, request: str, *_: int) -> str:
        asked.append(json.loads(request)["execute"])
        if asked[-1] == "guest-ping":
            return '{"return": {}}'
        raise SILENT

    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", command)
    failed: list[str] = []
    nothing = SimpleNamespace(
        create_clone=lambda *_: None,
        keep=lambda *_: None,
        of=lambda _: SimpleNamespace(panicked=panicked),
        need=lambda _: (_Restored(runs=runs), None),
        failed=lambda _order, _image, _template, why: failed.append(why),
    )

    class Usual(Making):
        def boot_slot(self, _watch: Watch) -> AbstractContextManager[None]:
            return nullcontext()

        def start(self, *_: Any) -> None: ...

    making = Usual("lab", *[nothing] * 9, lambda *_: None)  # type: ignore[arg-type]
    clone = Clone(wanted(), TEMPLATE, seed("alice"), nothing, is_local=True)  # type: ignore[arg-type]
    assert making._clone(WAITS, clone, Watch(tell=(told := list[str]()).append)) is None, "it boots"
    assert asked == ["guest-ping", "guest-exec"]
    assert bool(failed) is is_broken
    assert any("booting instead: its guest agent did not answer" in line for line in told) is not is_broken


def test_a_clone_that_is_never_ready_boots_instead() -> None:
    """Its order would otherwise be cloned at each of its attempts, and fail."""
    failed: list[str] = []
    nothing = SimpleNamespace(
        create_clone=lambda *_: None,
        keep=lambda *_: None,
        need=lambda _: (SimpleNamespace(name=lambda: "m", isActive=lambda: False), None),
        failed=lambda _order, _image, _template, why: failed.append(why),
    )

    class Slow(Making):
        def boot_slot(self, _watch: Watch) -> AbstractContextManager[None]:
            return nullcontext()

        def start(self, *_: Any) -> None: ...

        def wait_ready(self, *_: Any) -> None:
            raise ProvisioningError(ErrorCode.BOOT_TIMEOUT, "not ready")

    making = Slow("lab", *[nothing] * 9, lambda *_: None)  # type: ignore[arg-type]
    clone = SimpleNamespace(order=wanted(), template=TEMPLATE, restore=lambda *_: None, identify=lambda *_: None)
    assert making._clone(WAITS, clone, Watch()) is None  # type: ignore[arg-type]
    assert failed == ["not ready"]
