"""How a guest that was copied in the middle of its first boot becomes one of its own.

A template boots with `ARGUMENT` on its kernel's command line, does what is the same for all, writes `WAITING` and waits
for `IDENTITY`: with no network, no host key, no account. The order here is what makes a copy safe. Before anything is
drawn from the kernel's random generator it gets the host's randomness and is seeded again: all copies have the same
state, and would make the same keys.
"""

from __future__ import annotations

import secrets
import time
from uuid import UUID, uuid4

from cloudpc.model.guests import Script

ARGUMENT = "cloudpc.template"
"""On the kernel's command line of a template."""
WAITING, IDENTITY = "/run/cloudpc/waiting", "/run/cloudpc/identity"
SEED_FOLDER = "/var/lib/cloud/seed/nocloud"
"""Where cloud-init's NoCloud finds files instead of a medium."""
ENTROPY = 64
"""Bytes of the host's randomness."""
_SECONDS = 60.0
# 0x5207 is RNDRESEEDCRNG of linux/random.h. What is written without it would be used within a minute, and no sooner.
_RESEED = (
    f"sysread(STDIN, my $new, {ENTROPY}) == {ENTROPY} or die 'no entropy'; "
    "open my $kernel, '+<', '/dev/urandom' or die $!; "
    f"syswrite($kernel, $new) == {ENTROPY} or die $!; ioctl($kernel, 0x5207, 0) or die $!"
)
# A boot's id and the firmware's UUID can't be changed before the next start: the right ones cover them until then.
_IDENTIFY = """
set -eu
reseed=$1 mac=$2 machine_id=$3 boot_id=$4 uuid=$5 now=$6 seed=$7
perl -e "$reseed"
date -s "@$now" >/dev/null
for card in /sys/class/net/*; do
  [ -e "$card/device" ] || continue
  ip link set dev "${card##*/}" down
  ip link set dev "${card##*/}" address "$mac"
  [ "$(cat "$card/address")" = "$mac" ]
done
[ ! -e /etc/machine-id ] || echo "$machine_id" >/etc/machine-id
mkdir -p "$seed"
rm -f /etc/ssh/ssh_host_* /etc/dropbear/*host_key /var/lib/systemd/random-seed
over() {
  [ ! -e "$2" ] || { echo "$1" >"/run/cloudpc/$3"; chmod "$4" "/run/cloudpc/$3"; mount --bind "/run/cloudpc/$3" "$2"; }
}
over "$boot_id" /proc/sys/kernel/random/boot_id boot-id 444
over "$uuid" /sys/class/dmi/id/product_uuid product-uuid 400
"""


def identify(machine_id: UUID, mac: str) -> Script:
    """What a copy runs first: other than 0 means that it must not go on.

    Args:
        machine_id: its own.
        mac: of its card, which is down and stays so.
    """
    # systemd takes a virtual machine's id from its firmware's UUID: so does one that boots.
    own = (machine_id.hex, str(uuid4()), str(machine_id), f"{time.time():.0f}", SEED_FOLDER)
    return Script(
        text=_IDENTIFY,
        name="identify",
        arguments=(_RESEED, mac, *own),
        stdin=secrets.token_bytes(ENTROPY),
        timeout=_SECONDS,
        interpreter=("/bin/sh", "-c"),
    )
