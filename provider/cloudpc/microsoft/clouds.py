"""Microsoft's clouds: where a token may go, and where one signs in. Nowhere else does either go.

A policy names the endpoint, and whoever proposes a policy need not be who signs in: a host that is not one of these
would get the token of whoever runs it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import SplitResult, urlsplit

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Cloud:
    """One of Microsoft's, by the hosts of its services.

    Args:
        name: as `cloud` of a host in Azure has it.
        graph: of Microsoft Graph.
        sign_in: of Microsoft Entra.
        arm: of Azure Resource Manager.
        arm_scope: what a token for the latter is asked with.
    """

    name: str
    graph: str
    sign_in: str
    arm: str
    arm_scope: str


PUBLIC: Final = Cloud(
    "public", "graph.microsoft.com", "login.microsoftonline.com",
    "management.azure.com", "https://management.azure.com/.default",
)  # fmt: skip
US_GOVERNMENT: Final = Cloud(
    "usGovernment", "graph.microsoft.us", "login.microsoftonline.us",
    "management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net/.default",
)  # fmt: skip
CHINA: Final = Cloud(
    "china", "microsoftgraph.chinacloudapi.cn", "login.chinacloudapi.cn",
    "management.chinacloudapi.cn", "https://management.chinacloudapi.cn/.default",
)  # fmt: skip
CLOUDS: Final = (PUBLIC, US_GOVERNMENT, replace(US_GOVERNMENT, graph="dod-graph.microsoft.us"), CHINA)
"""Global, US Government L4 and L5, China. Source: get_arm_endpoints of azure-mgmt-core, Microsoft Graph "National cloud
deployments"."""
SIGN_IN: Final = {cloud.graph: cloud.sign_in for cloud in CLOUDS}
"""Where each cloud signs in, by the host of its Graph."""
_OTHER_SIGN_INS: Final = ("login.microsoft.com", "login.windows.net", "login.partner.microsoftonline.cn")
_HTTPS: Final = 443


def of_graph(endpoint: str) -> Cloud:
    """The cloud of this Graph; the public one where it is none of Microsoft's."""
    host = urlsplit(endpoint).hostname
    return next((cloud for cloud in CLOUDS if cloud.graph == host), PUBLIC)


def named(name: str) -> Cloud:
    """The cloud of that name."""
    return next(cloud for cloud in CLOUDS if cloud.name == name)


def endpoint(value: str) -> str:
    """The address of a Graph in its one form.

    Raises:
        ValueError: it is not one of Microsoft's clouds, nor on this machine's loopback.
    """
    hosts = " or ".join(f"https://{host}" for host in SIGN_IN)
    try:
        return _address(value, SIGN_IN)
    except ValueError as error:
        raise ValueError(f"{error}: it must be {hosts}, since the sign-in's token goes there") from None


def authority(value: str) -> str:
    """The address of a sign-in in its one form; a host alone is enough.

    Raises:
        ValueError: it is not one of Microsoft's clouds, nor on this machine's loopback.
    """
    hosts = sorted({*SIGN_IN.values(), *_OTHER_SIGN_INS})
    try:
        return _address(value if "://" in value else f"https://{value}", hosts)
    except ValueError as error:
        raise ValueError(f"{error}: it must be one of {', '.join(hosts)}") from None


def is_loopback(url: str) -> bool:
    """Whether an address, or a host, is this machine's own."""
    try:
        return urlsplit(url if "//" in url else f"https://{url}").hostname in LOOPBACK
    except ValueError:
        return False


def _address(value: str, hosts: Collection[str]) -> str:
    """Rebuilt from what was parsed, so that nothing remains which two parsers of addresses read differently."""
    parts, port = _parts(value)
    host = parts.hostname or ""
    if parts.path not in ("", "/") or parts.query or parts.fragment or value.rstrip("/").endswith(("?", "#")):
        raise ValueError("is more than scheme and host")
    if host in LOOPBACK and parts.scheme in ("http", "https"):
        shown = f"[{host}]" if ":" in host else host
        return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")
    if parts.scheme != "https":
        raise ValueError("does not begin with https:// (http:// is for this machine's loopback)")
    if host not in hosts or port not in (None, _HTTPS):
        raise ValueError("is none of Microsoft's clouds")
    return f"https://{host}"


def _parts(value: str) -> tuple[SplitResult, int | None]:
    if not value.isascii() or not value.isprintable() or set(value) & set(" \\"):
        raise ValueError("has characters that no address here has")
    if "@" in value:
        raise ValueError("has user information (before an @)")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError("is not an address") from None
    return parts, port
