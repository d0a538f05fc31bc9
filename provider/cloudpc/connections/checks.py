"""What makes a network connection healthy: its network on the hosts, its domain, what must be reachable.

Looked at from where this runs, which for DNS, domain and endpoints need not be what a guest sees.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from cloudpc.model import drivers
from cloudpc.model.check import Check, overall
from cloudpc.model.connection import OnPremisesConnection, host_and_port
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Host, Network

CONNECT_TIMEOUT = 5.0
"""Seconds for which an endpoint is waited for."""
_AT_ONCE = 32
_Part = tuple[str, Callable[[], Sequence[Check]]]
"""One of Graph's families of errorTypes, and its check."""

log = logging.getLogger(__name__)


def check(
    name: str, connection: OnPremisesConnection, network: Network, hosts: Sequence[Host], folder: Path, *, domain: bool
) -> list[Check]:
    """All checks of one connection, side by side. Raises nothing.

    Args:
        name: its file's, without .yaml.
        connection: what the file says.
        network: where machines are plugged in; the file's own, or what was read from it before.
        hosts: where machines may go.
        folder: of the connections' files.
        domain: whether machines join its domain, if it has one.
    """
    parts: list[_Part] = [("resourceAvailabilityCheck", partial(_network, hosts, network))]
    if domain and connection.ad_domain_name is not None:
        parts.append(("dnsCheck", partial(_dns, connection)))
        parts.append(("adJoinCheck", partial(_domain, name, connection, folder)))
    parts += [("endpointConnectivityCheck", partial(_endpoint, endpoint)) for endpoint in connection.endpoints]
    with ThreadPoolExecutor(min(len(parts), _AT_ONCE)) as pool:
        return [found for checks in pool.map(_guarded, parts) for found in checks]


def _guarded(part: _Part) -> Sequence[Check]:
    family, look = part
    try:
        return look()
    except Exception as error:
        # whatever goes wrong in one check, the others are reported all the same
        hint = error.hint if isinstance(error, ProvisioningError) else ""
        detail = str(error) if isinstance(error, ProvisioningError) else f"unexpected {type(error).__name__}: {error}"
        log.debug("a health check of the family %s", family, exc_info=True)
        return [Check(family, "failed", detail, hint, f"{family}UnknownError")]


# ---- the network


def _network(hosts: Sequence[Host], network: Network) -> list[Check]:
    """One host that has the network is enough: Cloud PCs go there, and the others are worth a warning."""
    if not hosts:
        return []
    with ThreadPoolExecutor(len(hosts)) as pool:
        answers = list(pool.map(partial(_on_host, network), hosts))
    usable = any(found is not None and overall(found) != "failed" for found, _ in answers)
    checks: list[Check] = []
    for host, (found, trouble) in zip(hosts, answers, strict=True):
        for one in [*(found or ()), *trouble]:
            status = "warning" if usable and one.status == "failed" else one.status
            checks.append(replace(one, what=f"{one.what} on {host.name}", status=status))
    return checks


def _on_host(network: Network, host: Host) -> tuple[list[Check] | None, list[Check]]:
    """What a host answered, and what it did not."""
    what = drivers.words_of(network)
    try:
        return host.check_network(network), []
    except ProvisioningError as error:
        if error.code is ErrorCode.NETWORK_NOT_FOUND:
            kind = "resourceAvailabilityCheckVNetInvalid"
            return [Check(what, "failed", error.message, error.hint, kind)], []
        # not the network's fault: placing says what to do about a host that does not answer
        kind = "resourceAvailabilityCheckTransientServiceError"
        return None, [Check(what, "warning", error.message, error.hint, kind)]


# ---- the domain


def _dns(connection: OnPremisesConnection) -> list[Check]:
    """One controller that is found is enough; nothing is asked where the file says where all of them are."""
    controllers = connection.domain_controllers
    names = [controller.name for controller in controllers if controller.address is None]
    if not controllers and connection.ad_domain_name is not None:
        names = [connection.ad_domain_name]
    checks = [_resolved(name) for name in names]
    if len(names) < len(controllers) or any(check.status == "passed" for check in checks):
        return [replace(check, status="warning") if check.status == "failed" else check for check in checks]
    return checks


def _resolved(name: str) -> Check:
    what = f"DNS name {name}"
    try:
        found = {str(answer[4][0]) for answer in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except UnicodeError:
        action = "Correct the name in the connection's file."
        return Check(what, "failed", "is not a possible DNS name", action, "dnsCheckNameWithInvalidCharacter")
    except socket.gaierror as error:
        unknown = error.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
        kind = "dnsCheckFqdnNotFound" if unknown else "dnsCheckUnknownError"
        action = (
            "Let this machine ask the domain's own DNS servers, or name its controllers with their address under "
            "domainControllers."
        )
        return Check(what, "failed", f"can't be resolved here: {error.strerror}", action, kind)
    return Check(what, "passed", ", ".join(sorted(found)))


def _domain(name: str, connection: OnPremisesConnection, folder: Path) -> Sequence[Check]:
    from cloudpc.devices.active_directory import ActiveDirectory

    return ActiveDirectory(name, connection, folder).check()


# ---- what must be reachable


def _endpoint(endpoint: str) -> list[Check]:
    what = f"endpoint {endpoint}"
    try:
        socket.create_connection(host_and_port(endpoint), CONNECT_TIMEOUT).close()
    except (OSError, UnicodeError) as error:
        said = error.strerror if isinstance(error, OSError) else None
        reason = f"no answer within {CONNECT_TIMEOUT:.0f} s" if isinstance(error, TimeoutError) else said or error
        action = "Open the way to it in firewall and proxy, or take it out of the connection's endpoints."
        return [Check(what, "failed", str(reason), action, "endpointConnectivityCheckUnknownError")]
    return [Check(what, "passed", "reachable from here")]
