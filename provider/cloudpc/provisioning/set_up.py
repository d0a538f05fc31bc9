"""The set-up in a guest: what fails of its extras is a warning, unless the guest or its host is gone."""

from __future__ import annotations

from collections.abc import Sequence

from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.guests import Completed, Extra, Facts, Guest, GuestOS, SetsPasswords, Warned
from cloudpc.model.text import last_lines
from cloudpc.model.watch import Watch


def run(guest: Guest, guest_os: GuestOS, extras: Sequence[Extra], watch: Watch) -> tuple[list[Warned], Facts]:
    """Run these in the guest, then ask what it is by now; all together.

    Raises:
        ProvisioningError: the machine itself is in trouble, which is fatal.
    """
    *ended, said = guest.run([*(extra.script for extra in extras), guest_os.facts()], watch)
    return _failed(extras, ended), _read(guest_os, said)


def again(guest: Guest, extras: Sequence[Extra], watch: Watch) -> list[Warned]:
    """Run these, and ask no more: what has run is known then, even if one of them has the guest start again."""
    return _failed(extras, guest.run([extra.script for extra in extras], watch))


def facts(guest: Guest, guest_os: GuestOS, watch: Watch) -> Facts:
    """Ask what the guest is. Raises ProvisioningError."""
    return run(guest, guest_os, [], watch)[1]


def set_password(guest: Guest, guest_os: GuestOS, user: str, password: str, watch: Watch) -> None:
    """Set an account's password, by the guest's host if it can.

    Raises:
        ProvisioningError: CREDENTIALS_FAILED; others as `Guest.run`.
    """
    if isinstance(guest, SetsPasswords):
        guest.set_password(user, password, watch)
        return
    [done] = guest.run([guest_os.password(user, password)], watch)
    if wrong := _wrong(done):
        message = f"The password of {user} could not be set: {wrong}."
        raise ProvisioningError(ErrorCode.CREDENTIALS_FAILED, message)


def _read(guest_os: GuestOS, said: Completed) -> Facts:
    if wrong := _wrong(said):
        raise ProvisioningError(ErrorCode.SET_UP_FAILED, f"The guest does not say what it is: {wrong}.")
    return guest_os.read(said.output)


def _failed(extras: Sequence[Extra], ended: Sequence[Completed]) -> list[Warned]:
    warned = [_warned(extra, done) for extra, done in zip(extras, ended, strict=True)]
    return [warning for warning in warned if warning is not None]


def _warned(extra: Extra, ended: Completed) -> Warned | None:
    wrong = _wrong(ended)
    return Warned(extra.code, f"{extra.script.title}: {wrong}") if extra.code is not None and wrong else None


def _wrong(ended: Completed) -> str:
    """How it failed, if it did."""
    if ended.timed_out:
        return ended.output
    return f"exit code {ended.exit_code}: {last_lines(ended.output)}" if ended.exit_code else ""
