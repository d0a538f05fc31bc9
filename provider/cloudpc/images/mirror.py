"""The Debian mirrors this machine is configured with, read through apt itself and handed to mmdebstrap."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

# Settings of apt that decide whether and how its mirror can be used; none of them is secret.
_KEPT_OPTIONS = re.compile(
    r"^(Acquire::(Check-Valid-Until|Check-Date|Retries|ForceIPv[46]|https?::(Timeout|CaInfo|Pipeline-Depth)) .*;)$",
    re.I,
)
_PROXY = re.compile(r'^Acquire::(?P<scheme>https?)::Proxy "(?P<url>[^"]+)";$', re.I)
_DEFAULT = "http://deb.debian.org"
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""Debian's own, which Ubuntu's apt does not trust by itself (package debian-archive-keyring)."""


@dataclass(frozen=True)
class Mirror:
    """Where packages come from.

    Args:
        sources: deb822 text for mmdebstrap's standard input.
        options: apt's settings for reaching it, as mmdebstrap's --aptopt takes them.
        proxies: environment variables with apt's proxies; they may hold a password, so they go nowhere else.
    """

    sources: str
    options: tuple[str, ...] = ()
    proxies: tuple[tuple[str, str], ...] = ()


def configured(suite: str) -> Mirror:
    """What apt is configured with for a Debian release; Debian's own mirror where apt has nothing for it.

    Apt's own answer covers both of its formats, parts folders and variables. Third parties that use Debian's suite
    names are left out: only the component `main` counts, and of several origins Debian's.
    """
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    targets = ("apt-get", "indextargets", "Created-By: Packages", "Target-Of: deb")
    # Only what was downloaded has an origin and a code name; the rest must be found just the same.
    downloaded = {_place(target): target for target in _stanzas(_apt(*targets))}
    found: dict[tuple[str, str], str] = {}
    others: dict[tuple[str, str], str] = {}
    for target in _stanzas(_apt(*targets, "--no-release-info")):
        known = downloaded.get(_place(target), {})
        if known.get("Codename", target["Release"]) in wanted and target["Component"] == "main":
            chosen = found if known.get("Origin", "Debian") == "Debian" else others
            chosen[_place(target)] = _stanza(*_place(target), _signed_by(target["Sourcesentry"]))
    stanzas = found or others
    if not stanzas:
        for name in wanted:
            uri = f"{_DEFAULT}/debian-security" if name.endswith("-security") else f"{_DEFAULT}/debian"
            stanzas[uri, name] = _stanza(uri, name, str(_KEYS) if _KEYS.is_file() else "")
    options, proxies = [], []
    for line in _apt("apt-config", "dump", "--no-empty").splitlines():
        if proxy := _PROXY.match(line):
            proxies.append((f"{proxy['scheme'].lower()}_proxy", proxy["url"]))
        elif _KEPT_OPTIONS.match(line):
            options.append(line)
    return Mirror("\n".join(stanzas[name] for name in sorted(stanzas)), tuple(sorted(options)), tuple(proxies))


def _place(target: dict[str, str]) -> tuple[str, str]:
    return target["Repo-URI"], target["Release"]


def _apt(*argv: str) -> str:
    """What an apt program says; nothing where there is no apt."""
    if shutil.which(argv[0]) is None:
        return ""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout


def _stanzas(text: str) -> list[dict[str, str]]:
    """deb822 text as one mapping per stanza; comments dropped."""
    parser = HeaderParser()
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return [dict(parser.parsestr(block.strip("\n")).items()) for block in re.split(r"\n\s*\n", lines) if block.strip()]


def _stanza(uri: str, suite: str, signed_by: str) -> str:
    lines = ["Types: deb", f"URIs: {uri}", f"Suites: {suite}", "Components: main"]
    if signed_by:
        lines.append(f"Signed-By: {signed_by}")
    return "\n".join(lines) + "\n"


def _signed_by(entry: str) -> str:
    """The key an entry of apt's sources names: a file, or the key itself. apt says which entry, but not its key.

    Args:
        entry: `FILE:N`, where N counts the lines of a .list file and the stanzas of a .sources file.
    """
    name, _, number = entry.rpartition(":")
    try:
        text = Path(name).read_text("utf-8")
    except OSError:
        return ""
    if name.endswith(".sources"):
        stanzas = _stanzas(text)
        index = int(number) - 1
        return stanzas[index].get("Signed-By", "").strip() if 0 <= index < len(stanzas) else ""
    lines = text.splitlines()
    index = int(number) - 1
    found = re.search(r"\[[^]]*signed-by=([^\s\]]+)", lines[index], re.I) if 0 <= index < len(lines) else None
    return found[1] if found else ""
