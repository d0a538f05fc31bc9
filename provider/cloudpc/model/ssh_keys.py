"""Reads ssh public keys strictly: one that sshd would pass over in silence keeps its owner out."""

from __future__ import annotations

import base64
import hashlib
import re

from cloudpc.model.problems import NotRepeatedError, closest

_SMALLEST_RSA, _LARGEST_RSA = 2048, 16_384
_CURVES = {b"nistp256": 32, b"nistp384": 48, b"nistp521": 66}
"""With the size of a coordinate in bytes."""
TYPES = (
    "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
)  # fmt: skip
_LIKE = "one line of an OpenSSH public key, for example 'ssh-ed25519 AAAA… alice'"
_KEY = re.compile(rf"(?<!\S)(?:{'|'.join(map(re.escape, (*TYPES, 'ssh-dss')))})\s+AAAA")
_PRIVATE = re.compile(r"BEGIN [A-Z ]*PRIVATE KEY|PuTTY-User-Key-File")


class WrongKeyError(NotRepeatedError):
    """The text is no public key that can be used; the message says why, and never repeats it."""


def public_key(line: str) -> str:
    """The line, without needless blanks, if it is a public key as `authorized_keys` has it, without options.

    Raises:
        WrongKeyError: it isn't.
    """
    text = " ".join(line.split(None, 2)).strip()  # sshd passes over further blanks and tabs in front of the key
    _check_form(line, text)
    words = text.split(" ")
    kind, encoded = words[0], words[1] if len(words) > 1 else ""
    _check_type(kind, words)
    try:
        blob = _decoded(encoded)
    except ValueError:
        raise WrongKeyError(f"is cut off or broken: what follows {kind} is not base64{_blank(kind, words)}") from None
    try:
        _check_parts(kind, blob)
    except IndexError:
        message = f"is cut off or broken: its second part is no {kind} key{_blank(kind, words)}"
        raise WrongKeyError(message) from None
    return text


def is_ed25519(line: str) -> bool:
    """Whether a line is the public key of an ed25519 host key."""
    try:
        return public_key(line).startswith("ssh-ed25519 ")
    except WrongKeyError:
        return False


def fingerprint(line: str) -> str:
    """How OpenSSH names this public key to people: `SHA256:…`. Raises ValueError: it is none."""
    blob = base64.b64decode(line.split()[1], validate=True)
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


def _check_form(line: str, text: str) -> None:
    if _PRIVATE.search(text):
        message = (
            "is a private key, which belongs to its owner alone; take it out of this file (and out of Git's history)"
        )
        raise WrongKeyError(f"{message}, make a new key, and write the line of its .pub file here")
    if "BEGIN SSH2 PUBLIC KEY" in text:
        raise WrongKeyError(f"is in PuTTY's format; `ssh-keygen -i -f FILE` prints what belongs here, {_LIKE}")
    if len(_KEY.findall(text)) > 1:  # the second would be the first one's comment
        raise WrongKeyError("has two keys in one entry: make them two entries")
    if len(line.strip().splitlines()) > 1:
        raise WrongKeyError(f"has a line end in the middle: must be {_LIKE}")
    if not text or not text.isprintable():
        raise WrongKeyError(f"must be {_LIKE}")


def _check_type(kind: str, words: list[str]) -> None:
    if kind in TYPES:
        return
    if "-cert-v0" in kind:
        raise WrongKeyError("is a certificate; write the public key that it was made for")
    if kind == "ssh-dss":
        raise WrongKeyError("is a DSA key, which ssh no longer takes; make one with `ssh-keygen -t ed25519`")
    if any(word in TYPES or word == "ssh-dss" for word in words[1:]):
        raise WrongKeyError("begins with options, or with something else before the key; begin with its type")
    if kind.startswith("AAAA"):
        raise WrongKeyError(f"has no type before the key: must be {_LIKE}")
    raise WrongKeyError(f"must be {_LIKE}; {kind[:40]!r} is not a key type{closest(kind, TYPES)}")


def _blank(kind: str, words: list[str]) -> str:
    """What to say if the key would be complete without the blanks in it."""
    joined = ""
    for word in words[1:]:
        joined += word
        try:
            _check_parts(kind, _decoded(joined))
        except (ValueError, IndexError):
            continue
        return "; there is a blank in the middle of it"
    return ""


def _decoded(encoded: str) -> bytes:
    """Raises ValueError, also for what only sshd refuses: surplus `=`, and bits after the last byte."""
    blob = base64.b64decode(encoded, validate=True)
    if base64.b64encode(blob).decode() != encoded:
        raise ValueError
    return blob


def _check_parts(kind: str, blob: bytes) -> None:
    """Raises WrongKeyError; IndexError if a part is missing, superfluous, or of a wrong size."""
    named, *parts = _strings(blob)
    if not named:
        raise IndexError
    if named != kind.encode():
        raise WrongKeyError(f"says {kind}, but the key itself says {named.decode('ascii', 'replace')[:40]!r}")
    if kind.startswith("sk-"):
        parts = parts[:-1]  # the last one is what the key is for
    match kind:
        case "ssh-rsa":
            [exponent, modulus] = _exactly(parts, 2)
            _check_rsa(_number(exponent), _number(modulus).bit_length())
        case "ssh-ed25519" | "sk-ssh-ed25519@openssh.com":
            [point] = _exactly(parts, 1)
            _sized(point, 32)
        case _:
            [curve, point] = _exactly(parts, 2)
            _sized(point, 1 + 2 * _CURVES.get(curve, 0))
            if not point.startswith(b"\x04") or curve not in kind.encode():
                raise IndexError
            _check_on_curve(curve.decode(), point)


def _check_on_curve(curve: str, point: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec  # starts slowly, and few keys are of this type

    curves = {"nistp256": ec.SECP256R1(), "nistp384": ec.SECP384R1(), "nistp521": ec.SECP521R1()}
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(curves[curve], point)
    except ValueError:
        raise WrongKeyError(f"is broken: its point is not on the curve {curve}; copy the .pub file again") from None


def _number(part: bytes) -> int:
    number = int.from_bytes(part, "big", signed=True)
    if number < 0:
        raise WrongKeyError("is broken: it has a negative number, which ssh refuses; copy the .pub file again")
    return number


def _check_rsa(exponent: int, bits: int) -> None:
    if exponent < 3 or exponent % 2 == 0:
        raise IndexError
    if not _SMALLEST_RSA <= bits <= _LARGEST_RSA:
        needed = f"from {_SMALLEST_RSA} to {_LARGEST_RSA}"
        raise WrongKeyError(
            f"is an RSA key of {bits} bits: accepted are {needed}; `ssh-keygen -t ed25519` makes a better one"
        )


def _strings(blob: bytes) -> list[bytes]:
    """The length-prefixed strings that a key consists of (RFC 4251)."""
    found, rest = [], blob
    while rest:
        size = int.from_bytes(rest[:4], "big")
        found.append(_sized(rest[4 : 4 + size], size))
        rest = rest[4 + size :]
    if not found:
        raise IndexError
    return found


def _exactly(parts: list[bytes], count: int) -> list[bytes]:
    if len(parts) != count:
        raise IndexError
    return parts


def _sized(part: bytes, size: int) -> bytes:
    if len(part) != size:
        raise IndexError
    return part
