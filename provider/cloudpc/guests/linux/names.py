"""Names as Linux takes them: of the machine, and of its user's account."""

from __future__ import annotations

import re
import unicodedata


def host_name(name: str) -> str:
    """The guest's host name: the device name in what DNS allows."""
    return re.sub(r"[^a-z0-9-]", "-", name.lower()).strip("-")


# Accounts and groups that a Linux system has or gives a meaning to: Debian's base-passwd, what usual packages add, and
# what sudo, PAM and xrdp look for. Groups count too, because an account brings a group of its own name.
_SYSTEM_NAMES = frozenset(
    "root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody nogroup "
    "adm tty disk kmem dialout fax voice cdrom floppy tape sudo audio dip operator src shadow utmp video sasl plugdev "
    "staff users input sgx kvm render crontab netdev bluetooth lpadmin scanner ssh sshd messagebus polkitd avahi "
    "colord dnsmasq docker geoclue gdm lightdm libvirt ntp postfix postdrop pulse rtkit saned tcpdump tss uuidd "
    "ssl-cert xrdp tsusers tsadmins "
    "admin wheel shutdown halt".split()
)
_SYSTEM_PREFIXES = ("systemd-", "libvirt-", "_")


def account_name(username: str) -> str:
    """The guest's account for a user: the local part of the userPrincipalName in what Linux allows."""
    plain = unicodedata.normalize("NFKD", username).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9_-]", "-", plain).strip("-")[:31] or "user"
    if name in _SYSTEM_NAMES or name.startswith(_SYSTEM_PREFIXES) or not re.match(r"[a-z]", name):
        name = f"u-{name}"[:31]
    return name
