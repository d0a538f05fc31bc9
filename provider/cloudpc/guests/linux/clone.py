"""How a guest that was copied in the middle of its first boot becomes one of its own.

A template boots with `ARGUMENT` on its kernel's command line, does what is the same for all, writes `WAITING` and waits
for `IDENTITY`: with no network, no host key, no account. The order here is what makes a copy safe. Before anything is
drawn from the kernel's random generator it gets the host's randomness and is seeded again: all copies have the same
state, and would make the same keys.

One program and no other does it all: under emulation each that is started takes a tenth of a second.
"""

from __future__ import annotations

import secrets
import time
from uuid import UUID, uuid4

from cloudpc.model.guests import Script, Seed

ARGUMENT = "cloudpc.template"
"""On the kernel's command line of a template."""
WAITING, IDENTITY = "/run/cloudpc/waiting", "/run/cloudpc/identity"
SEED_FOLDER = "/var/lib/cloud/seed/nocloud"
"""Where cloud-init's NoCloud finds files instead of a medium."""
ENTROPY = 64
"""Bytes of the host's randomness."""
_SECONDS = 120.0
# For Perl without modules. 0x5207 is RNDRESEEDCRNG of linux/random.h: what is written without it would be used within
# a minute, and no sooner. 227 and 165 are clock_settime and mount of x86-64, 4096 is MS_BIND, 0x89.. of sockios.h.
# A boot's id and the firmware's UUID can't be changed before the next start: the right ones cover them until then.
_IDENTIFY = r"""
my ($mac, $machine_id, $boot_id, $uuid, $now, $seed, @lengths) = @ARGV;
sub taken { my ($length) = @_; read(STDIN, my $bytes, $length) == $length or die "too little was sent\n"; $bytes }
sub put {
    my ($path, $mode, $text) = @_;
    unlink $path;
    sysopen(my $file, $path, 0301, $mode) or die "$path: $!\n"; # O_CREAT | O_EXCL | O_WRONLY
    print $file $text and chmod($mode, $path) and close $file or die "$path: $!\n";
}
sub made { my $path = ''; for (split m{/}, substr $_[0], 1) { mkdir($path .= "/$_", 0755) } }
sub inside { opendir(my $folder, $_[0]) or return (); grep { !/^\.\.?$/ } readdir $folder }

my $new = taken(64);
open my $kernel, '+<', '/dev/urandom' or die "/dev/urandom: $!\n";
syswrite($kernel, $new) == 64 && ioctl($kernel, 0x5207, 0) or die "the random generator was not seeded: $!\n";

my $time = pack 'q2', $now, 0;
syscall(227, 0, $time) == 0 or die "the clock was not set: $!\n";

socket(my $socket, 2, 2, 0) or die "no socket: $!\n";
for my $card (grep { -e "/sys/class/net/$_/device" } inside('/sys/class/net')) {
    my $asked = sub {
        my $request = pack 'a16 a24', $card, $_[1];
        ioctl($socket, $_[0], $request) or die "$card: $!\n";
        substr $request, 16;
    };
    my $flags = unpack 'S', $asked->(0x8913, '');
    $asked->(0x8914, pack 'S', $flags & ~1); # down
    my $own = join '', split /:/, $mac;
    $asked->(0x8924, pack 'S H12', 1, $own);
    $own eq unpack 'x2 H12', $asked->(0x8927, '') or die "$card did not take its address\n";
}

if (-e '/etc/machine-id') {
    open(my $file, '>', '/etc/machine-id') or die "machine-id: $!\n";
    print $file "$machine_id\n" and close $file or die "machine-id: $!\n";
}
unlink '/var/lib/systemd/random-seed', map { my $in = $_; map { "$in/$_" } grep { /^ssh_host_|host_key$/ } inside($in) }
    '/etc/ssh', '/etc/dropbear';
made('/run/cloudpc');
for (['boot-id', 0444, $boot_id, '/proc/sys/kernel/random/boot_id'],
     ['product-uuid', 0400, $uuid, '/sys/class/dmi/id/product_uuid']) {
    my ($name, $mode, $text, $over) = @$_;
    next unless -e $over;
    my ($right, $none) = ("/run/cloudpc/$name", '');
    put($right, $mode, "$text\n");
    syscall(165, $right, $over, $none, 4096, 0) == 0 or die "$over: $!\n";
}
made($seed);
put("$seed/$_", 0600, taken(shift @lengths)) for 'user-data', 'meta-data';
"""


def identify(machine_id: UUID, mac: str, seed: Seed) -> Script:
    """What a copy runs first: other than 0 means that it must not go on.

    Args:
        machine_id: its own.
        mac: of its card, which is down and stays so.
        seed: what it finds where its first boot looks for it.
    """
    files = [seed.user_data.encode(), seed.meta_data.encode()]
    # systemd takes a virtual machine's id from its firmware's UUID: so does one that boots.
    own = (machine_id.hex, str(uuid4()), str(machine_id), f"{time.time():.0f}", SEED_FOLDER)
    return Script(
        text=_IDENTIFY,
        name="--",  # what follows is the script's own, not perl's
        arguments=(mac, *own, *(str(len(file)) for file in files)),
        stdin=b"".join([secrets.token_bytes(ENTROPY), *files]),
        timeout=_SECONDS,
        interpreter=("perl", "-e"),
    )
