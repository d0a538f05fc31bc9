"""Computer accounts, in a real Active Directory domain."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck as Slow
from hypothesis import given, settings
from hypothesis import strategies as st
from ldap3 import Connection

from cloudpc.devices import account_mark
from cloudpc.guests.linux.join import script
from cloudpc.model.devices import ComputerAccount, Domain, NameTakenError, OwnedDevice
from cloudpc.model.errors import ErrorCode, ProvisioningError

from .conftest import Hq
from .samba import ADDRESS, BASE_DN, CONTROLLER, DOMAIN, PASSWORD, UNIT, Samba, certify

PC = "CPC-ALICE-7KQ2P"
ADMINISTRATOR = f"Administrator@{DOMAIN}"
OWNER = "0123456789abcdef/u-alice/plan/1"
RENEWED = "0123456789abcdef/u-alice/plan/2"
OTHERS = "0123456789abcdef/u-bob/plan/1"


def _control(samba: Samba, name: str = PC) -> int:
    account = samba.find(name)
    assert account is not None
    return int(account["userAccountControl"][0])


def _refused(domain: Domain, owner: str = OWNER) -> ProvisioningError:
    with pytest.raises(ProvisioningError) as caught:
        domain.prepare_join(PC, owner)
    assert caught.value.code is ErrorCode.DOMAIN_JOIN_FAILED
    assert caught.value.hint
    assert PASSWORD not in caught.value.message
    return caught.value


def test_an_account_is_made_in_the_ou_for_the_guest_alone(samba: Samba, hq: Hq) -> None:
    join = hq.domain().prepare_join(PC, OWNER)

    account = samba.find(PC)
    assert account is not None
    assert account["distinguishedName"] == [f"CN={PC},{UNIT}".encode()]
    assert account["userAccountControl"] == [b"4096"]
    assert account["dNSHostName"] == [b"cpc-alice-7kq2p.corp.test"]
    assert account["description"] == [account_mark.mark(OWNER).encode()]
    assert join.account.model_dump() == {
        "connection": "hq", "name": PC, "distinguished_name": f"CN={PC},{UNIT}",
        "object_guid": join.account.object_guid,
    }  # fmt: skip

    password = join.password
    assert samba.accepts(f"{PC}$@{DOMAIN}", password)
    assert not any(password in argument for argument in script(join).arguments)
    assert password not in repr(join)
    assert password not in repr(join)


def test_an_account_of_an_attempt_before_is_taken_again(samba: Samba, hq: Hq) -> None:
    domain = hq.domain()
    first = domain.prepare_join(PC, OWNER)
    domain.disable(PC, first.account, OWNER)
    again = domain.prepare_join(PC, RENEWED)

    assert again.account == first.account
    assert _control(samba) == 4096
    assert samba.accepts(f"{PC}$@{DOMAIN}", again.password)
    assert (
        again.password != first.password
    )  # which Active Directory may still take for an hour: OldPasswordAllowedPeriod
    assert domain.owned("0123456789abcdef") == [
        OwnedDevice("computer account", PC, again.account.object_guid, account_mark.mark(RENEWED), True)
    ]


def test_an_account_that_was_moved_comes_back_into_the_ou(samba: Samba, hq: Hq) -> None:
    first = hq.domain().prepare_join(PC, OWNER)
    elsewhere = f"CN=Computers,{BASE_DN}"
    assert samba.admin.modify_dn(f"CN={PC},{UNIT}", f"CN={PC}", new_superior=elsewhere)
    assert f"CN={PC},{elsewhere} is denied" in _refused(hq.domain()).message  # that takes more than was delegated
    other = {"adDomainUsername": ADMINISTRATOR, "computerAccountOwners": [f"joiner@{DOMAIN}"]}
    assert hq.domain(**other).prepare_join(PC, OWNER).account == first.account


def _not_disabled(domain: Domain, recorded: ComputerAccount | None, owner: str = OWNER) -> ProvisioningError:
    with pytest.raises(ProvisioningError) as caught:
        domain.disable(PC, recorded, owner)
    assert caught.value.code is ErrorCode.DOMAIN_JOIN_FAILED
    assert "computerAccountOwners" in caught.value.hint
    return caught.value


MARKS = [f"cloudpc:{OWNER}", account_mark.mark(OWNER)]
"""Of this Cloud PC, as they were written and as they are."""


@pytest.mark.parametrize(
    "description",
    [
        None, "Bob's old PC", "cloudpc:", f"cloudpc:{OTHERS}", account_mark.mark(OTHERS),
        "cloudpc:other/u-alice/plan/1", *MARKS,
    ],
)  # fmt: skip
def test_a_foreign_account_of_that_name_stays_as_it_is(samba: Samba, hq: Hq, description: str | None) -> None:
    dn = f"CN={PC},CN=Computers,{BASE_DN}"
    attributes = {"sAMAccountName": f"{PC}$", "userAccountControl": "4096"}
    samba.add(dn, "computer", attributes | ({"description": description} if description else {}))
    before = samba.find(PC)

    refused = _refused(hq.domain())
    assert dn in refused.message
    assert isinstance(refused, NameTakenError)
    assert dn in _not_disabled(hq.domain(), None).message
    assert samba.find(PC) == before


@pytest.mark.parametrize("description", MARKS)
def test_a_mark_proves_nothing_without_the_maker(samba: Samba, hq: Hq, description: str) -> None:
    with samba.account("mallory") as mallory:
        samba.delegate("mallory")
        hq.domain(adDomainUsername=mallory).prepare_join(PC, OWNER)
        samba.modify(f"CN={PC},{UNIT}", "description", description)
        before = samba.find(PC)
        assert "it was made by S-1-5-21-" in _refused(hq.domain()).message
        assert "and not by adDomainUsername" in _not_disabled(hq.domain(), None).message
        [owned] = hq.domain().owned("0123456789abcdef", besides=[OWNER])
        assert owned.kind.startswith("computer account of another maker (S-1-5-21-")
        assert samba.find(PC) == before

        elsewhere = hq.domain(computerAccountOwners=["mallory@elsewhere.example"])
        assert "it was made by" in _refused(elsewhere).message, "who is only called alike has made nothing of ours"
        former = hq.domain(adDomainUsername=ADMINISTRATOR, computerAccountOwners=[mallory.upper()])
        assert former.owned("0123456789abcdef", besides=[OWNER]) == []
        former.disable(PC, None, OWNER)
        assert _control(samba) == 4098


def test_a_former_maker_that_is_gone_is_named_by_its_sid(samba: Samba, hq: Hq) -> None:
    with samba.account("mallory") as mallory:
        samba.delegate("mallory")
        sid = samba.sid("mallory")
        hq.domain(adDomainUsername=mallory).prepare_join(PC, OWNER)
    assert sid in _refused(hq.domain(computerAccountOwners=[mallory])).message
    hq.domain(adDomainUsername=ADMINISTRATOR, computerAccountOwners=[sid]).disable(PC, None, OWNER)
    assert _control(samba) == 4098


def test_who_is_in_everybodys_groups_has_not_made_all_of_theirs(samba: Samba, hq: Hq) -> None:
    attributes = {"sAMAccountName": f"{PC}$", "userAccountControl": "4096", "description": account_mark.mark(OWNER)}
    samba.add(f"CN={PC},{UNIT}", "computer", attributes)
    samba.own(f"CN={PC},{UNIT}", samba.sid("joiner").rpartition("-")[0] + "-513")
    assert "-513" in _refused(hq.domain()).message
    assert "-513" in _not_disabled(hq.domain(), None).message


def test_accounts_described_with_their_owner_are_described_anew(samba: Samba, hq: Hq) -> None:
    hq.domain().prepare_join(PC, OWNER)
    samba.modify(f"CN={PC},{UNIT}", "description", f"cloudpc:{OWNER}")
    assert hq.domain().owned("0123456789abcdef", besides=[OWNER]) == []
    assert [owned.owner for owned in hq.domain().owned("0123456789abcdef")] == [f"cloudpc:{OWNER}"]
    hq.domain().disable(PC, None, RENEWED)
    account = samba.find(PC)
    assert account is not None
    assert account["description"] == [account_mark.mark(RENEWED).encode()]

    samba.modify(f"CN={PC},{UNIT}", "description", f"cloudpc:{OWNER}")
    hq.domain().prepare_join(PC, OWNER)
    account = samba.find(PC)
    assert account is not None
    assert account["description"] == [account_mark.mark(OWNER).encode()]


def test_another_object_of_that_name_in_the_ou_is_no_account_to_take(samba: Samba, hq: Hq) -> None:
    samba.add(f"CN={PC},{UNIT}", "contact")
    try:
        assert "is there already" in _refused(hq.domain()).message
    finally:
        samba.remove(f"CN={PC},{UNIT}")


def test_the_end_disables_and_never_deletes(samba: Samba, hq: Hq) -> None:
    domain = hq.domain()
    recorded = domain.prepare_join(PC, OWNER).account
    samba.modify(f"CN={PC},{UNIT}", "userAccountControl", str(0x1000 | 0x10000))  # as adcli leaves it
    domain.disable(PC, recorded, OWNER)
    domain.disable(PC, recorded, OWNER)
    assert _control(samba) == 0x1000 | 0x10000 | 2
    assert [owned.enabled for owned in domain.owned("0123456789abcdef")] == [False]


def test_an_account_that_state_never_knew_is_found_by_name_and_owner(samba: Samba, hq: Hq) -> None:
    hq.domain().prepare_join(PC, OWNER)
    hq.domain().disable(PC, None, RENEWED)
    assert _control(samba) == 4098


def test_an_account_recorded_without_a_guid_is_found_by_name_and_owner(samba: Samba, hq: Hq) -> None:
    recorded = hq.domain().prepare_join(PC, OWNER).account.model_copy(update={"object_guid": ""})
    _not_disabled(hq.domain(), recorded, OTHERS)
    assert _control(samba) == 4096
    hq.domain().disable(PC, recorded, OWNER)
    assert _control(samba) == 4098


def test_an_account_renamed_moved_and_described_anew_is_found_by_its_guid(samba: Samba, hq: Hq) -> None:
    recorded = hq.domain().prepare_join(PC, OWNER).account
    assert samba.admin.modify_dn(f"CN={PC},{UNIT}", "CN=RENAMED", new_superior=f"CN=Computers,{BASE_DN}")
    samba.modify(f"CN=RENAMED,CN=Computers,{BASE_DN}", "sAMAccountName", "RENAMED$")
    samba.modify(f"CN=RENAMED,CN=Computers,{BASE_DN}", "description", "Alice's PC")
    hq.domain().disable(PC, recorded, OWNER)
    assert _control(samba, "RENAMED") == 4098


def test_an_account_that_somebody_else_has_now_is_left_alone(samba: Samba, hq: Hq) -> None:
    recorded = hq.domain().prepare_join(PC, OWNER).account
    for description in (f"cloudpc:{OTHERS}", account_mark.mark(OTHERS)):
        samba.modify(f"CN={PC},{UNIT}", "description", description)
        assert "another Cloud PC's mark" in _not_disabled(hq.domain(), recorded).message
        assert _control(samba) == 4096
    samba.modify(f"CN={PC},{UNIT}", "userAccountControl", "4098")
    hq.domain().disable(PC, recorded, OWNER)  # nothing is left to be done


def test_another_account_of_a_name_whose_own_is_gone_is_nobody_s_to_disable(samba: Samba, hq: Hq) -> None:
    recorded = hq.domain().prepare_join(PC, OWNER).account
    samba.remove(f"CN={PC},{UNIT}")
    samba.add(f"CN={PC},{UNIT}", "computer", {"sAMAccountName": f"{PC}$", "userAccountControl": "4096"})
    hq.domain().disable(PC, recorded, OWNER)
    assert _control(samba) == 4096


def test_a_connection_that_names_another_domain_now_disables_nothing(samba: Samba, hq: Hq) -> None:
    recorded = hq.domain().prepare_join(PC, OWNER).account
    moved = recorded.model_copy(update={"distinguished_name": f"CN={PC},OU=Cloud PCs,DC=old,DC=test"})
    with pytest.raises(ProvisioningError, match=r"old\.test.*corp\.test now"):
        hq.domain().disable(PC, moved, OWNER)
    assert _control(samba) == 4096


def test_the_guest_asks_the_controller_first_that_has_made_its_account(samba: Samba, hq: Hq) -> None:
    dead = {"name": "dc0.corp.invalid", "guestAddress": "10.9.9.9"}
    good = {"name": CONTROLLER, "address": ADDRESS, "guestAddress": "10.0.2.2"}
    join = hq.domain(domainControllers=[dead, good]).prepare_join(PC, OWNER)
    assert script(join).arguments[-5:] == ("2", CONTROLLER, "10.0.2.2", "dc0.corp.invalid", "10.9.9.9")


def test_of_a_domain_s_many_controllers_the_same_one_is_asked_again(
    samba: Samba, hq: Hq, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def resolved(host: str, *more: Any, **options: Any) -> Any:
        asked.append(host)
        return resolve(ADDRESS if host in (DOMAIN, CONTROLLER) else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    domain = hq.domain(domainControllers=[])
    join = domain.prepare_join(PC, OWNER)
    assert script(join).arguments[-3:] == ("0", CONTROLLER, "")
    assert CONTROLLER not in asked
    asked.clear()
    domain.disable(PC, join.account, OWNER)
    assert set(asked) == {CONTROLLER}


def test_what_is_gone_is_done(samba: Samba, hq: Hq) -> None:
    recorded = hq.domain().prepare_join(PC, OWNER).account
    samba.remove(f"CN={PC},{UNIT}")
    hq.domain().disable(PC, recorded, OWNER)
    hq.domain().disable(PC, None, OWNER)
    assert samba.computers() == []


def test_only_this_installation_s_accounts_are_owned(samba: Samba, hq: Hq) -> None:
    hq.domain().prepare_join("CPC-1", "aaaa/u-1/plan/1")
    hq.domain().prepare_join("CPC-2", "aaaa/u-2/plan/1")
    hq.domain().prepare_join("CPC-3", "aaaabbbb/u-1/plan/1")
    samba.add(f"CN=PC-4,CN=Computers,{BASE_DN}", "computer", {"sAMAccountName": "PC-4$", "description": "aaaa/"})
    assert {owned.name for owned in hq.domain().owned("aaaa")} == {"CPC-1", "CPC-2"}
    assert hq.domain().owned("*") == []
    assert hq.domain().owned("aaaa/u-1/plan/1)(cn=*") == []


@settings(suppress_health_check=[Slow.function_scoped_fixture], max_examples=40)
@given(
    name=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=12) | st.sampled_from(["*", "CPC*"])
)
def test_no_name_reaches_another_account(samba: Samba, hq: Hq, name: str) -> None:
    if samba.find(PC) is None:
        hq.domain().prepare_join(PC, OWNER)
    hq.domain().disable(name, None, OWNER)
    assert _control(samba) == 4096


def test_names_that_need_escaping(samba: Samba, hq: Hq) -> None:
    unit = rf"OU=Cloud\, \"PCs\" \+ \\ \# (a\=b)*,{BASE_DN}"
    owner = r"0123/u (*)\,=/plan #1/1"
    samba.add(unit, "organizationalUnit")
    try:
        domain = hq.domain(organizationalUnit=unit, adDomainUsername=ADMINISTRATOR)
        made = domain.prepare_join("CPC (1)", owner).account
        assert [check.status for check in domain.check()] == ["passed"] * 4
        assert domain.prepare_join("CPC (1)", owner).account == made
        assert [owned.owner for owned in domain.owned("0123")] == [account_mark.mark(owner)]
        domain.disable("CPC (1)", None, owner)
        assert _control(samba, r"CPC \281\29") == 4098
    finally:
        for dn in samba.computers():
            samba.remove(dn)
        samba.remove(unit)


@pytest.mark.parametrize(
    "written",
    [f"ou = Cloud PCs , dc = corp,  DC={'test'} ", 'OU="Cloud PCs",dc=CORP,dc=Test', r"OU=Cloud\20PCs,DC=corp,DC=test"],
)
def test_an_ou_as_admins_write_it(samba: Samba, hq: Hq, written: str) -> None:
    domain = hq.domain(organizationalUnit=written)
    assert [check.status for check in domain.check()] == ["passed"] * 4
    made = domain.prepare_join(PC, OWNER).account
    assert made.distinguished_name.lower() == f"CN={PC},{UNIT}".lower()
    assert hq.domain().prepare_join(PC, OWNER).account.object_guid == made.object_guid


def test_without_an_ou_accounts_go_where_the_domain_puts_computers(samba: Samba, hq: Hq) -> None:
    domain = hq.domain(organizationalUnit=None, adDomainUsername=ADMINISTRATOR)
    assert [check.status for check in domain.check()] == ["passed"] * 4
    assert domain.prepare_join(PC, OWNER).account.distinguished_name == f"CN={PC},CN=Computers,{BASE_DN}"


def test_a_healthy_domain_passes_and_nothing_is_changed(samba: Samba, hq: Hq) -> None:
    checks = hq.domain().check()
    assert [(check.what, check.status) for check in checks] == [
        ("Domain controller", "passed"),
        ("Domain account", "passed"),
        ("Organizational unit", "passed"),
        ("Right to create computer accounts", "passed"),
    ]
    assert not any(check.error_type or check.hint for check in checks)
    assert samba.computers() == []


ELSEWHERE = {"name": CONTROLLER, "address": "127.0.0.2"}


@pytest.mark.parametrize(
    ("changes", "error_type", "words"),
    [
        ({"domainControllers": [ELSEWHERE]}, "ServerNotOperational", "does not answer on port 636"),
        ({"domainControllers": [{"name": "dc1.corp.invalid"}]}, "FqdnNotFound", "dc1.corp.invalid is not found"),
        (
            {"domainControllers": [], "adDomainName": "corp.invalid", "organizationalUnit": None},
            "FqdnNotFound",
            "corp.invalid is not found",
        ),
        (
            {"domainControllers": [{"name": "dc2.corp.test", "address": ADDRESS}]},
            "ServerNotOperational",
            "certificate is not of that name",
        ),
        ({"caCertificate": "other.pem"}, "ServerNotOperational", "certificate is not trusted"),
        ({"caCertificate": None}, "ServerNotOperational", "certificate is not trusted"),
        ({"caCertificate": "none.pem"}, "ServerNotOperational", "none.pem: No such file"),
        ({"caCertificate": "password"}, "ServerNotOperational", "holds no certificate"),
        ({"adDomainPassword": {"environment": "CLOUDPC_NOT_SET"}}, "IncorrectCredentials", "is not set"),
        ({"adDomainPassword": {"file": "/dev/null"}}, "IncorrectCredentials", "is not a regular file"),
        ({"adDomainPassword": {"file": "/etc/hostname"}}, "IncorrectCredentials", "password is wrong"),
        ({"adDomainUsername": "nobody@corp.test"}, "IncorrectCredentials", "nobody@corp.test can't sign in"),
        ({"organizationalUnit": f"OU=None,{BASE_DN}"}, "OrganizationalUnitNotFound", "OU=None"),
        (
            {"organizationalUnit": None, "adDomainName": "other.test"},
            "FqdnNotFound",
            "not of adDomainName other.test",
        ),
        ({"organizationalUnit": f"OU=Domain Controllers,{BASE_DN}"}, "AccessDenied", "denied|may not create"),
    ],
    ids=str,
)
def test_what_stands_in_the_way_is_named(
    samba: Samba, hq: Hq, other_ca: None, changes: dict[str, Any], error_type: str, words: str
) -> None:
    check = hq.domain(**changes).check()[-1]
    assert (check.status, check.error_type) == ("failed", f"adJoinCheck{error_type}")
    refused = _refused(hq.domain(**changes))
    assert refused.hint == check.hint
    assert any(word in check.detail for word in words.split("|")), check
    assert any(word in refused.message for word in words.split("|")), refused.message
    assert samba.computers() == []


@pytest.fixture
def other_ca(hq: Hq) -> None:
    """A good certificate of somebody else."""
    (hq.folder / "other.pem").write_bytes(certify(CONTROLLER)[1])


@pytest.mark.parametrize(
    ("attributes", "error_type", "words"),
    [
        ({"userAccountControl": "514"}, "AccountLockedOrDisabled", "disabled"),
        ({"accountExpires": "1"}, "CredentialsExpired", "account has expired"),
        ({"pwdLastSet": "0"}, "CredentialsExpired", "changed first"),
        ({}, "AccessDenied", "may not create"),
    ],
    ids=str,
)
def test_what_is_wrong_with_the_account_is_named(
    samba: Samba, hq: Hq, attributes: dict[str, str], error_type: str, words: str
) -> None:
    with samba.account("somebody", **attributes) as principal:
        check = hq.domain(adDomainUsername=principal).check()[-1]
        refused = _refused(hq.domain(adDomainUsername=principal))
    assert (check.status, check.error_type) == ("failed", f"adJoinCheck{error_type}")
    assert words in check.detail
    assert refused.hint == check.hint
    assert samba.computers() == []


def test_a_locked_account_is_named(samba: Samba, hq: Hq) -> None:
    with ExitStack() as later:
        principal = later.enter_context(samba.account("somebody"))
        samba.modify(BASE_DN, "lockoutThreshold", "1")
        later.callback(samba.modify, BASE_DN, "lockoutThreshold", "0")
        assert not samba.accepts(principal, "wrong")
        check = hq.domain(adDomainUsername=principal).check()[-1]
    assert check.error_type == "adJoinCheckAccountLockedOrDisabled"
    assert "locked" in check.detail


def test_the_first_controller_that_answers_is_asked(samba: Samba, hq: Hq) -> None:
    unknown, good = {"name": "dc0.corp.invalid"}, {"name": CONTROLLER, "address": ADDRESS}
    domain = hq.domain(domainControllers=[unknown, ELSEWHERE, good])
    assert [check.status for check in domain.check()] == ["passed"] * 4
    failed = hq.domain(domainControllers=[unknown, ELSEWHERE]).check()[-1]
    assert "dc0.corp.invalid" in failed.detail
    assert "127.0.0.2" in failed.detail


def test_a_controller_that_says_nothing_ends_at_the_deadline(hq: Hq, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudpc.devices.active_directory._ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.2", 636)):
        check = hq.domain(domainControllers=[ELSEWHERE]).check()[-1]
    assert check.error_type == "adJoinCheckServerNotOperational"


class _Cut(socketserver.BaseRequestHandler):
    """Passes on what the client sends, up to the piece at which the connection breaks."""

    pieces = 0

    def handle(self) -> None:
        with socket.create_connection((ADDRESS, 636)) as controller:
            answers = threading.Thread(target=self._answer, args=[controller])
            answers.start()
            for _ in range(self.pieces):
                if not (piece := self.request.recv(65536)):
                    break
                controller.sendall(piece)
            else:
                self.request.recv(1)  # the next piece has been sent
            for end in (controller, self.request):
                end.shutdown(socket.SHUT_RDWR)
            answers.join()

    def _answer(self, controller: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := controller.recv(65536):
                self.request.sendall(piece)


class _Relay(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


@pytest.mark.parametrize("pieces", range(8))
def test_a_connection_that_breaks_is_said_and_tried_again(
    samba: Samba, hq: Hq, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    monkeypatch.setattr(_Cut, "pieces", pieces)
    domain = hq.domain(domainControllers=[ELSEWHERE])
    with _Relay(("127.0.0.2", 636), _Cut) as relay:
        threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.01}).start()
        checks = domain.check()
        error = _refused(domain)
        relay.shutdown()
    # the sixth piece of a check is the last question
    assert [check.error_type for check in checks if check.status == "failed"] == (
        ["adJoinCheckServerNotOperational"] if pieces < 6 else []
    )
    assert error.retriable
    assert hq.domain().prepare_join(PC, OWNER).account.name == PC


def test_the_password_is_read_when_it_is_needed(samba: Samba, hq: Hq) -> None:
    domain = hq.domain()
    (hq.folder / "password").write_text("wrong")
    assert domain.check()[-1].error_type == "adJoinCheckIncorrectCredentials"
    (hq.folder / "password").write_text(PASSWORD)
    assert domain.check()[-1].status == "passed"


@pytest.fixture
def binds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who has tried to sign in, each time."""
    tried: list[str] = []
    real = Connection.bind

    def bind(connection: Connection, **options: Any) -> bool:
        tried.append(connection.user)
        return bool(real(connection, **options))

    monkeypatch.setattr(Connection, "bind", bind)
    return tried


