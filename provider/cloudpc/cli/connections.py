"""`cloudpc connection list|check`: network connections, their health, and who uses them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cloudpc.cli.context import Project
from cloudpc.cli.output import CommandError, Exit, Json, Styled, before_hints, err, out, print_json, styled, table
from cloudpc.configuration import offers, parsing
from cloudpc.configuration.lookups import CONNECTIONS
from cloudpc.connections import checks, files
from cloudpc.model import drivers
from cloudpc.model.check import Check, CheckStatus, overall
from cloudpc.model.connection import OnPremisesConnection
from cloudpc.model.hosts import HostConfig
from cloudpc.model.machines import Network
from cloudpc.model.problems import InvalidConfigurationError, Problem, closest
from cloudpc.operations.runtime import connect

app = typer.Typer(no_args_is_help=True, help="Network connections: the files in stacks/connections/, and their health.")

_COLOURS = {"passed": "green", "warning": "yellow", "failed": "red"}


@dataclass(frozen=True)
class _Uses:
    """Which policies name which connections, as their files say, right or wrong otherwise."""

    policies: dict[str, list[str]]
    """Connections of each policy, in its order."""
    hosts: dict[str, tuple[HostConfig, ...]]

    def of(self, connection: str) -> list[str]:
        """Policies that name it."""
        return [policy for policy, named in self.policies.items() if connection in named]

    def hosts_of(self, connection: str, network: Network) -> list[HostConfig]:
        """Where its Cloud PCs may go; all hosts there are where nobody uses it yet.

        Those that can't have such a network are left out, unless none can.
        """
        of = self.of(connection) or list(self.hosts)
        found = {host.where: host for policy in of for host in self.hosts.get(policy, ())}
        hosts = list(found.values()) or list(drivers.this_machine())
        return [host for host in hosts if offers.has(host, network)] or hosts


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List connections: network, domain, and the policies that use them. The network is not asked."""
    project = Project()
    uses = _uses(project)
    rows = [_row(project, name, uses) for name in files.names(_folder(project))]
    if as_json:
        print_json(rows)
        return
    shown = table("CONNECTION", "NETWORK", "DOMAIN", "POLICIES")
    for row in rows:
        network = "invalid; see `cloudpc connection check`" if row["problems"] else row["network"]
        shown.add_row(row["id"], network, row["adDomainName"], ", ".join(row["policies"]))
    if rows:
        out.print(shown)
    else:
        err.print(f"no connections in {_shown(project)}: policies use the hosted network (`regionName: automatic`)")
    _tell_unused([row["id"] for row in rows], uses, project)


@app.command()
def check(
    names: Annotated[list[str] | None, typer.Argument(help="Connections; default: all.")] = None,
    policy: Annotated[str | None, typer.Option("--policy", help="Those that this policy names.")] = None,
    as_json: Json = False,
) -> None:
    """Check the health of connections: network, addresses, DNS, domain, endpoints. Exits with 1 if one failed.

    A run does the same before it provisions. Only this machine and the hosts are asked: what guests see
    may differ if firewalls treat them differently.
    """
    project = Project()
    uses = _uses(project)
    chosen = _chosen(project, names or [], policy, uses)
    read = _read(project, chosen)
    results = _looked_at(project, read, uses)
    if as_json:
        print_json([_as_json(name, read[name], found) for name, found in results.items()])
    elif results:
        _print(results)
    else:
        err.print(f"no connections to check in {_shown(project)}")
    if policy is None:
        _tell_unused(chosen, uses, project)
    if any(overall(found) == "failed" for found in results.values()):
        raise typer.Exit(Exit.ERROR)


def health(project: Project) -> dict[str, list[Check]]:
    """Of all connections that can be read, by name; asks the network, and may take half a minute.

    Raises:
        ProvisioningError: a host's driver is not there.
    """
    read: dict[str, OnPremisesConnection] = {}
    for name in files.names(_folder(project)):
        with contextlib.suppress(InvalidConfigurationError):  # `cloudpc policy validate` reports it
            read |= _read(project, [name])
    return _looked_at(project, read, _uses(project))


def _looked_at(project: Project, read: Mapping[str, OnPremisesConnection], uses: _Uses) -> dict[str, list[Check]]:
    folder = _folder(project)
    asked = {name: uses.hosts_of(name, connection.network) for name, connection in read.items()}
    hosts = {host.where: connect(host) for configs in asked.values() for host in configs}

    def look(name: str) -> list[Check]:
        mine = [hosts[host.where] for host in asked[name]]
        return checks.check(name, read[name], read[name].network, mine, folder, domain=True)

    try:
        with ThreadPoolExecutor(max(1, len(read))) as pool:
            return dict(zip(read, pool.map(look, read), strict=True))
    finally:
        for host in hosts.values():
            host.close()


