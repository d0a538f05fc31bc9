"""Names and tags of what is made in Azure: which machine something belongs to, and whose that is."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.machines.azure.names import Parts, machine_named_in, name_of, starts_with
from cloudpc.machines.azure.tags import (
    Promised,
    attempt_of,
    from_tags,
    from_user_data,
    installation_of,
    machine_of,
    made_at,
    made_now,
    policy_of,
    to_tags,
    to_user_data,
)
from cloudpc.model.machines import Amount
from cloudpc.model.tags import Phase, Tag

TEXTS = st.text(min_size=1, max_size=600)
TAGS = st.builds(
    Tag, TEXTS, TEXTS, TEXTS, TEXTS, st.integers(1, 999), TEXTS, TEXTS, st.sampled_from(Phase), TEXTS,
    joined_through=TEXTS,
)  # fmt: skip


@given(st.uuids())
def test_a_name_has_15_characters_that_a_computer_may_have_and_says_which_machine_it_is(machine_id: UUID) -> None:
    name = name_of(machine_id)
    assert len(name) == 15
    assert set(name) <= {*string.ascii_lowercase, *string.digits}
    begins = starts_with(name)
    assert begins is not None
    assert machine_id.hex.startswith(begins)
    assert len(begins) == 15


def test_what_is_named_after_a_machine_says_so_in_whatever_case() -> None:
    name = name_of(uuid4())
    parts = [Parts.of(name, "a1b2c3d4", number) for number in range(2)]
    names = {part for each in parts for part in (each.card, each.disk)}
    assert len(names) == 4, "each try has its own"
    assert all(len(part) <= 80 for part in names)
    assert {machine_named_in(part) for part in names} == {machine_named_in(part.upper()) for part in names} == {name}
    assert machine_named_in(name) == name


@pytest.mark.parametrize(
    "name", ["", "cpc", "web-nic", "cpcweb-os", "cpc0123456789ab", "cloudpc-0-nic", "cpc!aaaaaaaaaa"]
)
def test_others_names_are_of_none(name: str) -> None:
    assert machine_named_in(name) is None


@given(TAGS)
def test_a_tag_comes_back_whole_and_keeps_azures_limits(tag: Tag) -> None:
    tags = to_tags(tag)
    assert from_tags(tags) == tag
    assert len(tags) <= 45, "some are left to the admin"
    assert all(len(name) <= 512 and len(value) <= 256 for name, value in tags.items())
    assert not any(set(name) & set("<>%&\\?/") for name in tags)
    assert machine_of(tags) == tag.machine_id
    assert (installation_of(tags), policy_of(tags), attempt_of(tags)) == (tag.installation, tag.policy_id, tag.attempt)


def test_names_of_tags_are_read_in_any_case_and_others_are_passed_over() -> None:
    tag = Tag("i", "p", "u", "s", 3, "CPC-1", "h", attempt="a")
    tags = {name.upper(): value for name, value in to_tags(tag).items()}
    assert from_tags({**tags, "costCenter": "4711", "cloudpc-later": "1"}) == tag


@pytest.mark.parametrize("broken", ["cloudpc-phase", "cloudpc-generation", "cloudpc-installation", "cloudpc-user"])
def test_a_tag_of_which_a_part_is_missing_can_not_be_read(broken: str) -> None:
    tags = to_tags(Tag("i", "p", "u", "s", 3, "CPC-1", "h"))
    assert from_tags({name: value for name, value in tags.items() if name != broken}) is None


def test_what_it_was_made_with_is_no_tag_since_everybody_sees_those() -> None:
    tag = Tag("i", "p", "u", "s", 3, "CPC-1", "h", made_with='{"user": "Zoë"}')
    assert not any("Zo" in value for value in to_tags(tag).values())
    assert from_tags(to_tags(tag), from_user_data(to_user_data(tag))) == tag


@pytest.mark.parametrize("value", [None, "", "!", "/w=="])
def test_user_data_that_is_not_ours_says_nothing(value: str | None) -> None:
    assert from_user_data(value) == ""


def test_when_it_was_made_is_known_and_what_does_not_say_is_old() -> None:
    assert datetime.now(UTC) - made_at(made_now()) < timedelta(seconds=10)
    for said in ({}, {"cloudpc-made-at": "yesterday"}):
        assert made_at(said) < datetime(2000, 1, 1, tzinfo=UTC)
    assert made_at({"cloudpc-made-at": "2026-11-29T22:00:00"}) == datetime(2026, 11, 29, 22, tzinfo=UTC)


def test_what_was_promised_is_remembered_beside_the_size_it_was_made_with() -> None:
    promised = Promised("Standard_B2als_v2", Amount(2, 4096, 64))
    assert Promised.from_tags(promised.to_tags()) == promised
    assert Promised.from_tags({}) is None
    assert Promised.from_tags({"cloudpc-size": "Standard_B2als_v2 2 x 64"}) is None
