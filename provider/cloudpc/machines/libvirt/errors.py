"""Turns libvirt's errors into ours: which stage failed, whether trying again helps, and what the admin can do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import libvirt

from cloudpc.model import patience
from cloudpc.model.errors import ErrorCode, ProvisioningError

_T = TypeVar("_T")

_GONE = {
    libvirt.VIR_ERR_NO_DOMAIN,
    libvirt.VIR_ERR_NO_NETWORK,
    libvirt.VIR_ERR_NO_NODE_DEVICE,
    libvirt.VIR_ERR_NO_STORAGE_POOL,
    libvirt.VIR_ERR_NO_STORAGE_VOL,
}
_GONE_MEANS = {
    libvirt.VIR_ERR_NO_DOMAIN: (ErrorCode.GUEST_DIED, "the machine is no longer on its host"),
    libvirt.VIR_ERR_NO_NETWORK: (ErrorCode.NETWORK_NOT_FOUND, "the network is no longer on the host"),
}
"""What a call says when somebody else removed its object after it was found."""
_CONNECTION_DOMAINS = {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE, libvirt.VIR_FROM_SSH, libvirt.VIR_FROM_LIBSSH}
_CONNECTION_CODES = {
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_SSH,
    libvirt.VIR_ERR_LIBSSH,
    libvirt.VIR_ERR_GNUTLS_ERROR,
}
_AUTHENTICATION_CODES = {
    libvirt.VIR_ERR_AUTH_FAILED,
    libvirt.VIR_ERR_AUTH_CANCELLED,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE,
    libvirt.VIR_ERR_ACCESS_DENIED,
}
_CONNECTION_TEXT = re.compile(
    r"client socket is closed|end of file while reading|cannot (recv|write) data|connection (reset|refused)"
    r"|keepalive timeout|broken pipe|failed to connect socket",
    re.IGNORECASE,
)
_START_LIBVIRT = "Start libvirt on the host: `systemctl start libvirtd`, or `virtlogd -d; libvirtd -d` without systemd."
_PATH = re.compile(r"['\"‘“](/[^'\"’”]+)['\"’”]|(?<!\S)(/[^\s:,]+)")
_LOCK = re.compile(r"lock file for device '[^']+' in path '()([^']+)'")
"""What libvirt can't lock, and the file that it can't create for the lock."""


def unless_gone(look: Callable[[], _T]) -> _T | None:
    """What `look` finds, or None where the host has no such thing.

    Each look at something that was listed or looked up goes through here: other processes make and remove domains,
    volumes, pools, networks and cards at the same time, and what has gone in between was not there.
    """
    try:
        return look()
    except libvirt.libvirtError as error:
        if has_code(error, *_GONE):
            return None
        raise


@contextmanager
def classified(
    doing: str, code: ErrorCode = ErrorCode.HYPERVISOR_ERROR, *, takes_its_time: bool = False
) -> Iterator[None]:
    """Raise what libvirt raises inside as ProvisioningError, and tell while it takes unusually long.

    Args:
        doing: completes "Could not …".
        code: where the error says nothing special.
        takes_its_time: what is done inside takes long, and reports that itself.
    """
    try:
        with nullcontext() if takes_its_time else patience.calling(doing):
            yield
    except libvirt.libvirtError as error:
        raise classify(error, doing, code) from error


def classify(
    error: libvirt.libvirtError, doing: str, code: ErrorCode = ErrorCode.HYPERVISOR_ERROR
) -> ProvisioningError:
    """The ProvisioningError for a libvirt error met while `doing`; `code` where the error says nothing special."""
    text = words(error)
    if is_connection_error(error):
        return unreachable(error, doing)
    if told := _GONE_MEANS.get(error.get_error_code()):
        return ProvisioningError(told[0], f"Could not {doing}: {told[1]}.")
    lowered = text.lower()
    if error.get_error_code() in _AUTHENTICATION_CODES:
        return ProvisioningError(
            code,
            f"Could not {doing}: libvirt refuses it to this user ({text}).",
            retriable=False,
            hint="Give the user that runs this libvirt's management rights (group libvirt, or a polkit rule).",
        )
    if "apparmor" in lowered:
        return ProvisioningError(
            code,
            f"Could not {doing}: AppArmor stands in the way ({text}).",
            retriable=False,
            hint="See `journalctl -k | grep DENIED` on the host; a pool under /var/lib/libvirt/images is allowed as "
            "shipped, other folders belong into /etc/apparmor.d/local/abstractions/libvirt-qemu.",
        )
    if "no space left" in lowered or "disk quota exceeded" in lowered:
        return ProvisioningError(
            ErrorCode.STORAGE_FULL,
            f"Could not {doing}: the host's storage is full ({text}).",
            hint="Free space in the pool's file system, or lower diskOvercommit of the host.",
        )
    if "cannot allocate memory" in lowered or "cannot set up guest memory" in lowered:
        return ProvisioningError(
            code,
            f"Could not {doing}: the host has no memory left for it ({text}).",
            hint="Raise memoryReservedInGB of the host, so that less is promised.",
        )
    path = _first_path(text)
    if path and "permission denied" in lowered:
        return ProvisioningError(
            code,
            f"Could not {doing}: the hypervisor's user may not use {path} on the host.",
            retriable=False,
            hint=f"Let that user (libvirt-qemu on Debian) read {path} and enter every folder above it, or set "
            "poolPath of the host to a folder it can, such as one under /var/lib/libvirt/images.",
        )
    if path and "no such file or directory" in lowered:
        return ProvisioningError(
            code,
            f"Could not {doing}: {path} is not there on the host.",
            hint=f"If {path} was removed by hand, `virsh pool-refresh` lets libvirt forget it.",
        )
    hint = "QEMU's own words are in /var/log/libvirt/qemu on the host." if "monitor" in lowered else ""
    return ProvisioningError(code, f"Could not {doing}: {text}.", hint=hint)


def words(error: libvirt.libvirtError) -> str:
    """libvirt's words on one line; QEMU's own may follow them on several."""  # noqa: D403
    return " ".join(str(error.get_error_message() or error).split()).rstrip(".")


def _first_path(text: str) -> str:
    """The path an error is about: of a disk and its backing file, libvirt names first the one it could not open."""
    found = _LOCK.search(text) or _PATH.search(text)
    return "" if found is None else found[1] or found[2]


def is_connection_error(error: libvirt.libvirtError) -> bool:
    """Whether the way to libvirt failed, not what was asked of it."""
    if error.get_error_code() in _CONNECTION_CODES:
        return True
    if error.get_error_domain() in _CONNECTION_DOMAINS:
        return error.get_error_code() not in _AUTHENTICATION_CODES
    if error.get_error_domain() == libvirt.VIR_FROM_QEMU:
        return False  # the daemon's own connection to a guest, which says the same words
    return bool(_CONNECTION_TEXT.search(str(error.get_error_message() or "")))


def unreachable(error: libvirt.libvirtError, doing: str) -> ProvisioningError:
    """The error for a host that does not answer, with the likely reason as hint."""
    text = words(error)
    lowered = text.lower()
    if "permission denied" in lowered and "publickey" not in lowered and "socket" in lowered:
        hint = "Add the user to the group libvirt (`adduser USER libvirt`, then log in again), or use qemu:///session."
    elif "no such file" in lowered or "connection refused" in lowered:
        hint = _START_LIBVIRT
    elif "host key verification" in lowered:
        hint = "Connect once with ssh by hand, so that the host's key is known."
    elif "permission denied" in lowered or error.get_error_code() in _AUTHENTICATION_CODES:
        hint = "Check that `ssh` to this host logs in without asking for a password (key, agent, ~/.ssh/config)."
    elif "connection reset" in lowered or "end of file" in lowered:  # last: ssh ends its own complaints like this, too
        hint = _START_LIBVIRT  # it has ended just now, with our connection in its queue
    else:
        hint = "Try `virsh -c URI version` with the same URI."
    return ProvisioningError(ErrorCode.HOST_UNREACHABLE, f"Could not {doing}: libvirt is gone ({text}).", hint=hint)


def has_code(error: libvirt.libvirtError, *codes: int) -> bool:
    """Whether libvirt gave one of these error codes."""
    return error.get_error_code() in codes