def _folder(project: Project) -> Path:
    return project.stacks_folder / CONNECTIONS


def _shown(project: Project) -> str:
    return f"{project.stacks_folder.name}/{CONNECTIONS}/"


def _uses(project: Project) -> _Uses:
    """Read leniently: this command does not report what is wrong with a policy."""
    named: dict[str, list[str]] = {}
    hosts: dict[str, tuple[HostConfig, ...]] = {}
    for policy in project.policy_ids():
        try:
            values = project.values(policy)
        except InvalidConfigurationError:
            continue
        named[policy] = _named(values.get("cloudpc:policy"))
        try:
            hosts[policy] = parsing.parse_surroundings({**values, "cloudpc:images": None}).hosts
        except InvalidConfigurationError:
            hosts[policy] = ()
    return _Uses(named, hosts)


def _named(policy: object) -> list[str]:
    joins = policy.get("domainJoinConfigurations") if isinstance(policy, dict) else None
    entries = joins if isinstance(joins, list) else []
    ids = [entry.get("onPremisesConnectionId") for entry in entries if isinstance(entry, dict)]
    return list(dict.fromkeys(id_ for id_ in ids if isinstance(id_, str)))


def _chosen(project: Project, names: Sequence[str], policy: str | None, uses: _Uses) -> list[str]:
    """Raises CommandError for a name that nothing has."""
    known = files.names(_folder(project))
    if policy is not None:
        project.check_policy(policy, [])
        named = uses.policies.get(policy, [])
        if missing := [name for name in names if name not in named]:
            message = (
                f"{policy} does not use {', '.join(missing)}, but: {', '.join(named) or 'the hosted network only'}"
            )
            raise CommandError(message, Exit.INVALID)
        names = names or named
        if not names:
            return []
    for name in names:
        if name not in known:
            there = ", ".join(known) or "none"
            message = f"there is no {_shown(project)}{name}.yaml{closest(name, known)}; connections there: {there}"
            raise CommandError(message, Exit.INVALID)
    return list(dict.fromkeys(names or known))


def _read(project: Project, names: Iterable[str]) -> dict[str, OnPremisesConnection]:
    """Raises InvalidConfigurationError with the problems of all files."""
    found: dict[str, OnPremisesConnection] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            found[name] = files.read(_folder(project), name)
        except InvalidConfigurationError as error:
            problems += error.problems
    if problems:
        raise InvalidConfigurationError(problems)
    return found


def _row(project: Project, name: str, uses: _Uses) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": name, "displayName": "", "network": "", "adDomainName": "", "policies": uses.of(name), "problems": [],
    }  # fmt: skip
    try:
        connection = files.read(_folder(project), name)
    except InvalidConfigurationError as error:
        return {**row, "problems": [str(problem) for problem in error.problems]}
    network = connection.network
    return {
        **row,
        "displayName": connection.display_name,
        "network": f"{network.kind} {network.source}".strip(),
        "adDomainName": connection.ad_domain_name or "",
    }


def _as_json(name: str, connection: OnPremisesConnection, found: Sequence[Check]) -> dict[str, Any]:
    """In the terms of Graph's `cloudPcOnPremisesConnection`."""
    shown = [
        {
            "displayName": one.what,
            "status": one.status,
            "errorType": one.error_type,
            "recommendedAction": one.hint,
            "additionalDetail": one.detail,
        }
        for one in found
    ]
    return {
        "id": name,
        "displayName": connection.display_name,
        "healthCheckStatus": overall(found),
        "healthCheckStatusDetail": {"healthChecks": shown},
    }


def _print(results: dict[str, list[Check]]) -> None:
    shown = table("CONNECTION", "CHECK", "STATUS", "ERROR TYPE", "DETAIL")
    for name, found in results.items():
        shown.add_row(styled(name, "bold"), "", _coloured(overall(found)), "", "")
        for one in found:
            action = f"{before_hints()}{one.hint}" if one.hint else ""
            detail = one.detail + action
            shown.add_row("", one.what, _coloured(one.status), one.error_type, detail)
    out.print(shown)


def _coloured(status: CheckStatus) -> Styled:
    return styled(status, _COLOURS[status])


def _tell_unused(names: Iterable[str], uses: _Uses, project: Project) -> None:
    if unused := [name for name in names if not uses.of(name)]:
        err.print(f"used by no policy: {', '.join(f'{_shown(project)}{name}.yaml' for name in unused)}")
