"""Where a token may go, and a secret: to Microsoft's clouds and this machine, however an address is written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloudpc.graph.configuration import GraphConfig
from cloudpc.microsoft import clouds


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *((f"https://{host}", f"https://{host}") for host in clouds.SIGN_IN),
        ("https://graph.microsoft.com/", "https://graph.microsoft.com"),
        ("HTTPS://Graph.Microsoft.COM:443", "https://graph.microsoft.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:1/", "http://127.0.0.1:1"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_where_a_token_goes(written: str, meant: str) -> None:
    assert GraphConfig.model_validate({"endpoint": written}).endpoint == meant


ELSEWHERE = [
    "https://graph.microsoft.com@evil.example", "https://evil@graph.microsoft.com", "https://graph.microsoft.com:x@evil",
    "https://evil.example", "https://graph.microsoft.com.evil.example", "https://evilgraph.microsoft.com",
    "https://graph.microsoft.com.", "https://graph-microsoft.com", "https://graph.microsoft.com:8443",
    "https://graph.microsoft.com:0", "https://graph.microsoft.com:99999", "https://graph.microsoft.com:x",
    "https://graph.microsoft.com#@evil.example", "https://graph.microsoft.com#", "https://graph.microsoft.com?",
    "https://graph.microsoft.com?x=1", "https://graph.microsoft.com/v1.0", "https://graph.microsoft.com\\@evil.example",
    "https://gr\u0430ph.microsoft.com", "https://graph.microsoft.com\u3002evil.example", "https://graph.microsoft\uff0ecom",
    "https://graph.microsoft.com\n.evil.example", "https://evil.example\t", " https://graph.microsoft.com",
    "http://graph.microsoft.com", "ftp://127.0.0.1", "//graph.microsoft.com", "graph.microsoft.com", "https://", "",
    "http://127.0.0.1@evil.example", "http://127.0.0.1.evil.example", "http://localhost.evil.example", "http://127.1",
    "http://0.0.0.0", "http://10.0.0.1", "http://[::ffff:127.0.0.1]", "https://[::1", "https://xn--grph-microsoft.com",
    "https://graph.microsoft.de",
]  # fmt: skip


@pytest.mark.parametrize("written", ELSEWHERE)
def test_where_no_token_goes(written: str) -> None:
    with pytest.raises(ValidationError, match=r"it must be https://graph\.microsoft\.com or https"):
        GraphConfig.model_validate({"endpoint": written})


@given(st.text(st.sampled_from("https:/@.graphmicom#?\\[]1270 evil%\n"), max_size=40))
def test_whatever_is_taken_is_one_of_few(written: str) -> None:
    try:
        taken = clouds.endpoint(written)
    except ValueError:
        return
    assert taken in [f"https://{host}" for host in clouds.SIGN_IN] or clouds.is_loopback(taken)
    assert clouds.endpoint(taken) == taken


@pytest.mark.parametrize("written", ["login.microsoftonline.us", "https://login.microsoftonline.us/"])
def test_where_one_signs_in(written: str) -> None:
    assert clouds.authority(written) == "https://login.microsoftonline.us"
    assert clouds.authority("https://localhost:8443") == "https://localhost:8443"


@pytest.mark.parametrize(
    "written",
    [
        "login.microsoftonline.com.evil.example", "https://login.microsoftonline.com@evil.example", "evil.example",
        "http://login.microsoftonline.com", "https://login.microsoftonline.com/common",
        "login.microsoftonline.com:8443",
    ],
)  # fmt: skip
def test_where_no_secret_goes(written: str) -> None:
    with pytest.raises(ValueError, match=r"it must be one of login\.chinacloudapi\.cn"):
        clouds.authority(written)


def test_every_wrong_endpoint_is_told_with_the_field() -> None:
    values: Any = {"endpoint": "https://evil.example", "auth": "guess"}
    with pytest.raises(ValidationError) as caught:
        GraphConfig.model_validate(values)
    assert {error["loc"] for error in caught.value.errors()} == {("endpoint",), ("auth",)}
