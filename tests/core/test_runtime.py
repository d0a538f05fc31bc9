"""What a run asks of its hosts, whatever they do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from cloudpc.configuration import offers
from cloudpc.configuration.parsing import parse_surroundings
from cloudpc.model.cloud_pc import RecordedCloudPC, Status
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Amount
from cloudpc.model.tags import Phase
from cloudpc.model.watch import Watch
from cloudpc.operations.runtime import Runtime
from cloudpc.operations.tidying import Meant, tidy
from cloudpc.provisioning.order import tag_of
from tests.support.orders import order

from . import make
from .fake_rim import IDENTITY, Run, ScriptedHost, desired


def test_nothing_is_started_on_a_host_that_is_not_configured(tmp_path: Path) -> None:
    hosts = [{"name": "kvm1", "uri": f"fake://{tmp_path}/kvm1"}]
    runtime = Runtime(parse_surroundings({"cloudpc:hosts": hosts}), tmp_path)
    with pytest.raises(ProvisioningError) as raised:
        runtime.start(uuid4(), "kvm2")
    assert raised.value.code is ErrorCode.HOST_UNREACHABLE


def test_which_host_gets_which_form_of_an_image_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = [{"name": f"kvm{number}", "uri": f"fake://{tmp_path}/kvm{number}"} for number in range(5)]
    runtime = Runtime(parse_surroundings({"cloudpc:hosts": hosts}), tmp_path)
    asked: list[object] = []
    monkeypatch.setattr(offers, "form", lambda host, kinds: (asked.append(host), next(iter(kinds)))[1])
    newer = make.settings(image_digest="cd" * 32)
    forms = [runtime.resources(settings).forms for settings in (make.settings(), make.settings(), newer)]
    assert len(asked) == 2 * len(hosts), "for each build of it"
    assert forms[0] == forms[1]
    assert forms[0] != forms[2]


@pytest.mark.parametrize(
    ("kvm1", "kvm2", "left"),
    [
        ("a", "b", {"a"}),  # on b is what an attempt left, on a what state means
        ("empty", "a", {"a", "b"}),  # names were exchanged, or given to another machine: nobody can say
        ("a", "alias", {"a", "b"}),  # one hypervisor under two names
    ],
)
def test_what_state_may_mean_is_not_tidied_away(tmp_path: Path, kvm1: str, kvm2: str, left: set[str]) -> None:
    folders = {name: ScriptedHost(tmp_path, name) for name in ("a", "b")}
    (tmp_path / "alias").symlink_to("a")
    tag = replace(tag_of(desired()), phase=Phase.READY)
    for host in folders.values():
        host.claim(order(tag, Amount(1, 512, 8)), Watch())
    hosts = [{"name": n, "uri": f"fake://{tmp_path}/{at}"} for n, at in (("kvm1", kvm1), ("kvm2", kvm2))]
    runtime = Runtime(parse_surroundings({"cloudpc:hosts": hosts}), tmp_path)
    recorded = RecordedCloudPC(**desired().model_dump(), status=Status.PROVISIONED, host="kvm1")
    tidy(runtime.hosts, runtime.removal, Meant(make.INSTALLATION, "lab", {IDENTITY: recorded}, [], [IDENTITY]))
    assert {name for name, host in folders.items() if host.machines()} == left


@pytest.mark.parametrize("phase", Phase)
def test_only_what_no_user_was_given_is_tidied_away(tmp_path: Path, phase: Phase) -> None:
    host = ScriptedHost(tmp_path, "kvm1")
    assert Run(host).provision().status is Status.PROVISIONED
    host.finish(IDENTITY, phase)
    runtime = Runtime(
        parse_surroundings({"cloudpc:hosts": [{"name": "kvm1", "uri": f"fake://{tmp_path}/kvm1"}]}), tmp_path
    )
    tidy(runtime.hosts, runtime.removal, Meant(make.INSTALLATION, "lab", {}))
    assert bool(host.machines()) is (phase is Phase.HANDED_OVER)
