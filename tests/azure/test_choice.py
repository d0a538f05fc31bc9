"""Which sizes a machine may have: the decision alone, over any offer, quota and wish."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.machines.azure.choice import FAMILIES, USUAL, Choice, Wanted, choose, rotated
from cloudpc.machines.azure.found_image import FoundImage
from cloudpc.machines.azure.quota import MACHINES, REGIONAL, Quota, Usage
from cloudpc.machines.azure.skus import Offer, Sku

PLENTY = Quota()
IMAGE = FoundImage(name="debian-12", reference={})
D2AS = Sku("Standard_D2as_v5", "standardDASv5Family", 2, 8192, 2, zones=("1", "2", "3"))
D2S = replace(D2AS, name="Standard_D2s_v5", family="standardDSv5Family")
D2S_V6 = replace(D2AS, name="Standard_D2s_v6", family="standardDSv6Family", generations=("V2",), controllers=("NVMe",))
WANTED = Wanted(2, 8192, IMAGE, families=("standardDASv5Family", "standardDSv5Family"))


def offer(*skus: Sku) -> Offer:
    return Offer({sku.name: sku for sku in skus})


def names(choice: Choice) -> list[str]:
    return [candidate.size for candidate in choice.candidates]


def why(choice: Choice) -> str:
    return "; ".join(f"{refusal.size}: {refusal.why}" for refusal in choice.refusals)


# ---- for any location


_FAMILIES = ("standardAFamily", "standardBFamily", *FAMILIES)
_ZONES = st.lists(st.sampled_from(["1", "2", "3"]), unique=True)
_SIZES = [f"Standard_{letter}{n}" for letter in "ABC" for n in range(4)]


@st.composite
def skus(draw: st.DrawFn) -> list[Sku]:
    return [
        Sku(
            name=name,
            family=draw(st.sampled_from(_FAMILIES)),
            vcpus=(cores := draw(st.sampled_from([1, 2, 4]))),
            counted_vcpus=draw(st.sampled_from([cores, 2 * cores])),
            memory_mib=1024 * draw(st.sampled_from([1, 2, 4, 8, 16])),
            architecture=draw(st.sampled_from(["x64", "x64", "Arm64"])),
            generations=draw(st.sampled_from([("V1", "V2"), ("V2",), ("V1",)])),
            premium=draw(st.booleans()),
            trusted_launch=draw(st.booleans()),
            confidential=draw(st.sampled_from([False, False, True])),
            controllers=draw(st.sampled_from([("SCSI",), ("NVMe",), ("SCSI", "NVMe")])),
            zones=draw(_ZONES),
            refused=draw(st.sampled_from(["", "", "no"])),
            refused_in=dict.fromkeys(draw(_ZONES), "no"),
        )
        for name in draw(st.lists(st.sampled_from(_SIZES), unique=True))
    ]


_QUOTAS = st.dictionaries(
    st.sampled_from([REGIONAL, MACHINES, *(family.lower() for family in _FAMILIES)]),
    st.builds(Usage, st.integers(0, 12), st.integers(0, 12)),
).map(Quota)
_IMAGES = st.builds(
    FoundImage,
    name=st.just("i"),
    reference=st.just({}),
    generation=st.sampled_from(["V1", "V2"]),
    trusted_launch=st.booleans(),
    nvme=st.booleans(),
    accelerated_networking=st.booleans(),
)
_WANTED = st.builds(
    Wanted,
    vcpus=st.sampled_from([1, 2, 4]),
    memory_mib=st.sampled_from([2048, 4096, 8192]),
    image=_IMAGES,
    zones=_ZONES,
    premium=st.booleans(),
    names=st.one_of(st.just(()), st.lists(st.sampled_from([*_SIZES, "Standard_Z9"]))),
    families=st.lists(st.sampled_from([*_FAMILIES, "standardZFamily"]), unique=True),
)
_LAST = st.lists(st.tuples(st.sampled_from(_SIZES), st.sampled_from([None, "1", "2", "3"])))


@given(skus(), _QUOTAS, _WANTED, _LAST)
def test_no_candidate_breaks_a_rule(
    found: list[Sku], quota: Quota, wanted: Wanted, last: list[tuple[str, str]]
) -> None:
    there = offer(*found)
    for candidate in choose(wanted, there, quota, last).candidates:
        sku = there.sizes[candidate.size]
        assert (candidate.vcpus, candidate.memory_mib) == (sku.vcpus, sku.memory_mib)
        assert sku.vcpus >= wanted.vcpus
        assert sku.memory_mib >= wanted.memory_mib
        assert wanted.names or sku.vcpus == sku.counted_vcpus == wanted.vcpus
        for name, amount in ((REGIONAL, sku.counted_vcpus), (sku.family, sku.counted_vcpus), (MACHINES, 1)):
            assert quota.left(name) >= amount
        assert not sku.refused
        assert (candidate.zone is None) == (not wanted.zones)
        if candidate.zone is not None:
            assert candidate.zone in wanted.zones
            assert candidate.zone in sku.zones
            assert candidate.zone not in sku.refused_in
        assert sku.architecture == "x64"
        assert not sku.confidential
        assert wanted.image.generation in sku.generations
        assert sku.trusted_launch or not wanted.image.trusted_launch
        assert sku.premium or not wanted.premium
        assert "SCSI" in sku.controllers or (wanted.image.nvme and candidate.disk_controller == "NVMe")
        assert wanted.image.accelerated_networking or not candidate.accelerated_networking


@given(skus(), _QUOTAS, _WANTED, _LAST, st.randoms(use_true_random=False))
def test_the_order_is_that_of_the_entry_and_not_of_azures_list(
    found: list[Sku], quota: Quota, wanted: Wanted, last: list[tuple[str, str]], random: object
) -> None:
    chosen = choose(wanted, offer(*found), quota, last)
    random.shuffle(found)  # type: ignore[attr-defined]
    assert choose(wanted, offer(*found), quota, last) == chosen
    assert len(set(chosen.candidates)) == len(chosen.candidates)
    tried_last = [(c.size, c.zone) in last for c in chosen.candidates]
    assert tried_last == sorted(tried_last)


@given(skus(), _QUOTAS, _WANTED)
def test_there_is_a_candidate_or_a_reason(found: list[Sku], quota: Quota, wanted: Wanted) -> None:
    chosen = choose(wanted, offer(*found), quota)
    assert chosen.candidates or chosen.refusals


@given(skus(), _QUOTAS, _WANTED, _LAST)
def test_what_had_no_room_comes_last_and_is_not_left_out(
    found: list[Sku], quota: Quota, wanted: Wanted, last: list[tuple[str, str]]
) -> None:
    plain = choose(wanted, offer(*found), quota).candidates
    assert set(choose(wanted, offer(*found), quota, last).candidates) == set(plain)


@given(st.lists(st.sampled_from("123"), unique=True), st.integers(0, 2**128 - 1))
def test_every_zone_is_tried_once(zones: list[str], number: int) -> None:
    assert sorted(rotated(zones, number)) == sorted(zones)


@given(st.lists(st.sampled_from("123"), unique=True, min_size=1), st.integers(0, 2**127))
def test_machines_are_spread_over_all_zones(zones: list[str], number: int) -> None:
    assert {rotated(zones, number + n)[0] for n in range(len(zones))} == set(zones)


# ---- one by one


def test_families_are_tried_in_their_order_and_each_gives_its_smallest() -> None:
    large = replace(D2AS, name="Standard_E2as_v5", memory_mib=16384)
    assert names(choose(WANTED, offer(D2S, large, D2AS), PLENTY)) == ["Standard_D2as_v5", "Standard_D2s_v5"]


def test_a_family_gives_the_next_one_where_its_smallest_is_restricted() -> None:
    small = replace(D2AS, name="Standard_B2als_v2", memory_mib=4096, refused="it is not available")
    wanted = replace(WANTED, memory_mib=4096, families=(D2AS.family,))
    assert names(choose(wanted, offer(small, D2AS), PLENTY)) == ["Standard_D2as_v5"]


def test_sizes_of_the_entry_come_instead_of_families_also_larger_ones() -> None:
    four = replace(D2AS, name="Standard_D4as_v5", vcpus=4, counted_vcpus=4, memory_mib=16384)
    wanted = replace(WANTED, names=("standard_d4as_v5", "Standard_D2s_v5"))
    assert names(choose(wanted, offer(D2AS, D2S, four), PLENTY)) == ["Standard_D4as_v5", "Standard_D2s_v5"]


def test_without_sizes_and_families_the_usual_ones_are_taken_as_far_as_they_are_there() -> None:
    wanted = Wanted(2, 8192, IMAGE)
    chosen = choose(wanted, offer(D2S, D2AS), PLENTY)
    assert names(chosen) == ["Standard_D2as_v5", "Standard_D2s_v5"]
    assert not chosen.refusals


def test_a_plan_between_those_of_windows_365_gets_the_sizes_of_the_next() -> None:
    small, wanted = replace(D2AS, name="Standard_F2s_v2", memory_mib=4096), Wanted(2, 6144, IMAGE)
    assert names(choose(wanted, offer(small, D2AS), PLENTY)) == ["Standard_D2as_v5"]


def test_a_plan_larger_than_those_of_windows_365_gets_one_of_the_usual_families() -> None:
    wanted = Wanted(2, 8193, IMAGE)
    d2s, d2as = (replace(sku, memory_mib=16384) for sku in (D2S, D2AS))
    assert names(choose(wanted, offer(d2s, D2S_V6, d2as), PLENTY)) == ["Standard_D2as_v5", "Standard_D2s_v5"]


def test_each_plan_of_windows_365_has_usual_sizes() -> None:
    assert set(USUAL) == {(1, 2), (2, 4), (2, 8), (4, 16), (8, 32)}


def test_zones_are_tried_for_a_size_before_the_next_size() -> None:
    d2as = replace(D2AS, refused_in={"3": "it is not available for the subscription"})
    d2s = replace(D2S, zones=("2",))
    chosen = choose(replace(WANTED, zones=("2", "3", "1")), offer(d2as, d2s), PLENTY)
    assert [(c.size, c.zone) for c in chosen.candidates] == [
        ("Standard_D2as_v5", "2"), ("Standard_D2as_v5", "1"), ("Standard_D2s_v5", "2"),
    ]  # fmt: skip


def test_sizes_with_nvme_disks_only_are_for_images_that_say_so() -> None:
    wanted = replace(WANTED, families=("standardDSv6Family",))
    refused = choose(wanted, offer(D2S_V6), PLENTY)
    assert not refused.candidates
    assert "NVMe" in why(refused)
    [taken] = choose(replace(wanted, image=replace(IMAGE, nvme=True)), offer(D2S_V6), PLENTY).candidates
    assert taken.disk_controller == "NVMe"


@pytest.mark.parametrize(
    ("sku", "wanted", "said"),
    [
        (replace(D2AS, memory_mib=7168), replace(WANTED, names=(D2AS.name,)),
         "Standard_D2as_v5: with 2 vCPU and 7 GB it is smaller than the service plan"),
        (replace(D2AS, architecture="Arm64"), replace(WANTED, names=(D2AS.name,)), "its processor is Arm64"),
        (replace(D2AS, confidential=True), WANTED, "confidential"),
        (replace(D2AS, generations=("V2",)), replace(WANTED, image=replace(IMAGE, generation="V1")),
         "it does not boot images of generation V1"),
        (replace(D2AS, trusted_launch=False), WANTED, "it has no Trusted Launch, which the image has"),
        (replace(D2AS, premium=False), replace(WANTED, premium=True), "it takes no premium disk"),
        (replace(D2AS, zones=("3",)), replace(WANTED, zones=("2", "1")), "it is not in the zones 1, 2"),
        (replace(D2AS, refused_in={"1": "it is not available for the subscription"}), replace(WANTED, zones=("1",)),
         "in the zone 1 it is not available for the subscription"),
        (replace(D2AS, refused="the offer of the subscription does not include it (QuotaId)"), WANTED, "(QuotaId)"),
        (replace(D2AS, vcpus=4, counted_vcpus=4), WANTED,
         "standardDASv5Family: it has no size with 2 vCPU and at least 8 GB"),
        (replace(D2AS, counted_vcpus=4), WANTED, "standardDASv5Family: it has no size with 2 vCPU"),
        (D2S, WANTED, "standardDASv5Family: the region has no family of this name"),
        (D2S, replace(WANTED, names=("Standard_D2as_v5",)), "Standard_D2as_v5: the region has no size of this name"),
    ],
)  # fmt: skip
def test_it_is_said_why_a_size_is_none(sku: Sku, wanted: Wanted, said: str) -> None:
    chosen = choose(wanted, offer(sku), PLENTY)
    assert D2AS.name not in names(chosen)
    assert said in why(chosen)


@pytest.mark.parametrize(
    ("usages", "said"),
    [
        ({REGIONAL: Usage(9, 10)}, "9 of 10 vCPUs of the region are used"),
        ({"standarddasv5family": Usage(10, 10)}, "10 of 10 vCPUs of standardDASv5Family are used"),
        ({MACHINES.lower(): Usage(25, 25)}, "25 of 25 machines of the region are used"),
    ],
)
def test_what_is_used_up_is_said_and_is_not_lasting(usages: dict[str, Usage], said: str) -> None:
    chosen = choose(replace(WANTED, families=(D2AS.family,)), offer(D2AS), Quota(usages))
    assert not chosen.candidates
    assert said in why(chosen)
    assert not chosen.is_lasting


def test_a_restriction_is_lasting() -> None:
    assert choose(WANTED, offer(replace(D2AS, refused="no")), PLENTY).is_lasting
