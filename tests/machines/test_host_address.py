"""What libvirt makes of a connection URI, and that we make the same of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudpc.machines.libvirt.address import Address
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.model.ssh_hop import SshHop

# libvirt runs this as its ssh, in an environment of its own making
_RECORDER = """#!/bin/sh
printf '%s\\0' "$@" >"$0.record"
exit 1
"""
_OPEN = """
import sys, libvirt
try:
    libvirt.open(sys.argv[1])
except libvirt.libvirtError:
    pass
"""

_BY_SSH = [
    "qemu+ssh://kvm1/system", "qemu+ssh:///system", "qemu+ssh://root@localhost:2222/system",
    "qemu+ssh://root@KVM1/session", "qemu+ssh://root@k%76m1.example/system", "qemu+ssh://root@[fd00::5]:2222/system",
    "qemu+ssh://[fe80::5%25eth0]/system", "qemu+ssh://[fe80::5%eth0]/system", "qemu+ssh://[::1]/system",
    "qemu+ssh://DOM%5Cadmin@kvm1:22/system", "qemu+ssh://admin%40corp@kvm1/system",
    "qemu+ssh://kvm1:0/system", "qemu+ssh://kvm1/system#there", "qemu+ssh://kvm1/system?no_tty=0#there",
    "qemu+ssh://kvm1/system?keyfile=/k", "qemu+ssh://kvm1/system?KeyFile=/a+b%20c", "qemu+ssh://kvm1/system?keyfile=/a;no_tty=1",
    "qemu+ssh://kvm1/system?keyfile=/a&keyfile=/z", "qemu+ssh://kvm1/system?no_verify=1", "qemu+ssh://kvm1/system?no_verify=0",
    "qemu+ssh://kvm1/system?netcat=/bin/nc&socket=/run/x%20y&mode=legacy&proxy=netcat",
    "qemu+ssh://kvm1/system?sshauth=privkey&known_hosts=/x&known_hosts_verify=ignore", "qemu+ssh://127.0.0.1/system",
    "qemu+ssh://kvm1/", "qemu+ssh://kvm1",
]  # fmt: skip


@pytest.fixture
def ssh_of_libvirt(tmp_path: Path) -> Callable[[str], list[str]]:
    """What libvirt gives ssh to open a URI."""
    ssh, record = tmp_path / "ssh", tmp_path / "ssh.record"
    ssh.write_text(_RECORDER)
    ssh.chmod(0o700)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run(uri: str) -> list[str]:
        subprocess.run([sys.executable, "-c", _OPEN, uri], env=env, capture_output=True, timeout=60, check=False)
        return record.read_text().split("\0")

    return run


@pytest.mark.parametrize("uri", _BY_SSH)
def test_connect_goes_where_libvirt_goes(uri: str, ssh_of_libvirt: Callable[[str], list[str]]) -> None:
    given = ssh_of_libvirt(Address(uri).for_opening)
    hop = Address(uri).hop
    assert hop is not None
    before, host = given[: given.index("--")], given[given.index("--") + 1]
    options = {before[i]: before[i + 1] for i in range(len(before) - 1) if before[i] in ("-l", "-p", "-i")}
    options |= dict(o.split("=") for o in before if "=" in o)
    assert options.pop("BatchMode", None) == (None if "no_tty=0" in uri else "yes"), (
        "libvirt's ssh would wait for a typist"
    )
    ours = {"-l": hop.user, "-p": str(hop.port or ""), **dict(hop.options)}
    if "IdentityFile" in ours:
        ours["-i"] = ours.pop("IdentityFile").strip('"')
    assert {name: value for name, value in ours.items() if value} == options
    assert hop.host == host


@pytest.mark.parametrize(
    ("uri", "local", "session", "via"),
    [
        ("qemu:///system", True, False, ""),
        ("qemu:///session", True, True, ""),
        ("qemu+unix:///system?socket=/tmp/x", True, False, ""),
        ("qemu+tcp://127.0.0.1:1234/system", False, False, "127.0.0.1"),
        ("qemu+tcp:///system", False, False, "localhost"),
        ("qemu+ssh://root@localhost:2222/system", False, False, "root@localhost:2222"),
        ("qemu://localhost/system", False, False, "localhost"),
        ("qemu+ssh://admin@kvm1/system", False, False, "admin@kvm1"),
        ("qemu+ssh://admin@kvm1:2222/system", False, False, "admin@kvm1:2222"),
        ("qemu+ssh://root@[fd00::5]:2222/system", False, False, "root@[fd00::5]:2222"),
        ("qemu+libssh://root@[fd00::5]/system", False, False, "root@[fd00::5]"),
        ("qemu+ssh://kvm1/session", False, True, "kvm1"),
        ("qemu+ssh://KVM1/session/", False, True, "KVM1"),
        ("qemu+tls://kvm1.example/system", False, False, "kvm1.example"),
        ("qemu://kvm1.example/system", False, False, "kvm1.example"),
        ("qemu+tls://kvm1.example:16515/system", False, False, "kvm1.example"),
        ("qemu+ext://kvm1/system?command=/bin/dial", False, False, "kvm1"),
    ],
)
def test_addresses(uri: str, local: bool, session: bool, via: str) -> None:
    config = LibvirtHostConfig(name="a", uri=uri)
    assert (config.address.is_local, config.address.is_session) == (local, session)
    assert (config.way.destination if config.way else "") == via
    elsewhere = LibvirtHostConfig(name="a", uri=uri, sshDestination="jump,me@[::1]:7").way
    assert elsewhere is not None
    assert elsewhere.destination == "jump,me@[::1]:7"
    assert LibvirtHostConfig(name="a", uri=uri, sshDestination="").way is None


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"UserKnownHostsFile": '"/c/libvirt/known_hosts" "~/.ssh/known_hosts"'}),
        ("known_hosts=/a%20b%25c", {"UserKnownHostsFile": '"/a b%%c"'}),
        ("known_hosts_verify=ignore", {"UserKnownHostsFile": '"/dev/null"', "StrictHostKeyChecking": "no"}),
        (
            "Known_Hosts_Verify=auto&known_hosts=/k",
            {"UserKnownHostsFile": '"/k"', "StrictHostKeyChecking": "accept-new"},
        ),
        (
            "sshauth=agent,privkey,password&known_hosts=/k&keyfile=/%25d",
            {
                "UserKnownHostsFile": '"/k"', "PreferredAuthentications": "publickey,password",
                "IdentityFile": '"/%%d"',
            },
        ),
    ],
)  # fmt: skip
def test_ssh_is_told_what_libssh_is_told(query: str, options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/c")
    hop = Address(f"qemu+libssh://kvm1/system?{query}").hop
    assert hop is not None
    assert dict(hop.options) == options


def test_another_ssh_program_is_used_for_the_way_too() -> None:
    hop = Address("qemu+ssh://kvm1/system?command=/opt/my%20ssh").hop
    assert hop is not None
    assert hop.forwarding("127.0.0.1", 1)[0] == "/opt/my ssh"


def test_what_libvirt_is_given_stays_as_it_was_written() -> None:
    assert Address("qemu+ssh://kvm1/system").for_opening == "qemu+ssh://kvm1/system?no_tty=1"
    kept = "qemu+ssh://kvm1/system?keyfile=/home/a+b%20c/key&No_TTY=0"
    assert Address(kept).for_opening == kept
    assert Address("qemu+ssh://kvm1/system?name=b#c").for_opening == "qemu+ssh://kvm1/system?name=b&no_tty=1#c"
    assert Address("qemu:///system").for_opening == "qemu:///system"


@pytest.mark.parametrize(
    "uri",
    [
        "qemu+ssh://fd00::5/system", "qemu+ssh://kvm1:/system", "qemu+ssh://kvm1:x/system", "qemu+ssh://[kvm1/system",
        "qemu+ssh://a@b@kvm1/system", "qemu:///system ", "qemu+ssh://kvm 1/system", "qemu+ssh://kvm1:70000/system",
        "qemu+foo://kvm1/system", "qemu+unix://kvm1/system", "qemu+ext://kvm1/system", "qemu+ssh://-oX=y/system",
        "qemu+ssh://kvm1/system?password=x", "qemu+ssh://kvm1/system?key_file=/k", "qemu:///system?a=b#c",
        "qemu+ssh://%2doX=y/system", "qemu+ext:///system?command=/bin/dial", "qemu+ssh://[kvm1]/system", "qemu:///a\nb",
        "qemu+ssh://%2dl@kvm1/system", "qemu+ssh://-l@kvm1/system", "qemu+ssh://kvm1%0ax/system",
        "qemu+ssh://u%00@kvm1/system", "qemu+ssh://a%20b@kvm1/system", "qemu+ssh://kvm%C2%9B1/system",
        "qemu+ssh://kvm1%7f/system", "qemu+ssh://a%2cb@kvm1/system", "qemu+tls://a%40kvm1/system",
        "qemu+ssh://kvm1/system?keyfile=/x%00y", "qemu+ssh://kvm1/system?keyfile=/x%0Ay", "qemu:///system?socket=/x%0dy",
    ],
)  # fmt: skip
def test_what_libvirt_can_not_use_is_no_host(uri: str) -> None:
    with pytest.raises(ValueError, match=r"libvirt|name|needs|NUL|65535|must be a URI|two @"):
        LibvirtHostConfig(name="a", uri=uri)


@pytest.mark.parametrize(
    ("uri", "lacks"),
    [
        ("qemu:///system?no_verify=1", ""),
        ("qemu+ssh://kvm1/system", ""),
        ("qemu+ssh://kvm1/system?no_verify=0", ""),
        ("qemu+ssh://kvm1/system?no_verify=1", "nothing proves"),
        ("qemu://kvm1/system?No_Verify=1", "nothing proves"),
        ("qemu+tls://kvm1/system", ""),
        ("qemu+tcp://kvm1/system", "neither encrypts"),
        ("qemu+tcp://10.0.0.1/system", "neither encrypts"),
        ("qemu+tcp://localhost:1234/system", ""),
        ("qemu+tcp://[::1]/system", ""),
        ("qemu+libssh://kvm1/system?known_hosts_verify=ignore", "nothing proves"),
        ("qemu+libssh2://kvm1/system?known_hosts_verify=AUTO", "first key"),
        ("qemu+libssh://kvm1/system?known_hosts_verify=normal", ""),
        ("qemu+ssh://kvm1/system?known_hosts_verify=ignore", ""),  # which ssh itself is not told
    ],
)
def test_what_a_connection_lacks(uri: str, lacks: str) -> None:
    """`cloudpc doctor` warns of it."""
    found = Address(uri).unprotected
    assert lacks in found
    assert bool(found) == bool(lacks)


@pytest.mark.parametrize(
    "destination",
    [
        "a b", "[fd00::5", "fd00::5", "kvm1:", "kvm1:0", ",kvm1", "kvm1,", "a/b", "kvm1:99999", "ssh://a b",
    ],
)  # fmt: skip
def test_what_ssh_can_not_take_is_no_destination(destination: str) -> None:
    with pytest.raises(ValueError, match="-J"):
        LibvirtHostConfig(name="a", uri="qemu+ssh://kvm1/system", sshDestination=destination)


@pytest.mark.parametrize(
    ("destination", "problem"),
    [
        *(("-oX=y", "host whose name begins"), ("ssh://%2doProxyCommand=x", "host whose name begins")),
        *(("-l@kvm1", "user whose name begins"), ("ssh://%2dl@kvm1", "user whose name begins")),
        *(("ssh://%2dl@kvm1,kvm2", "user whose name begins"), ("kvm1,ssh://%2dx", "host whose name begins")),
        *(("ssh://h%0ax", "host whose name contains"), ("ssh://h%20x", "host whose name contains")),
        *(("ssh://u%00@h", "user whose name contains"), ("ssh://a%20b@h", "user whose name contains")),
        *(("h\x7f", "host whose name contains"), ("ssh://u%C2%9B@h", "user whose name contains")),
        *(("ssh://a%2cb@h", "user whose name contains"), ("ssh://a%40h", "host whose name contains")),
    ],
)
def test_a_percent_sign_hides_nothing_from_what_is_refused(destination: str, problem: str) -> None:
    """Programs are given the decoded names: as options, as lines of files, in commands that people copy."""
    with pytest.raises(ValueError, match=problem):
        SshHop.parse(destination)


@pytest.mark.parametrize(
    "destination", ["kvm1", "me@kvm1:22", "me@corp@kvm1", "ssh://me%2Eyou@kvm1:22", "a@b,[::1]:7,c"]
)
def test_a_destination_leads_where_ssh_would_go(destination: str) -> None:
    """As ssh itself understands what it is given with -J."""
    hop = SshHop.parse(destination)
    assert hop is not None
    before, _, last = destination.rpartition(",")
    said = _resolved(*hop.forwarding("127.0.0.1", 5)[1:-4], "--", hop.host)
    wanted = _resolved(f"ssh://{last}" if ":22" in last and "//" not in last else last)
    assert {name: said[name] for name in _PLACE} == {name: wanted[name] for name in _PLACE}
    assert said.get("proxyjump", "") == before


_PLACE = ("hostname", "user", "port")


def _resolved(*arguments: str) -> dict[str, str]:
    argv = ["ssh", "-G", "-F", "/dev/null", *arguments]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return dict(line.partition(" ")[::2] for line in said.splitlines())
