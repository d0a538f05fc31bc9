"""What an admin hands to a user besides the password: how to sign in from where the user is, and what that takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cloudpc.cli import bastion_tunnel
from cloudpc.cli.ssh import is_loopback
from cloudpc.model.access import Access, Rdp
from cloudpc.model.ssh_hop import SshHop
from cloudpc.model.text import command_line

_SSH_PORT = 22
_HERE = "127.0.0.1"


def sign_in(way: Access, user: str, hop: SshHop | None) -> str:
    """What the user runs, or opens.

    Args:
        way: to the Cloud PC.
        user: the account there.
        hop: the host that stands before it; None: none does.
    """
    if isinstance(way, Rdp):
        return f"remote desktop to {f'{_HERE}:PORT' if way.bastion else way.address}"
    if way.bastion:
        return command_line("ssh", "-p", "PORT", f"{user}@{_HERE}")
    return _ssh(way, user, hop.destination if hop else "")


def forwarding(way: Access, user: str, hop: SshHop | None, here: int, port: int) -> str:
    """What has a port of the user's loopback lead to one of the Cloud PC's, until it is interrupted.

    It ends where the user's port is taken: whoever has it would be given the password that is typed for the Cloud PC.

    Args:
        way: to the Cloud PC, by ssh.
        user: the account there.
        hop: the host that stands before it; None: none does.
        here: the user's port.
        port: the Cloud PC's.
    """
    signs_in = sign_in(way, user, hop)
    return signs_in.replace("ssh ", f"ssh -N -o ExitOnForwardFailure=yes -L {_HERE}:{here}:{_HERE}:{port} ", 1)


def conditions(way: Access, user: str, hop: SshHop | None) -> Iterator[str]:
    """What that takes, a sentence or two each; nothing where the address alone is enough. Arguments as in `sign_in`."""
    if way.bastion:
        tunnel = command_line(*bastion_tunnel.command(way.bastion, way.port))
        yield (
            f"The way leads through Azure Bastion {way.bastion.name}. The user needs Azure CLI, the right to use that "
            f"Bastion, and this running meanwhile, with a free port of their computer as PORT:\n  {tunnel}"
        )
    elif hop:
        yield f"The way leads through {hop.host}. The user needs an account there, to be named in place of {_of(hop)}."
    elif is_loopback(way.host):
        yield (
            f"{way.host} is reachable on this host only. For users who sign in from their own computers, name a "
            "network connection in the policy (docs/connections.md). Cloud PCs made from then on have an address "
            "there; `cloudpc reprovision` makes an existing one again, without its data."
        )
        if not isinstance(way, Rdp):
            yield (
                f"A user who has an account on this host can sign in through it: {_ssh(way, user, 'ACCOUNT@THIS-HOST')}"
            )


def _ssh(way: Access, user: str, jump: str) -> str:
    port: Sequence[str] = () if way.port == _SSH_PORT else ("-p", str(way.port))
    return command_line("ssh", *(("-J", jump) if jump else ()), *port, f"{user}@{way.host}")


def _of(hop: SshHop) -> str:
    return f"{hop.user}@{hop.host}" if hop.user else "your own"
