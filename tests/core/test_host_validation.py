"""What `cloudpc policy validate --hosts` makes of hosts' answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from cloudpc.model.abilities import OrderChecks
from cloudpc.model.check import Check
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.image import Image
from cloudpc.model.machines import Amount, Hypervisor, Network
from cloudpc.model.watch import Watch
from cloudpc.operations.host_validation import HostValidation, Wishes

from .fake_rim import ScriptedHost

FILE = "stacks/Pulumi.demo.yaml"
CORP = Network("network", "corp")


class _Checked(ScriptedHost):
    found: tuple[Check, ...] = ()

    def check(self) -> list[Check]:
        return list(self.found)


def _fields(*hosts: ScriptedHost, are_configured: bool = True) -> list[tuple[str, str]]:
    asked = HostValidation(FILE, hosts, Wishes([Network(), CORP]), are_configured=are_configured)
    return [(problem.field, problem.message) for problem in asked.problems()]


def test_a_network_has_to_be_on_one_host(tmp_path: Path) -> None:
    without, with_it = ScriptedHost(tmp_path, "one"), ScriptedHost(tmp_path, "two", networks=["corp"])
    assert _fields(without, with_it) == []
    [(field, message)] = _fields(without)
    assert field == "cloudpc:policy.domainJoinConfigurations[1]"
    assert "one has no corp" in message


def test_who_is_silent_may_have_it(tmp_path: Path) -> None:
    without, away = ScriptedHost(tmp_path, "one"), ScriptedHost(tmp_path, "two")
    away.away = True
    asked = HostValidation(FILE, [without, away], Wishes([CORP]), are_configured=True)
    assert asked.problems() == []
    assert [line.partition(":")[0] for line in asked.silent] == ["two"]


@pytest.mark.parametrize(("are_configured", "field"), [(True, "cloudpc:hosts[1]"), (False, "cloudpc:hosts")])
def test_what_is_wrong_with_a_host_is_told_with_what_to_do(tmp_path: Path, are_configured: bool, field: str) -> None:
    well, ill = ScriptedHost(tmp_path, "one", networks=["corp"]), _Checked(tmp_path, "two", networks=["corp"])
    ill.found = (Check("storage pool", "failed", "is logical.", "take another"), Check("version", "warning", "is old"))
    assert _fields(well, ill, are_configured=are_configured) == [(field, "two: storage pool: is logical; take another")]


def test_what_a_cloud_wants_changed_is_a_problem_of_its_entry_and_others_answer(tmp_path: Path) -> None:
    class Refusing(_Checked):
        def hypervisor(self) -> Hypervisor:
            raise ProvisioningError(ErrorCode.HOST_REFUSES, "there is no group", hint="make it")

    refusing, well = Refusing(tmp_path, "one"), ScriptedHost(tmp_path, "two", networks=["corp"])
    assert _fields(refusing, well) == [("cloudpc:hosts[0]", "one: host: there is no group; make it")]
    refusing.found = (Check("resource group", "failed", "is not there", "make the group"),)
    assert _fields(refusing, well) == [("cloudpc:hosts[0]", "one: resource group: is not there; make the group")]
    assert _fields(refusing) == _fields(refusing, well)


def test_what_is_wrong_with_a_host_is_not_told_of_its_networks_again(tmp_path: Path) -> None:
    wrong = Check("rights", "failed", "none", "give some")

    class Unhealthy(_Checked):
        def check_network(self, _network: Network) -> list[Check]:
            return [wrong]

    host = Unhealthy(tmp_path, "one")
    host.found = (wrong,)
    assert _fields(host) == [("cloudpc:hosts[0]", "one: rights: none; give some")]


# ---- orders


PLANS = {"small": Amount(2, 4096, 64), "large": Amount(8, 32768, 128)}


class _Foreseeing(_Checked):
    """A host that knows what it will never make."""

    orders = OrderChecks()
    refuses = False

    def check_order(self, image: Image, plans: Mapping[str, Amount], _watch: Watch) -> OrderChecks:
        assert (image.image_id, plans) == ("office", PLANS)
        if self.refuses:
            raise ProvisioningError(ErrorCode.HOST_REFUSES, "no")
        return self.orders


def _of_orders(*hosts: ScriptedHost, takes: tuple[str, ...] = ("weu", "neu")) -> list[tuple[str, str]]:
    image = Image(image_id="office", digest="ab", kind="azure")
    wishes = Wishes(plans=PLANS, images=dict.fromkeys(takes, lambda _watch: image))
    asked = HostValidation(FILE, hosts, wishes, are_configured=True)
    return [(problem.field, problem.message) for problem in asked.problems()]


def _foreseeing(tmp_path: Path, name: str, *image: Check, **sizes: Check) -> _Foreseeing:
    host = _Foreseeing(tmp_path, name)
    host.orders = OrderChecks(image, sizes)
    return host


NO_SIZE, NO_ROOM = Check("size", "failed", "none", "name one"), Check("size", "warning", "none now")


def test_an_image_that_no_machine_can_be_made_of_is_told_of_its_host(tmp_path: Path) -> None:
    gone, ends = Check("image office", "failed", "is gone", "mend it"), Check("image office", "warning", "ends soon")
    hosts = _foreseeing(tmp_path, "neu"), _foreseeing(tmp_path, "weu", gone, ends)
    assert _of_orders(*hosts) == [("cloudpc:hosts[1]", "weu: image office: is gone; mend it")]


def test_a_plan_has_to_have_a_size_on_one_host(tmp_path: Path) -> None:
    weu, neu = _foreseeing(tmp_path, "weu", small=NO_SIZE, large=NO_SIZE), _foreseeing(tmp_path, "neu", small=NO_SIZE)
    assert _of_orders(weu, neu) == [("cloudpc:hosts", "weu: size: none; name one; neu: size: none; name one")]
    assert _of_orders(weu, ScriptedHost(tmp_path, "neu")) == []  # which finds out when it is asked
    assert _of_orders(weu, ScriptedHost(tmp_path, "neu"), takes=("weu",)) != []
    away = ScriptedHost(tmp_path, "neu")
    away.away = True
    assert _of_orders(weu, away) == []


def test_what_has_no_room_now_is_no_mistake(tmp_path: Path) -> None:
    assert _of_orders(_foreseeing(tmp_path, "weu", small=NO_ROOM), takes=("weu",)) == []


def test_who_takes_no_form_of_the_image_is_not_asked(tmp_path: Path) -> None:
    assert _of_orders(_foreseeing(tmp_path, "weu", Check("image", "failed")), takes=()) == []


def test_why_a_host_can_tell_nothing_is_told_once(tmp_path: Path) -> None:
    host = _foreseeing(tmp_path, "weu")
    host.refuses = True
    host.found = (Check("resource group", "failed", "is not there"),)
    assert _of_orders(host, takes=("weu",)) == [("cloudpc:hosts[0]", "weu: resource group: is not there")]


def test_what_is_worth_a_look_is_told_though_nothing_is_wrong(tmp_path: Path) -> None:
    ends = Check("image office", "warning", "ends soon")
    weu, neu = _foreseeing(tmp_path, "weu", ends, small=NO_ROOM), _foreseeing(tmp_path, "neu", large=NO_SIZE)
    image = Image(image_id="office", digest="ab", kind="azure")
    wishes = Wishes(plans=PLANS, images=dict.fromkeys(("weu", "neu"), lambda _watch: image))
    asked = HostValidation(FILE, [weu, neu], wishes, are_configured=True)
    assert asked.problems() == []
    assert asked.warnings == ["weu: image office: ends soon", "weu: size: none now", "neu: size: none; name one"]
