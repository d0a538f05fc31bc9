"""An image in several forms: each host gets the one that it takes, and its machine is compared with that one alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from cloudpc.configuration import offers
from cloudpc.images import counterparts
from cloudpc.images.sources import Places, Tell
from cloudpc.model import drivers
from cloudpc.model.cloud_pc import PolicySettings, Status
from cloudpc.model.hosts import HostConfig
from cloudpc.model.image import QCOW2, UsedImage
from cloudpc.model.watch import Watch
from cloudpc.provisioning.order import tag_of
from cloudpc.provisioning.resources import Form
from cloudpc.rules.drift import outdated

from . import make
from .fake_rim import Run, ScriptedHost, desired, image

FORMS = {"image_digest": "f1", "image_forms": {"cloud": "c1"}}


class CloudHost(HostConfig):
    kind: Literal["cloud"] = "cloud"


class FileHost(HostConfig):
    kind: Literal["file"] = "file"


class Taking:
    def __init__(self, *images: str) -> None:
        self.images = frozenset(images)


class Named:
    """A source that has these images."""

    entry = None
    image_type = "gallery"

    def __init__(self, kind: str, *ids: str) -> None:
        self.kind, self.ids = kind, ids

    def has(self, image_id: str) -> bool:
        return image_id in self.ids

    def look(self, image_id: str, tell: Tell) -> UsedImage | None:
        raise NotImplementedError

    def image(self, image_id: str, digest: str, note: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"cloud": Taking("cloud"), "file": Taking(QCOW2, "other")}
    monkeypatch.setattr(drivers, "named", known.get)


CLOUD, FILE = CloudHost(name="weu"), FileHost(name="kvm1")
FILES, SKUS = Named(QCOW2, "debian-12", "micro"), Named("cloud", "debian-12", "win11")


@pytest.mark.parametrize(
    ("image_id", "hosts", "kinds"),
    [
        ("debian-12", [FILE, CLOUD], [QCOW2, "cloud"]),
        ("debian-12", [CLOUD, FILE], ["cloud", QCOW2]),
        ("debian-12", [CLOUD], ["cloud"]),
        ("micro", [CLOUD, FILE], [QCOW2]),
        ("win11", [FILE, CLOUD], ["cloud"]),
        ("nowhere", [FILE, CLOUD], [QCOW2]),  # which tells why
        ("micro", [CLOUD], ["cloud"]),
        ("debian-12", [], [QCOW2]),
    ],
)
def test_there_is_a_form_for_each_kind_of_hosts(image_id: str, hosts: list[HostConfig], kinds: list[str]) -> None:
    assert [source.kind for source in offers.forms([FILES, SKUS], image_id, hosts)] == kinds


def test_nobody_takes_them() -> None:
    assert offers.forms([FILES], "micro", [CLOUD]) == []


def test_a_host_that_gets_nothing_is_told_with_what_to_add() -> None:
    assert offers.left_out([FILES, SKUS], [QCOW2, "cloud"], "debian-12", [FILE, CLOUD]) == []
    assert offers.left_out([FILES, SKUS], [QCOW2], "micro", [FILE, CLOUD]) == [
        "weu (cloud) gets none of the Cloud PCs: the image micro has no form for it; name what it is there in "
        "vm-images/counterparts.yaml: micro: {cloud: …}"
    ]
    assert offers.left_out([FILES, SKUS], ["cloud"], "win11", [FILE, CLOUD]) == [
        "kvm1 (file) gets none of the Cloud PCs: the image win11 has no form for it; it takes what is built from a "
        "recipe of that name"
    ]


def two(tmp_path: Path, **cores: int) -> tuple[Run, PolicySettings]:
    """Hosts of two kinds, and settings with an image for both."""
    hosts = [ScriptedHost(tmp_path, name, cores=number) for name, number in cores.items()]
    run, finds = Run(*hosts), {QCOW2: lambda _: image(digest="f1"), "cloud": lambda _: image(digest="c1")}
    run.forms = {host.name: Form(kind, finds[kind]) for host, kind in zip(hosts, finds, strict=False)}
    return run, make.settings(**FORMS)


@pytest.mark.parametrize(("kvm1", "weu", "kind", "digest"), [(8, 4, QCOW2, "f1"), (4, 8, "cloud", "c1")])
def test_an_order_has_the_form_of_its_host(tmp_path: Path, kvm1: int, weu: int, kind: str, digest: str) -> None:
    run, settings = two(tmp_path, kvm1=kvm1, weu=weu)
    outcome = run.provision(desired(**settings.model_dump()))
    assert outcome.status is Status.PROVISIONED
    [order] = [order for host in run.hosts for order in host.claimed]
    assert order.image(Watch()).digest == digest
    assert outcome.desired is not None
    made = outcome.desired.settings
    assert (made.image_kind, made.image_digest, made.image_forms) == (kind, digest, {})


def test_a_host_that_is_asked_after_another_gets_its_own(tmp_path: Path) -> None:
    run, settings = two(tmp_path, kvm1=0, weu=8)
    run.hosts[1].configure(cores=8, faults=[{"call": "claim", "fault": "error", "retriable": True, "times": 1}])
    outcome = run.provision(desired(**settings.model_dump()))
    assert (outcome.host, outcome.attempts) == ("weu", 2)
    assert outcome.desired is not None
    assert outcome.desired.settings.image_digest == "c1"


def test_what_is_taken_back_is_of_its_hosts_form(tmp_path: Path) -> None:
    run, settings = two(tmp_path, kvm1=4, weu=8)
    assert run.provision(desired(**settings.model_dump())).host == "weu"
    taken = run.provision(desired(**settings.model_dump()))
    assert taken.desired is not None
    assert taken.desired.settings.image_kind == "cloud"


def test_a_newer_build_is_one_of_the_same_kind() -> None:
    today = make.settings(image_digest="f2", image_forms={"cloud": "c1"})
    assert outdated(make.settings(**FORMS).of_kind("cloud"), today) == []
    assert outdated(make.settings(**FORMS).of_kind(QCOW2), today) == ["a newer build of image micro"]
    assert outdated(make.settings(**FORMS).of_kind("cloud"), make.settings(image_digest="f2")) == []


def test_the_hash_of_settings_with_a_file_alone_is_as_it_always_was() -> None:
    """What an earlier version had made and not recorded is taken over."""
    assert tag_of(desired()).settings_hash == "f540fba76186ca69"
    hashes = {
        tag_of(desired(**changes)).settings_hash for changes in ({}, FORMS, {**FORMS, "image_forms": {"cloud": "c2"}})
    }
    assert len(hashes) == 3


def test_counterparts_are_read_and_told_where_they_are_wrong(tmp_path: Path) -> None:
    places = Places(tmp_path / "stacks", {})
    places.recipes.mkdir()
    assert (places.counterpart("debian-12", "cloud"), counterparts.problems(places.recipes)) == (None, [])
    assert places.counterpart("debian-12", "azure") == "Debian_debian-12_12-gen2"
    file = places.recipes / counterparts.FILE
    file.write_text("debian-12: {cloud: Debian_12}\n")
    assert places.counterpart("debian-12", "cloud") == "Debian_12"
    assert places.counterpart("debian-12", "another") is places.counterpart("micro", "cloud") is None
    file.write_text("debian-12: Debian_12\n")
    assert places.counterpart("debian-12", "cloud") is None
    [problem] = counterparts.problems(places.recipes)
    assert (problem.file, problem.field) == ("vm-images/counterparts.yaml", "debian-12")
