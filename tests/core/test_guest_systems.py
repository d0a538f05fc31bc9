"""What every system of guests must do (model/guests.py: GuestOS). A system that is added is tested by its entry."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc import guests
from cloudpc.model.cloud_pc import Account
from cloudpc.model.devices import ComputerAccount, Controller, Join
from cloudpc.model.errors import EXTRAS, ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Facts, GuestOS, Script, Troubleshoots

from . import make

SECRET = "hunter2-hunter2"
ALL = {"time_zone": "Europe/Berlin", "locale": "de-DE", "packages": ("git", "htop"), "set_up_in_seconds": 90}
_COMPUTER = ComputerAccount(connection="hq", name="CPC-1", object_guid="g", distinguished_name="CN=CPC-1")


@pytest.fixture(params=sorted(guests.SYSTEMS))
def system(request: pytest.FixtureRequest) -> GuestOS:
    return guests.named(request.param)


def _scripts(system: GuestOS) -> Sequence[Script]:
    """All that it has run in a guest, but a join."""
    wanted = system.extras(make.settings(**ALL), b"what the admin wrote")
    troubleshoot = [system.troubleshoot(make.NOW)] if isinstance(system, Troubleshoots) else []
    return [
        *(extra.script for extra in wanted),
        *troubleshoot,
        system.facts(),
        system.first_boot(60),
        system.password("alice", SECRET),
    ]


def test_it_is_booted_by_some_image(system: GuestOS) -> None:
    name = next(name for name in guests.SYSTEMS if guests.named(name) is system)
    assert name in guests.of_images("azure")
    assert system.family
    assert system.without_proof


@pytest.mark.parametrize("name", sorted(guests.SYSTEMS))
@given(st.text(max_size=80))
def test_every_user_gets_an_account_that_a_guest_can_have(name: str, username: str) -> None:
    account = guests.named(name).account_name(username)
    assert 0 < len(account) <= 32
    assert not set(account) & set('/\\:;,*?"<>|@ \t\n\0')
    assert account == guests.named(name).account_name(username)


def test_its_seed_holds_who_may_administer_and_no_password(system: GuestOS) -> None:
    account = Account(name="alice", display_name="Alice", ssh_public_keys=("ssh-ed25519 AAAA alice",))
    admin, user = (
        system.seed(instance_id="i-1", device_name="CPC-1", account=account, local_admin=admin)
        for admin in (True, False)
    )
    assert admin != user
    assert "alice" in admin.user_data
    assert not {"passwd", "plain_text_passwd", "hashed_passwd"} & set(admin.user_data.replace('"', " ").split())


def test_a_password_is_among_secrets_alone(system: GuestOS) -> None:
    script = system.password("alice", SECRET)
    assert SECRET in script.secrets.values()
    assert SECRET not in " ".join((*script.argv, script.title, repr(script)))
    assert SECRET.encode() not in script.stdin


def test_it_joins_a_domain_with_its_password_among_secrets_or_refuses(system: GuestOS) -> None:
    said: Script | ProvisioningError
    try:
        said = system.join(Join(_COMPUTER, "corp.test", SECRET, Controller("dc.corp.test")))
    except ProvisioningError as error:
        said = error
    if isinstance(said, ProvisioningError):
        assert (said.code, said.retriable, bool(said.hint)) == (ErrorCode.DOMAIN_JOIN_FAILED, False, True)
    else:
        assert SECRET in said.secrets.values()
        assert SECRET not in " ".join((*said.argv, said.title, repr(said)))


def test_each_script_has_its_time_and_ends(system: GuestOS) -> None:
    for script in _scripts(system):
        assert 0 < script.timeout <= 600, script.name
        assert script.text.strip()
    assert system.first_boot(60).timeout > 60, "the script ends its wait itself, and says what it waited for"
    assert system.facts().repeatable


def test_what_a_policy_asks_for_is_done_each_with_its_warning(system: GuestOS) -> None:
    codes = [extra.code for extra in system.extras(make.settings(**ALL), b"script") if extra.code]
    assert sorted(codes) == sorted(EXTRAS)
    assert not [extra for extra in system.extras(make.settings(), None) if extra.code], "nothing was asked for"


@pytest.mark.parametrize("name", sorted(guests.SYSTEMS))
@given(st.text())
def test_whatever_a_guest_says_of_itself_is_read(name: str, said: str) -> None:
    assert isinstance(guests.named(name).read(said), Facts)
    assert guests.named(name).read("") == Facts()


def test_a_first_boot_that_did_not_end_in_time_is_told_as_that(system: GuestOS) -> None:
    late = system.first_boot_problem(Completed(124, "still at it", timed_out=True))
    assert late
    assert late.code is ErrorCode.BOOT_TIMEOUT
    wrong = system.first_boot_problem(Completed(1, "no such command"))
    assert wrong
    assert wrong.code is ErrorCode.FIRST_BOOT_FAILED
