"""Public keys as people paste them. The good ones were made by ssh-keygen."""

from __future__ import annotations

import base64
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.model.ssh_keys import WrongKeyError, is_ed25519, public_key

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr1oZs1LkO8Ry5N2yp7aYz0kEJzq8nZhb3bJm1yQy7M alice@laptop"
KIND, BLOB, COMMENT = ED25519.split(" ")


def packed(*parts: bytes) -> str:
    return base64.b64encode(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).decode()


SK_ED25519 = "sk-ssh-ed25519@openssh.com"
SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
POINT = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
"""On nistp256: the curve's own base point."""
EXPONENT, MODULUS = bytes([1, 0, 1]), bytes([0, 128]) + bytes(255)


@pytest.mark.parametrize(
    "arguments", [("-t", "ed25519"), ("-t", "rsa"), *(("-t", "ecdsa", "-b", bits) for bits in ("256", "384", "521"))]
)
def test_what_ssh_keygen_makes_is_taken(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "alice at home", "-f", str(file), *arguments], check=True)
    line = file.with_suffix(".pub").read_text()
    assert public_key(line) == line.strip()
    assert public_key(" ".join(line.split()[:2])) == " ".join(line.split()[:2])
    with pytest.raises(WrongKeyError, match="private key"):
        public_key(file.read_text())


@pytest.mark.parametrize(
    "line",
    [
        ED25519, f"  {ED25519}\n", f"{ED25519} ünï cödé", f"{ED25519}\r\n", f"{KIND} {BLOB} my ssh-rsa key",
        f"ssh-rsa {packed(b'ssh-rsa', EXPONENT, MODULUS)}",
        f"{SK_ED25519} {packed(SK_ED25519.encode(), bytes(32), b'ssh:')}",
        f"{SK_ECDSA} {packed(SK_ECDSA.encode(), b'nistp256', POINT, b'ssh:')}",
    ],
)  # fmt: skip
def test_good_ones(line: str) -> None:
    assert public_key(line) == line.strip()