def test_a_refused_password_is_tried_once_whoever_asks(samba: Samba, hq: Hq, binds: list[str]) -> None:
    domain = hq.domain()
    (hq.folder / "password").write_text("wrong")
    with ThreadPoolExecutor(15) as pool:
        refused = list(pool.map(lambda _: _refused(domain), range(15)))
    assert {(error.message, error.hint) for error in refused} == {(refused[0].message, refused[0].hint)}
    assert "password is wrong" in refused[0].message
    assert domain.check()[-1].error_type == "adJoinCheckIncorrectCredentials"
    assert len(binds) == 1

    (hq.folder / "password").write_text("also wrong")
    _refused(domain)
    (hq.folder / "password").write_text(PASSWORD)
    assert domain.prepare_join(PC, OWNER).account.name == PC
    assert len(binds) == 3


@pytest.mark.parametrize("attributes", [{"userAccountControl": "514"}, {"accountExpires": "1"}], ids=str)
def test_an_account_that_may_not_sign_in_is_tried_once(
    samba: Samba, hq: Hq, binds: list[str], attributes: dict[str, str]
) -> None:
    with samba.account("somebody", **attributes) as principal:
        domain = hq.domain(adDomainUsername=principal)
        assert _refused(domain).message == _refused(domain).message
    assert binds == [principal]


def test_the_admins_hand_outlives_an_idle_connection(samba: Samba, hq: Hq) -> None:
    """Of the tests' own: hours may lie between two of them, and a controller ends what is idle."""
    hq.domain().prepare_join(PC, OWNER)
    samba.admin.socket.close()
    assert samba.find(PC) is not None
