"""`cloudpc credentials` and `cloudpc connect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cloudpc import guests
from cloudpc.cli import bastion_tunnel, desktop_client, hand_over, ssh, unanswered
from cloudpc.cli.context import Project
from cloudpc.cli.desktop import PORT as DESKTOP_PORT
from cloudpc.cli.output import CommandError, Exit, Json, err, out, print_json, table
from cloudpc.cli.targets import hop_to, reached, target_of, usable
from cloudpc.model import ssh_keys, thumbprints
from cloudpc.model.access import Access, Rdp, Ssh, to_outputs
from cloudpc.model.credentials import RecordedCredentials, RecordedPass
from cloudpc.model.ssh_hop import SshHop
from cloudpc.model.text import command_line
from cloudpc.operations.records import CloudPCRecord

User = Annotated[str, typer.Argument(help="userPrincipalName, its part before the @, or the user's id.")]
Policy = Annotated[str | None, typer.Option("--policy", help="Which one, if several policies serve the user.")]
Plan = Annotated[str | None, typer.Option("--service-plan", help="Which one, if the user has several.")]

_PORT_ELSEWHERE = 13389
"""Where a written file looks for the desktop: a port of the loopback that few have in use."""


def credentials(user: User, service_plan: Plan = None, policy: Policy = None, as_json: Json = False) -> None:
    """Show what to hand to a user: name, password, and how to sign in. Handle it as the secret that it is."""
    project = Project()
    cloud_pc = project.with_secrets(user, service_plan, policy)
    way, secret = usable(cloud_pc)
    if as_json:
        print_json(
            {
                "userPrincipalName": cloud_pc.user_principal_name,
                "deviceName": cloud_pc.device_name,
                **secret.opened(),
                **to_outputs(way),
            }
        )
        return
    signing_in, conditions = _told(project, cloud_pc, way, secret.user)
    shown = table("", "")
    rows = {
        "Device": cloud_pc.device_name,
        "User name": secret.user,
        "Password": secret.password.get_secret_value(),
        "Temporary Access Pass": _pass(secret.access_pass),
        "Address": way.address,
        "Through": way.through,
        **_proof(way),
        "Sign in with": signing_in,
    }
    for name, value in rows.items():
        if value:
            shown.add_row(name, value)
    out.print(shown)
    for sentence in conditions:
        out.print(sentence)


def _told(project: Project, cloud_pc: CloudPCRecord, way: Access, user: str) -> tuple[str, list[str]]:
    """How the user signs in, and with what."""
    try:
        hop = None if way.bastion else hop_to(project.host(cloud_pc), way)
    except CommandError as error:  # whoever has the password may know the way
        return "", [str(error)]
    return hand_over.sign_in(way, user, hop), list(hand_over.conditions(way, user, hop))


def _proof(way: Access) -> dict[str, str]:
    """What the Cloud PC proves itself by (a host key, a certificate), by name."""
    match way:
        case Ssh():
            desktop = {"Desktop's certificate": way.certificate_thumbprint}
            if not ssh_keys.is_ed25519(way.host_key):
                return {"Host key": way.host_key, **desktop}
            fingerprint = f"{ssh_keys.fingerprint(way.host_key)}, which ssh shows the first time"
            return {"Host key": way.host_key, "Fingerprint": fingerprint, **desktop}
        case Rdp():
            return {"Certificate": way.certificate_thumbprint}


def _pass(given: RecordedPass | None) -> str | None:
    if given is None:
        return None
    once = ", for one sign-in" if given.is_usable_once else ""
    start = f" from {given.start_date_time}" if given.start_date_time else ""
    return f"{given.value.get_secret_value()} (for Microsoft Entra, {given.lifetime_in_minutes} minutes{start}{once})"


def connect(
    user: User,
    command: Annotated[list[str] | None, typer.Argument(help="A command to run there, after `--`.")] = None,
    service_plan: Plan = None,
    policy: Policy = None,
    desktop: Annotated[bool, typer.Option("--desktop", help="Open its desktop, in FreeRDP or Remmina.")] = False,
    rdp_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Only write a file for a remote desktop client; no password is in it."),
    ] = None,
) -> None:
    """Open ssh to a user's Cloud PC, with its pinned host key; `-- COMMAND` runs a command there.

    Ends with the command's own exit code. Several words reach it as they are; one quoted word is a line of shell.
    """
    shows = desktop or rdp_file is not None
    if shows and command:
        raise CommandError("a desktop takes no command; leave that out, or --desktop and --rdp-file", Exit.INVALID)
    project = Project()
    cloud_pc = project.with_secrets(user, service_plan, policy)
    way, secret = usable(cloud_pc)
    if cloud_pc.recorded.is_kept_off:
        name = cloud_pc.user_principal_name
        message = f"the Cloud PC of {name} is powered off; {command_line('cloudpc', 'power-on', name)} starts it"
        raise CommandError(message, Exit.FAILED_CLOUD_PC)
    match way:
        case Ssh() if shows:
            raise typer.Exit(_desktop(project, cloud_pc, _with_desktop(cloud_pc, way), secret, rdp_file))
        case Ssh():
            raise typer.Exit(_by_ssh(project, cloud_pc, way, secret, command or []))
        case Rdp():
            raise CommandError(_by_desktop(cloud_pc, way))


def _by_ssh(
    project: Project, cloud_pc: CloudPCRecord, way: Ssh, secret: RecordedCredentials, command: Sequence[str]
) -> int:
    with reached(project, cloud_pc, target_of(project, cloud_pc, way, secret), way) as target:
        ended = ssh.run(target, command)
        if ended.code == ssh.FAILED and not ended.was_asked:
            ended = _asked_why(project, cloud_pc, target, command) or ended
        return ended.code


def _with_desktop(cloud_pc: CloudPCRecord, way: Ssh) -> Ssh:
    """The same, if it has a desktop. Raises CommandError if not, with what to do."""
    if way.certificate_thumbprint:
        return way
    name = cloud_pc.user_principal_name
    raise CommandError(
        f"the Cloud PC of {name} has no desktop: its image {cloud_pc.recorded.settings.image_id} has none. Choose one "
        f"with a desktop, such as debian-12-desktop, as imageId of the policy {cloud_pc.policy}; then "
        f"`{command_line('cloudpc', 'reprovision', name)}` makes it again, without its data. "
        f"`{command_line('cloudpc', 'connect', name)}` opens ssh",
        Exit.INVALID,
    )


def _desktop(
    project: Project, cloud_pc: CloudPCRecord, way: Ssh, secret: RecordedCredentials, rdp_file: Path | None
) -> int:
    if rdp_file is not None:
        desktop_client.write_rdp_file(rdp_file, secret.user, _PORT_ELSEWHERE)
        _tell_of_file(rdp_file, way, secret.user, None if way.bastion else hop_to(project.host(cloud_pc), way))
        return 0
    owner = cloud_pc.user_principal_name
    with reached(project, cloud_pc, target_of(project, cloud_pc, way, secret), way) as target:
        try:
            return desktop_client.show(target, way.certificate_thumbprint, owner)
        except ssh.NotIn as failed:
            known = None if failed.ended.was_asked else _anew(project, cloud_pc, target)
            if known is None:
                raise CommandError(f"the desktop of {target.name} was not opened: {failed}") from None
        try:
            return desktop_client.show(known, way.certificate_thumbprint, owner)
        except ssh.NotIn as failed:
            raise CommandError(f"the desktop of {target.name} was not opened: {failed}") from None


def _tell_of_file(file: Path, way: Ssh, user: str, hop: SshHop | None) -> None:
    out.print(f"{file} is written. Where it is opened, this has to run meanwhile:")
    out.print(f"  {hand_over.forwarding(way, user, hop, _PORT_ELSEWHERE, DESKTOP_PORT)}", soft_wrap=True)
    fingerprint = thumbprints.shown(way.certificate_thumbprint)
    out.print(f"The desktop's certificate has the fingerprint (SHA-256) {fingerprint}", soft_wrap=True)
    for sentence in hand_over.conditions(way, user, hop):
        out.print(sentence)


def _by_desktop(cloud_pc: CloudPCRecord, way: Rdp) -> str:
    through = f", through {way.through}" if way.through else ""
    if way.bastion:
        through += f" (`{command_line(*bastion_tunnel.command(way.bastion, way.port))}`)"
    return (
        f"{cloud_pc.device_name} is reached by remote desktop, which this command does not open: {way.address}{through}"
        f", with a certificate of the thumbprint {way.certificate_thumbprint or '(not known)'}; "
        f"{command_line('cloudpc', 'credentials', cloud_pc.user_principal_name)} shows the password"
    )


def _asked_why(
    project: Project, cloud_pc: CloudPCRecord, target: ssh.Target, command: Sequence[str]
) -> ssh.Ended | None:
    """Say why ssh did not get as far as the password; once more with the guest's current key, if that has changed."""
    known = _anew(project, cloud_pc, target)
    return ssh.run(known, command) if known else None


def _anew(project: Project, cloud_pc: CloudPCRecord, target: ssh.Target) -> ssh.Target | None:
    """Say why ssh did not get as far as the password; the target with the guest's current key, if that has changed."""
    config = project.host(cloud_pc)
    if config is None:
        err.print(f"cloudpc: {cloud_pc.policy} names no host {cloud_pc.recorded.host} that could say why")
        return None
    err.print(f"cloudpc: ssh did not get in; {config.name} is being asked why")
    machine_id = cloud_pc.recorded.machine_id
    guest_os = guests.named(cloud_pc.recorded.settings.guest_os)
    seen = unanswered.look(config, machine_id, guest_os, target.host_key, cloud_pc.policy)
    err.print(f"cloudpc: {seen.why}")
    return replace(target, host_key=seen.host_key) if seen.host_key else None
