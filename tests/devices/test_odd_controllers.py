"""What answers in a controller's place, or in no state to serve: said as what it is. Without a domain."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ldap3 import Connection

from cloudpc.devices.active_directory import ActiveDirectory
from cloudpc.devices.domain_accounts import DomainAccounts
from cloudpc.devices.domain_errors import DomainError
from cloudpc.model.connection import OnPremisesConnection

from .samba import BASE_DN, CONTROLLER, DOMAIN, UNIT, certify


def _settings(**changes: Any) -> OnPremisesConnection:
    values = {
        "hostedNetwork": True, "adDomainName": DOMAIN, "adDomainUsername": f"joiner@{DOMAIN}",
        "adDomainPassword": {"environment": "JOIN_PASSWORD"}, "organizationalUnit": UNIT, "caCertificate": "ca.pem",
        "domainControllers": [{"name": CONTROLLER, "address": "127.0.0.1"}],
    }  # fmt: skip
    return OnPremisesConnection.model_validate(values | changes)


class _Answers:
    """A connection of ldap3 to a controller that answers so."""

    def __init__(self, answer: str, *, to: str, context: list[str]) -> None:
        self._answer, self._to, self._context = answer, to, context
        self.password = "secret"
        self.result: dict[str, Any] = {}
        self.response: list[dict[str, Any]] = []
        self.extend = SimpleNamespace(standard=SimpleNamespace(paged_search=self._nothing))

    def _nothing(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        self._said("searchResDone")
        return []

    def _said(self, kind: str) -> bool:
        description = self._answer if kind == self._to else "success"
        self.result = {"type": kind, "description": description, "message": ""}
        return description == "success"

    def search(self, *_: Any, attributes: list[str], **__: Any) -> None:
        values = [text.encode() for text in self._context] if attributes == ["defaultNamingContext"] else []
        self.response = [{"type": "searchResEntry", "raw_attributes": {attributes[0]: values}}]
        self._said("searchResDone")

    def add(self, *_: Any) -> None:
        self._said("addResponse")

    def bind(self, **_: Any) -> bool:
        return self._said("bindResponse")


def _connection(answer: str = "success", to: str = "", context: str = BASE_DN) -> Connection:
    return cast("Connection", _Answers(answer, to=to, context=[context] if context else []))


def test_a_controller_that_is_read_only_is_told_as_that() -> None:
    domain = DomainAccounts(_connection("referral", "addResponse"), DOMAIN, _settings())
    with pytest.raises(DomainError, match="this controller is read-only") as caught:
        domain.make("CPC-ALICE-7KQ2P", "0123456789abcdef/u/p/1", "secret")
    assert "domainControllers" in caught.value.hint


def test_a_directory_that_is_no_domain_is_told_as_that() -> None:
    with pytest.raises(DomainError, match="no controller of an Active Directory domain"):
        DomainAccounts(_connection(context=""), DOMAIN, _settings()).check_name()


@pytest.mark.parametrize(("answer", "passes"), [("busy", True), ("unavailable", True), ("unwillingToPerform", False)])
def test_a_sign_in_to_a_controller_that_is_just_starting_is_tried_again(
    tmp_path: Path, answer: str, passes: bool
) -> None:
    domain = ActiveDirectory("hq", _settings(), tmp_path)
    with pytest.raises(DomainError, match=answer) as caught:
        domain._signed_in(_connection(answer, "bindResponse"))
    assert caught.value.retriable is passes


@pytest.mark.parametrize(("days", "words"), [(-3, "has expired by this machine's clock"), (3, "is not yet valid by")])
def test_a_certificate_s_time_is_told_with_this_machine_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, words: str
) -> None:
    monkeypatch.setenv("JOIN_PASSWORD", "secret")
    key, certificate = certify(CONTROLLER, now=datetime.now(UTC) + timedelta(days=days))
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "ca.pem").write_bytes(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")

    def answer(listener: socket.socket) -> None:
        with listener.accept()[0] as accepted, contextlib.suppress(OSError):
            context.wrap_socket(accepted, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr("cloudpc.devices.active_directory._PORT", listener.getsockname()[1])
        thread = threading.Thread(target=answer, args=[listener])
        thread.start()
        [check] = ActiveDirectory("hq", _settings(), tmp_path).check()
        thread.join()
    assert check.error_type == "adJoinCheckServerNotOperational"
    assert words in check.detail


def test_a_certificate_as_windows_exports_it_is_told_with_what_makes_pem_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOIN_PASSWORD", "secret")
    (tmp_path / "ca.pem").write_bytes(ssl.PEM_cert_to_DER_cert(certify(CONTROLLER)[1].decode()))
    [check] = ActiveDirectory("hq", _settings(), tmp_path).check()
    assert "caCertificate ca.pem: holds no certificate in PEM (Base-64)" in check.detail
    assert "openssl x509 -inform der" in check.detail


def test_a_password_that_is_not_text_is_told_and_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_bytes(certify(CONTROLLER)[1])
    monkeypatch.setenv("JOIN_PASSWORD", "gr\udcfcn")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr("cloudpc.devices.active_directory._PORT", listener.getsockname()[1])
        [check] = ActiveDirectory("hq", _settings(), tmp_path).check()
    assert check.error_type == "adJoinCheckIncorrectCredentials"
    assert check.detail == "adDomainPassword: the environment variable JOIN_PASSWORD is not text in UTF-8"
