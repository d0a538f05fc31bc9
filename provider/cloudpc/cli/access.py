"""`cloudpc credentials` and `cloudpc connect`."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from cloudpc.cli.cloud_pcs import Json
from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit, out, print_json, table
from cloudpc.cloud_pc import Status
from cloudpc.iac.fleet import CloudPCRecord

User = Annotated[str, typer.Argument(help="userPrincipalName, its part before the @, or the user's id.")]
Policy = Annotated[str | None, typer.Option("--policy", help="Which one, where several policies serve the user.")]
Plan = Annotated[str | None, typer.Option("--service-plan", help="Which one, where the user has several.")]

# ssh asks its questions through this program; it answers only the one it was made for, so that a jump host's or a
# key's question never gets a Cloud PC's password
_ASKPASS = """#!/bin/sh
case "$1" in
  "$CLOUDPC_PROMPT"*) exec cat "$CLOUDPC_PASSWORD_FILE" ;;
  *) exit 1 ;;
esac
"""


def credentials(user: User, service_plan: Plan = None, policy: Policy = None, as_json: Json = False) -> None:
    """Show what a user signs in with. Handle it as the secret that it is."""
    cloud_pc = _usable(Project().with_secrets(user, service_plan, policy))
    secret, connection = cloud_pc.outputs["credentials"], cloud_pc.outputs["connection"]
    if as_json:
        print_json(
            {
                "userPrincipalName": cloud_pc.user_principal_name,
                "deviceName": cloud_pc.device_name,
                **secret,
                "connection": _connection(connection),
                "hostKey": cloud_pc.outputs["hostKey"],
            }
        )
        return
    shown = table("", "")
    shown.show_header = False
    rows = {
        "Device": cloud_pc.device_name,
        "User": secret["user"],
        "Password": secret["password"],
        "Temporary Access Pass": _pass(secret.get("temporaryAccessPass")),
        "Address": f"{connection['host']}:{int(connection['port'])}",
        "Through": connection.get("via"),
        "Host key": cloud_pc.outputs["hostKey"],
    }
    for name, value in rows.items():
        if value:
            shown.add_row(name, value)
    out.print(shown)
    out.print(f"Connect with: cloudpc connect {cloud_pc.user_principal_name}", markup=False)


def _pass(given: dict[str, Any] | None) -> str | None:
    if given is None:
        return None
    once = ", for one sign-in" if given["isUsableOnce"] else ""
    start = f" from {given['startDateTime']}" if given["startDateTime"] else ""
    return (
        f"{given['temporaryAccessPass']} (for Microsoft Entra, {int(given['lifetimeInMinutes'])} minutes{start}{once})"
    )


def connect(
    user: User,
    command: Annotated[list[str] | None, typer.Argument(help="A command to run there, after `--`.")] = None,
    service_plan: Plan = None,
    policy: Policy = None,
) -> None:
    """Open ssh to a user's Cloud PC, with its pinned host key; `-- COMMAND` runs a command there.

    Ends with the command's own exit code. Several words reach it as they are; one quoted word is a line of shell.
    """
    cloud_pc = _usable(Project().with_secrets(user, service_plan, policy))
    with tempfile.TemporaryDirectory(prefix="cloudpc-", dir=os.environ.get("XDG_RUNTIME_DIR")) as folder:
        raise typer.Exit(_ssh(cloud_pc, command or [], Path(folder)))


def _ssh(cloud_pc: CloudPCRecord, command: list[str], folder: Path) -> int:
    outputs, alias = cloud_pc.outputs, cloud_pc.device_name.lower()
    secret, connection = outputs["credentials"], outputs["connection"]
    known_hosts, password, askpass = folder / "known_hosts", folder / "password", folder / "askpass"
    # ports on a loopback address are given again: the key is pinned to the device, not to the address
    known_hosts.write_text(f"{alias} {outputs['hostKey']}\n", encoding="ascii")
    os.mkfifo(password, 0o600)  # the password itself is never on a disk, whatever ends this process
    threading.Thread(target=_hand_over, args=(password, secret["password"]), daemon=True).start()
    askpass.write_text(_ASKPASS, encoding="ascii")
    askpass.chmod(0o700)
    options = {
        "HostKeyAlias": alias,
        "UserKnownHostsFile": shlex.quote(str(known_hosts)) if " " in str(known_hosts) else str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "NumberOfPasswordPrompts": "1",
        "LogLevel": "ERROR",
    }
    argv = ["ssh", *(f"-o{name}={value}" for name, value in options.items())]
    if via := connection.get("via"):
        argv += ["-J", via]
    argv += ["-p", str(int(connection["port"])), "-l", secret["user"], connection["host"]]
    # ssh hands one line to the shell there: several words are words there, too; a single one may be a line of shell
    argv += ["--", shlex.join(command) if len(command) > 1 else command[0]] if command else []
    env = os.environ | {
        "SSH_ASKPASS": str(askpass),
        "SSH_ASKPASS_REQUIRE": "force",
        "CLOUDPC_PROMPT": f"{secret['user']}@{alias}'s password:",
        "CLOUDPC_PASSWORD_FILE": str(password),
    }
    try:
        return subprocess.call(argv, env=env)
    except FileNotFoundError:
        raise CommandError("there is no `ssh` on the PATH: install openssh-client") from None


def _hand_over(pipe: Path, password: str) -> None:
    """Give the password to whoever asks first, which is ssh's question."""
    with contextlib.suppress(OSError):  # ssh ended without asking
        pipe.write_text(password + "\n", encoding="utf-8")


def _usable(cloud_pc: CloudPCRecord) -> CloudPCRecord:
    if "credentials" in cloud_pc.outputs and "connection" in cloud_pc.outputs and cloud_pc.status != Status.FAILED:
        return cloud_pc
    detail: dict[str, Any] = cloud_pc.outputs.get("statusDetail") or {}
    why = f": {detail['message']} [{detail['code']}]" if detail else ""
    message = (
        f"the Cloud PC of {cloud_pc.user_principal_name} is {cloud_pc.status}, there is nothing to sign in to{why}"
    )
    raise CommandError(message, Exit.FAILED_CLOUD_PC)


def _connection(connection: dict[str, Any]) -> dict[str, Any]:
    return {**connection, "port": int(connection["port"])}
