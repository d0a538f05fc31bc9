from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.configuration import parsing
from cloudpc.graph.errors import GraphError
from cloudpc.iac.engine import EngineError
from cloudpc.model.check import Check
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Warned
from cloudpc.model.masking import MaskingFormatter, masked, masked_value
from cloudpc.model.problems import InvalidConfigurationError, Problem

_URL = "https://ci:S3cretPw@host:8443/g.qcow2?sig=S3cretPw#S3cretPw"


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (f"from {_URL}: gone.", "from https://…@host:8443/g.qcow2?…: gone."),
        ("https://ghp_S3cretPw@host/x", "https://…@host/x"),
        ("https://ci:S3/cretPw@host/x", "https://…@host/x"),
        ("https://ci:S3?cretPw@host/x", "https://…@host/x"),
        ("https://ci:S3#cret@Pw@host/x", "https://…@host/x"),
        ("('https://ci:S3'cretPw@host/x?a=S3cretPw')", "('https://…@host/x?…')"),
        ("//ci:S3cretPw@host/x", "//ci:…@host/x"),
        ("qemu+ssh://root:S3cretPw@kvm1/system, twice", "qemu+ssh://root:…@kvm1/system, twice"),
        ("qemu+ssh://root%3AS3cretPw@kvm1/system", "qemu+ssh://…@kvm1/system"),
        ("postgres://pulumi:S3cretPw@db/state?password=S3cretPw", "postgres://pulumi:…@db/state?…"),
        ("/srv/stacks/https:/ci:S3cretPw@h/g?sig=S3cretPw can't be read", "/srv/stacks/https:/…@h/g?… can't be read"),
        ("QEMU+SSH:/root:S3cretPw@kvm1/system", "QEMU+SSH:/root:…@kvm1/system"),
    ],
)
def test_what_may_be_secret_is_masked(told: str, shown: str) -> None:
    assert masked(told) == shown
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "qemu+ssh://admin@kvm1:2222/system",
        "qemu:///session",
        "is it https://host/x?",
        "file:///srv/state",
        "C:/images/a@b?c, kvm1:/srv/images/x@2",
        "alice@contoso.example: see https://host/ and /x?y",
        "",
    ],
)
def test_what_is_no_secret_is_told(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    "found",
    [
        _URL,
        "https://ci:S3cret Pw@host/x",
        "ci:S3cretPw@host/g.qcow2",
        "host/g.qcow2?sig=S3cretPw",
        "https:/ci:S3cretPw@host//x",
        "https:ci:S3cretPw@host/x",
        {"url": [_URL]},
        (_URL,),
    ],
)
def test_a_value_is_masked_even_where_it_is_no_url(found: object) -> None:
    assert "S3c" not in str(masked_value(found))
    assert "Pw" not in json.dumps(Problem("file", "field", "is wrong", found).found)


def test_all_parts_of_a_problem_are_masked() -> None:
    """A path may be a URL by mistake, and so may a key."""
    problem = Problem(f"stacks/{_URL}", f"cloudpc:hosts[1].{_URL}", f"{_URL} is wrong", _URL)
    assert "S3cretPw" not in str(problem)


@pytest.mark.parametrize(
    "found", ["alice@contoso.example", "CPC-%USERNAME:5%", "What?", 5, None, "2026-11-30T09:00:00Z"]
)
def test_other_values_are_shown(found: object) -> None:
    assert masked_value(found) == found


@given(st.text(), st.text(), st.text())
def test_no_password_in_front_of_a_host_is_ever_shown(user: str, password: str, path: str) -> None:
    secret = f"\N{KEY}{password}\N{KEY}"
    assert "\N{KEY}" not in masked_value(f"https://{user}:{secret}@host/{path}".strip())
    word = f"qemu+ssh://{user}:{secret}@host/".translate(dict.fromkeys(map(ord, "\t\n\r\f\v "))).split()
    assert len(word) != 1 or "\N{KEY}" not in masked(word[0])


@pytest.mark.parametrize(
    "told",
    [
        lambda text: str(ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, text)),
        lambda text: ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, "", hint=text).hint,
        lambda text: ProvisioningError(ErrorCode.IMAGE_NOT_FOUND, "", console=text).console,
        lambda text: Warned(ErrorCode.PACKAGES_FAILED, text).message,
        lambda text: Check("libvirt", "passed", text).detail + Check("libvirt", "passed", "", text).hint,
        lambda text: str(GraphError(text)) + GraphError(text).message,
        lambda text: str(EngineError(text)),
        lambda text: str(Problem("file", "field", text, text)),
        lambda text: str(InvalidConfigurationError([Problem("file", "field", text, [text])])),
        lambda text: MaskingFormatter("%(message)s").format(logging.makeLogRecord({"msg": text})),
    ],
)  # fmt: skip
def test_whatever_tells_something_masks_it(told: object) -> None:
    assert callable(told)
    text = told(f"trouble with {_URL} and qemu+ssh://root:S3cretPw@kvm1/system")
    assert "host:8443" in text
    assert "S3cretPw" not in text


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("qemu+ssh://root:S3cretPw@kvm1/system", "has a password"),
        ("qemu+ssh://root%3aS3cretPw@kvm1/system", "has a password"),
        ("qemu+ssh://root:S3/cretPw@kvm1/system", "has a password"),
        ("qemu+ssh://root:12/S3cretPw@kvm1/system", "has a password"),
        ("qemu+ssh://root:S3cretPw@[fd00::5]:22/system", "has a password"),
        ("qemu+ssh://root:@kvm1/system", "has a password"),
        ("qemu+tls://S3cret@Pw@kvm1/system", "two @"),
        ("qemu+ssh://root:S3?cretPw@kvm1/system", "is not a URI"),
        ("qemu+ssh:root:S3cretPw@kvm1/system", "must be a URI"),
    ],
)
def test_a_password_in_a_hosts_uri_is_refused_and_not_told(uri: str, word: str) -> None:
    with pytest.raises(InvalidConfigurationError) as caught:
        parsing.parse_surroundings({"cloudpc:hosts": [{"name": "kvm1", "uri": uri}]})
    assert word in str(caught.value)
    assert "S3" not in str(caught.value)
    assert "Pw" not in str(caught.value)


@pytest.mark.parametrize("destination", ["root:S3cretPw@kvm1", "jump,ssh://root:S3cretPw@kvm1:22"])
def test_a_password_in_the_way_to_a_host_is_refused(destination: str) -> None:
    host = {"name": "kvm1", "uri": "qemu+ssh://kvm1/system", "sshDestination": destination}
    with pytest.raises(InvalidConfigurationError, match="has a password") as caught:
        parsing.parse_surroundings({"cloudpc:hosts": [host]})
    assert "S3cretPw" not in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+ssh://admin@kvm1:2222/system",
        "qemu+ssh://a%40corp@[fd00::5]:22/session?keyfile=/home/a@b/k",
        "qemu:///system",
    ],
)
def test_uris_without_a_password_are_taken(uri: str) -> None:
    way = {"name": "kvm1", "uri": uri, "sshDestination": "jump.example:22,ssh://admin@kvm1:2222"}
    [host] = parsing.parse_surroundings({"cloudpc:hosts": [way]}).hosts
    assert host.uri == uri