@pytest.mark.parametrize("between", ["  ", "\t", " \t "])
def test_blanks_that_sshd_passes_over_are_left_out(between: str) -> None:
    assert public_key(f"{KIND}{between}{BLOB}{between}a  b") == f"{KIND} {BLOB} a  b"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ssh-ed25519 garbage", "not base64"),
        ("ssh-ed25519 AAAA", "no ssh-ed25519 key"),
        ("ssh-ed25519", "no ssh-ed25519 key"),
        (f"{KIND} {BLOB[:-4]}", "no ssh-ed25519 key"),
        (f"{KIND} {BLOB[:-1]}", "not base64"),
        (f"{KIND} {BLOB}====", "not base64"),
        (f"{SK_ED25519} {packed(SK_ED25519.encode(), bytes(32), b'ssh:')[:-2]}h=", "not base64"),
        (f"{KIND} {BLOB[:30]} {BLOB[30:]} {COMMENT}", "a blank in the middle"),
        (f"{KIND} {BLOB[:32]} {BLOB[32:40]} {BLOB[40:]}", "a blank in the middle"),
        (f"{KIND} {BLOB}\u200b", "must be one line"),
        (f"ssh-rsa {BLOB}", "says ssh-rsa, but the key itself says 'ssh-ed25519'"),
        (f"ssh-ed25519 {packed(b'ssh-rsa', b'e', b'n')}", "the key itself says 'ssh-rsa'"),
        (f"ssh-ed25519 {packed(KIND.encode(), bytes(32), b'more')}", "no ssh-ed25519 key"),
        (f"ssh-ed25519 {packed(KIND.encode(), bytes(31))}", "no ssh-ed25519 key"),
        (f"ssh-rsa {packed(b'ssh-rsa', EXPONENT, bytes([0, 128]) + bytes(127))}", "1024 bits"),
        (f"ssh-rsa {packed(b'ssh-rsa', bytes([2]), MODULUS)}", "no ssh-rsa key"),
        (f"ssh-rsa {packed(b'ssh-rsa', EXPONENT, bytes([0, 128]) + bytes(99_999))}", "800000 bits"),
        (f"ssh-rsa {packed(b'ssh-rsa', EXPONENT, MODULUS[1:])}", "a negative number"),
        (f"ssh-rsa {packed(b'ssh-rsa', bytes([129]), MODULUS)}", "a negative number"),
        (f"ecdsa-sha2-nistp256 {packed(b'ecdsa-sha2-nistp256', b'nistp384', b'4' * 97)}", "no ecdsa"),
        (f"ecdsa-sha2-nistp256 {packed(b'ecdsa-sha2-nistp256', b'nistp256', bytes([2]) + bytes(64))}", "no ecdsa"),
        *(
            (f"{kind} {packed(kind.encode(), b'nistp256', POINT[:-1] + b'0', *more)}", "not on the curve nistp256")
            for kind, more in (("ecdsa-sha2-nistp256", ()), (SK_ECDSA, (b"ssh:",)))
        ),
        (f"ssh-dss {packed(b'ssh-dss', b'p')}", "DSA"),
        (f"ssh-ed25519-cert-v01@openssh.com {packed(b'ssh-ed25519-cert-v01@openssh.com')}", "certificate"),
        (f'command="rm -rf /" {ED25519}', "options"),
        (f"restrict {ED25519}", "options"),
        (f"alice: {ED25519}", "options"),
        (BLOB, "no type"),
        (f"ssh-ed25591 {BLOB}", "did you mean 'ssh-ed25519'"),
        (f"SSH-ED25519 {BLOB}", "not a key type"),
        ("", "must be one line"),
        (f"{ED25519}\n{ED25519}", "two keys in one entry"),
        (f"{KIND} {BLOB}\n{KIND} {BLOB}\n", "two keys in one entry"),
        (f"{KIND} {BLOB} {KIND} {BLOB}", "two keys in one entry"),
        (f"{ED25519} ssh-rsa\tAAAA", "two keys in one entry"),
        (f"{KIND} {BLOB}\n{COMMENT}", "a line end in the middle"),
        (f"{KIND}\n{BLOB}", "a line end in the middle"),
        (f"{KIND} {BLOB[:30]}\r\n{BLOB[30:]}", "a line end in the middle"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nsecret", "private key"),
        ("-----BEGIN RSA PRIVATE KEY----- secret", "private key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519 secret", "private key"),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA", "PuTTY"),
    ],
)
def test_what_is_wrong_with_it(line: str, why: str) -> None:
    with pytest.raises(WrongKeyError, match=why) as caught:
        public_key(line)
    assert "secret" not in str(caught.value)


@given(st.integers(0, len(BLOB) - 1), st.sampled_from("Aa0+/=é "))
def test_whatever_is_changed_in_it_is_refused_in_words_or_another_key(at: int, letter: str) -> None:
    line = f"{KIND} {BLOB[:at]}{letter}{BLOB[at + 1 :]}"
    with suppress(WrongKeyError):  # and nothing else
        assert public_key(line) == line


def test_a_host_key() -> None:
    assert is_ed25519(ED25519)
    assert not is_ed25519("ssh-ed25519 AAAA")
    assert not is_ed25519(f"ecdsa-sha2-nistp256 {packed(b'ecdsa-sha2-nistp256', b'nistp256', POINT)}")


@pytest.mark.parametrize("kind", [SK_ED25519, SK_ECDSA, "ecdsa-sha2-nistp256"])
@pytest.mark.parametrize("parts", [[], [b"\xff\xfe", b"\x04"], [b"\xff", b"\x04", b"ssh:"]])
def test_a_key_whose_parts_are_none_is_told_as_broken(kind: str, parts: list[bytes]) -> None:
    with pytest.raises(WrongKeyError, match="is cut off or broken"):
        public_key(f"{kind} {packed(kind.encode(), *parts)}")
