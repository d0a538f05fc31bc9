"""A real ssh gets in, whatever somebody's ssh configuration, agent, shell and folders are, and takes nothing along."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloudpc.cli import ssh
from cloudpc.cli.output import CommandError
from cloudpc.model.ssh_hop import SshHop
from tests.access import station as stations
from tests.access.station import PASSWORD, Station
from tests.support.waiting import wait_until

KEYS = 6
"""As many as sshd lets anybody try."""


@pytest.fixture(scope="module")
def _station() -> Iterator[Station]:
    if os.geteuid() != 0:
        pytest.skip("only root may give sshd users of the tests' own")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # its users read their keys themselves
        running = stations.start(Path(folder))
        for number in range(KEYS):
            stations.key(running.folder / f"{number}.key")
        yield running
        running.stop()


@pytest.fixture
def station(_station: Station, monkeypatch: pytest.MonkeyPatch) -> Station:
    monkeypatch.setenv("PATH", f"{_station.bin}:{os.environ['PATH']}")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    _station.configure("")
    (_station.home / ".ssh" / "known_hosts").write_text(
        f"[127.0.0.1]:{_station.host_port} {_station.host_key('host')}\n"
    )
    return _station


@pytest.fixture(scope="module")
def _agent(_station: Station) -> Iterator[str]:
    there = str(_station.folder / "agent")
    running = subprocess.Popen(["ssh-agent", "-D", "-a", there], stdout=subprocess.DEVNULL)
    files = [str(_station.folder / f"{number}.key") for number in range(KEYS)]
    add, env = ["ssh-add", "-q", *files, str(_station.user_key)], os.environ | {"SSH_AUTH_SOCK": there}
    wait_until(lambda: subprocess.run(add, env=env, capture_output=True, check=False).returncode == 0, 10, "no agent")
    yield there
    running.terminate()
    running.wait()


@pytest.fixture
def agent(_agent: str, station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more keys than a server lets anybody try."""
    monkeypatch.setenv("SSH_AUTH_SOCK", _agent)


def target(station: Station, **changes: object) -> ssh.Target:
    given: dict[str, object] = {
        "name": "CPC-ALICE-BCDFG", "host": "127.0.0.1", "port": station.guest_port, "user": "alice",
        "password": PASSWORD, "host_key": station.host_key("guest"),
    }  # fmt: skip
    return ssh.Target(**{**given, **changes})  # type: ignore[arg-type]


def through(station: Station, way: str = "kvm1", **changes: object) -> ssh.Target:
    return target(station, way=SshHop.parse(way), **changes)


def kvm1(station: Station, *settings: str) -> str:
    lines = [
        "HostName 127.0.0.1", f"Port {station.host_port}", "User admin", f"IdentityFile {station.user_key}",
        "IdentitiesOnly yes", *settings,
    ]  # fmt: skip
    return "Host kvm1 kvm1.alias\n" + "".join(f"  {line}\n" for line in lines)


@pytest.fixture
def gets_in(capfd: pytest.CaptureFixture[str]) -> Callable[[ssh.Target], None]:
    """A command runs there, its exit code is ours, nothing else is said, and nothing was taken along."""

    def check(given: ssh.Target) -> None:
        capfd.readouterr()
        ended = ssh.run(given, ['echo "in:$SSH_AUTH_SOCK:$DISPLAY:$LC_MINE"; exit 7'])
        said = capfd.readouterr()
        # what the ssh before the last may say when both ends close at once; so does ssh -J
        told = said.err.replace("client_loop: send disconnect: Broken pipe\r\n", "")
        assert (said.out, told, ended.code) == ("in:::\n", "", 7)

    return check


SETTINGS = [
    "PasswordAuthentication no", "KbdInteractiveAuthentication no", "BatchMode yes", "NumberOfPasswordPrompts 2",
    "PreferredAuthentications publickey", "PreferredAuthentications gssapi-with-mic,hostbased",
    "PubkeyAuthentication no", "GSSAPIAuthentication yes", "HostbasedAuthentication yes", "IdentitiesOnly yes",
    "\n".join(f"IdentityFile {{folder}}/{number}.key" for number in range(KEYS)), "IdentityFile none",
    "IdentityAgent /nowhere", "AddKeysToAgent yes", "CertificateFile /nowhere",
    "PKCS11Provider /nowhere.so", "SecurityKeyProvider /nowhere.so",
    "ProxyJump nowhere.invalid", "ProxyCommand false", "ProxyCommand none", "ProxyUseFdpass yes",
    "RemoteCommand date", "SessionType none", "SessionType subsystem", "RequestTTY force", "StdinNull yes",
    "ForkAfterAuthentication yes", "EscapeChar x", "HostKeyAlgorithms ssh-rsa", "HostKeyAlgorithms rsa-sha2-512",
    "Ciphers 3des-cbc", "MACs hmac-md5", "KexAlgorithms diffie-hellman-group1-sha1", "PubkeyAcceptedAlgorithms ssh-rsa",
    "CASignatureAlgorithms rsa-sha2-512", "RequiredRSASize 16384", "RekeyLimit 1K", "Compression yes",
    "HostName 192.0.2.1", "Port 1", "User root", "HostKeyAlias other", "AddressFamily inet6", "BindAddress 192.0.2.1",
    "BindInterface nowhere0", "ConnectTimeout 1", "ConnectionAttempts 5", "TCPKeepAlive no", "ServerAliveInterval 1",
    "CanonicalizeHostname always\nCanonicalDomains invalid\nCanonicalizeFallbackLocal no\nCanonicalizeMaxDots 9",
    "StrictHostKeyChecking ask", "UserKnownHostsFile /dev/null", "GlobalKnownHostsFile /nowhere", "HashKnownHosts yes",
    "KnownHostsCommand /bin/false", "UpdateHostKeys yes", "CheckHostIP yes", "VerifyHostKeyDNS yes",
    "RevokedHostKeys /nowhere", "VisualHostKey yes", "FingerprintHash md5", "NoHostAuthenticationForLocalhost yes",
    "ForwardAgent yes", "ForwardX11 yes", "ForwardX11 yes\nForwardX11Trusted yes", "LocalForward 127.0.0.1:{busy} a:1",
    "LocalForward 127.0.0.1:{busy} a:1\nExitOnForwardFailure yes", "RemoteForward 1 a:1\nExitOnForwardFailure yes",
    "DynamicForward 127.0.0.1:{busy}\nExitOnForwardFailure yes", "GatewayPorts yes", "Tunnel yes",
    "PermitLocalCommand yes\nLocalCommand echo local", "SendEnv LC_MINE", "SetEnv LC_MINE=theirs",
    "ControlMaster yes\nControlPath {home}/control", "ControlMaster auto\nControlPath {home}/control\nControlPersist 1",
    "ControlPath /nowhere/control\nControlMaster autoask", "LogLevel DEBUG3", "LogLevel QUIET", "LogVerbose *",
    "SyslogFacility AUTH", "IPQoS throughput", "StreamLocalBindUnlink yes", "NoSuchSetting yes",
    "Ciphers no-such-cipher", "Include /nowhere/*", "Match exec false",
    'Match exec "touch {home}/matched"\nProxyCommand false', "Port x",
]  # fmt: skip
"""What may stand under `Host *`: each breaks a plain ssh to a Cloud PC, or could, or takes something along."""

ON_THE_WAY = [
    "RemoteCommand date", "SessionType none", "SessionType subsystem", "RequestTTY force", "StdinNull yes",
    "ForkAfterAuthentication yes", "BatchMode yes", "PasswordAuthentication no", "PreferredAuthentications publickey",
    "NumberOfPasswordPrompts 2", "ForwardAgent yes", "ForwardX11 yes\nForwardX11Trusted yes", "Tunnel yes",
    "LocalForward 127.0.0.1:{busy} a:1\nExitOnForwardFailure yes", "RemoteForward 1 a:1\nExitOnForwardFailure yes",
    "DynamicForward 127.0.0.1:{busy}\nExitOnForwardFailure yes", "PermitLocalCommand yes\nLocalCommand echo local",
    "ControlMaster auto\nControlPath {home}/control\nControlPersist 1", "ControlPath /nowhere/x\nControlMaster yes",
    "EscapeChar x", "SetEnv LC_MINE=theirs", "HostKeyAlias other\nUserKnownHostsFile {home}/.ssh/other",
    "LogLevel QUIET", "ProxyJump gateway", "ProxyCommand {bin}/ssh -W %h:%p gateway", "StrictHostKeyChecking yes",
    "Compression yes",
]  # fmt: skip
"""What may be said of the host: what only matters to a session there is left out, the rest still holds."""


@pytest.fixture
def filled(station: Station) -> Iterator[Callable[[str], str]]:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        yield lambda text: text.format(
            folder=station.folder, home=station.home, bin=station.bin, busy=busy.getsockname()[1]
        )


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.usefixtures("agent")
def test_no_setting_for_all_hosts_changes_how_a_cloud_pc_is_reached(
    setting: str, station: Station, gets_in: Callable[[ssh.Target], None], filled: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("LC_MINE", "mine")
    monkeypatch.setenv("DISPLAY", ":7")
    station.configure(filled(f"Host *\n{setting}\n" if "Match" not in setting else f"{setting}\n"))
    gets_in(target(station))
    assert not (station.home / "matched").exists()


@pytest.mark.parametrize("setting", ON_THE_WAY)
@pytest.mark.usefixtures("agent")
def test_what_is_set_for_the_host_holds_on_the_way_and_no_further(
    setting: str, station: Station, gets_in: Callable[[ssh.Target], None], filled: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("LC_MINE", "mine")
    monkeypatch.setenv("DISPLAY", ":7")
    (station.home / ".ssh" / "other").write_text(f"other {station.host_key('host')}\n")
    gateway = kvm1(station).replace("Host kvm1 kvm1.alias", "Host gateway")
    station.configure(filled(f"{gateway}{kvm1(station)}{setting}\n"))
    before = station.log("host").count("Accepted publickey")
    gets_in(through(station))
    hops = 2 if "gateway" in setting else 1
    assert station.log("host").count("Accepted publickey") == before + hops


@pytest.mark.parametrize(
    "way", ["kvm1", "admin@kvm1.alias", "kvm1.alias,kvm1", "admin@127.0.0.1:{port}", "ssh://admin@127.0.0.1:{port}"]
)
def test_ways_to_a_host(way: str, station: Station, gets_in: Callable[[ssh.Target], None]) -> None:
    station.configure(f"{kvm1(station)}Host 127.0.0.1\n  IdentityFile {station.user_key}\nHost *\n  SessionType none\n")
    gets_in(through(station, way.format(port=station.host_port)))


def test_a_way_over_ipv6(station: Station, gets_in: Callable[[ssh.Target], None]) -> None:
    known = station.home / ".ssh" / "known_hosts"
    known.write_text(f"[::1]:{station.host_port} {station.host_key('host')}\n")
    station.configure(f"Host *\n  IdentityFile {station.user_key}\n")
    gets_in(through(station, f"admin@[::1]:{station.host_port}", host="::1"))


def test_the_way_has_the_shell_and_the_questions_of_the_user(
    station: Station, gets_in: Callable[[ssh.Target], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key with a passphrase, and a ProxyCommand in the words of another shell, from a folder with an odd name."""
    locked = tmp_path / "locked.key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "open", "-f", str(locked)], check=True)
    (station.folder / "authorized.admin").write_text(locked.with_name("locked.key.pub").read_text())
    answers, shell = tmp_path / "answers", tmp_path / "my shell"
    answers.write_text("#!/bin/sh\necho open\n")
    shell.write_text(f'#!/bin/sh\ncase "$2" in *DIAL*) touch {tmp_path}/used ;; esac\nexec /bin/sh "$@"\n')
    for program in (answers, shell):
        program.chmod(0o700)
    monkeypatch.setenv("SHELL", str(shell))
    monkeypatch.setenv("SSH_ASKPASS", str(answers))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    station.configure(
        f"Host kvm1\n  User admin\n  IdentityFile {locked}\n  IdentitiesOnly yes\n"
        f"  HostKeyAlias [127.0.0.1]:{station.host_port}\n"
        f"  ProxyCommand env DIAL=1 {station.bin}/ssh -i {station.user_key} -W 127.0.0.1:{station.host_port} "
        f"-p {station.host_port} root@127.0.0.1\n"
    )
    here = tmp_path / "it's $HOME\n%h"
    here.mkdir()
    monkeypatch.chdir(here)
    try:
        gets_in(through(station))
    finally:
        (station.folder / "authorized.admin").write_text((station.folder / "user.key.pub").read_text())
    assert (tmp_path / "used").exists()


@pytest.mark.parametrize("shell", ["/bin/false", "/nowhere/fish", "", "/usr/sbin/nologin"])
def test_the_shell_does_not_matter(
    shell: str, station: Station, gets_in: Callable[[ssh.Target], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", shell)
    station.configure(kvm1(station))
    gets_in(through(station))


@pytest.mark.parametrize("folder", ["/nowhere", "relative", "", "/dev/null", "/proc", "a file"])
def test_a_runtime_folder_that_is_none(
    folder: str, station: Station, gets_in: Callable[[ssh.Target], None], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "a file").touch()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / folder) if folder == "a file" else folder)
    gets_in(target(station))


@pytest.mark.parametrize("name", ["a b", "it's", '"', "%h", "${HOME}", "#", "\\", "ä", "~", "a\nb", "-F", "\udcfc"])
def test_folders_of_any_name(
    name: str, station: Station, gets_in: Callable[[ssh.Target], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.chdir(folder)  # of which the way to the host is begun
    station.configure(kvm1(station))
    gets_in(through(station))
    assert list(folder.iterdir()) == []


def test_a_folder_where_nothing_may_be_run(
    station: Station, gets_in: Callable[[ssh.Target], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    station.forbid_programs(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    station.configure(kvm1(station))
    gets_in(through(station))


def test_no_folder_at_all(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    monkeypatch.setattr(ssh.tempfile, "tempdir", "/nowhere")  # type: ignore[attr-defined]
    with pytest.raises(CommandError, match="TMPDIR"):
        ssh.run(target(station), ["true"])


def test_no_ssh(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandError, match="openssh-client"):
        ssh.run(target(station), ["true"])


@pytest.mark.parametrize("key", ["", "ssh-ed25519 ", "ssh-rsa AAAA", "\ufffd", "a\n* ssh-ed25519 AAAA"])
def test_a_host_key_that_is_none(key: str, station: Station) -> None:
    with pytest.raises(CommandError, match="no ssh host key"):
        ssh.run(target(station, host_key=key), ["true"])


def test_another_host_key_gets_no_password(station: Station, capfd: pytest.CaptureFixture[str]) -> None:
    ended = ssh.run(target(station, host_key=station.host_key("host")), ["true"])
    assert (ended.code, ended.was_asked) == (ssh.FAILED, False)
    assert "HOST IDENTIFICATION HAS CHANGED" in capfd.readouterr().err


@pytest.mark.usefixtures("agent")
def test_who_has_changed_the_password_gets_in_by_a_key(station: Station, gets_in: Callable[[ssh.Target], None]) -> None:
    file = station.folder / "authorized.alice"
    file.write_text((station.folder / "0.key.pub").read_text())
    try:
        gets_in(target(station, password="of before"))
    finally:
        file.unlink()
    assert ssh.run(target(station, password="of before"), ["true"]).was_asked


def test_the_password_is_in_no_argument_and_no_file(
    station: Station, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    spy = tmp_path / "ssh"
    spy.write_text(f'#!/bin/sh\n{{ cat config known_hosts way; cat "/proc/$$/cmdline"; env; }} >{seen}\nexit 0\n')
    spy.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    ssh.run(through(station), ["true"])
    assert "StrictHostKeyChecking yes" in seen.read_text()
    assert PASSWORD not in seen.read_text()


def test_what_is_typed_reaches_the_command(station: Station, capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"typed\n")
    os.close(writing)
    kept = os.dup(0)
    os.dup2(reading, 0)
    try:
        station.configure(kvm1(station) + "Host *\n  StdinNull yes\n")
        assert ssh.run(through(station), ["cat", "-"]).code == 0
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(reading)
    assert capfd.readouterr().out == "typed\n"


@pytest.mark.parametrize(
    ("setting", "way"),
    [
        ("ProxyJump me@gw:7,kvm1", "ssh .* -J me@gw:7 -W '\\[192.0.2.7\\]:22' -- kvm1"),
        ("ProxyCommand nc -x gw %h %p", "nc -x gw %h %p"),
        ("ProxyJump none", ""),
        ("NoSuchSetting yes", ""),
        ("", ""),
    ],
)
def test_a_gateway_to_a_network_is_used_for_its_cloud_pcs(setting: str, way: str, station: Station) -> None:
    """A guest with an address of its own is reached as the user's configuration reaches that address."""
    station.configure(f"Host 192.0.2.*\n  {setting}\n")
    found = {name.lower(): value for name, value in ssh._way(target(station, host="192.0.2.7", port=22)).items()}
    if way:
        assert re.search(way, found["proxycommand"])
    else:
        assert found.get("proxycommand", "none") == "none"
    assert ssh._way(target(station)) == {}


def test_a_gateway_to_a_network_is_the_users_own(
    station: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run by their shell, from their folder, with their questions, and for the name that they would have given."""
    shell, told = tmp_path / "my shell", tmp_path / "told"
    shell.write_text(f'#!/bin/sh\ntouch {tmp_path}/used\nexec /bin/sh "$@"\n')
    shell.chmod(0o700)
    monkeypatch.setenv("SHELL", str(shell))
    monkeypatch.setenv("SSH_ASKPASS", "mine")
    monkeypatch.delenv("SSH_ASKPASS_REQUIRE", raising=False)
    monkeypatch.chdir(tmp_path)
    asked = 'echo "$PWD $SHELL $SSH_ASKPASS ${SSH_ASKPASS_REQUIRE-} %n %h %p %%n" >'
    station.configure(f"Host 192.0.2.*\n  ProxyCommand sh -c '{asked} {told}'\n")
    assert ssh.run(target(station, host="192.0.2.7", port=22), ["true"]).code == 255
    assert told.read_text() == f"{tmp_path} {shell} mine  192.0.2.7 192.0.2.7 22 %n\n"
    assert (tmp_path / "used").exists()


def test_a_port_of_the_cloud_pcs_own_loopback_is_reached(station: Station) -> None:
    with ssh.opened(target(station), station.host_port) as connected:
        connected.settimeout(30)
        assert connected.recv(20).startswith(b"SSH-2.0-")


def test_nothing_is_reached_under_another_host_key(station: Station) -> None:
    other = target(station, host_key=station.host_key("host"))
    with ssh.opened(other, station.host_port) as connected:
        connected.settimeout(30)
        assert connected.recv(20) == b""


def test_the_way_ends_with_the_block(station: Station) -> None:
    with ssh.opened(target(station), station.host_port) as connected:
        connected.settimeout(30)
        connected.recv(4)
        [ours] = _ways(station)
    assert ours not in _ways(station)


def _ways(station: Station) -> list[str]:
    said = subprocess.run(["pgrep", "-f", "--", f"-W 127.0.0.1:{station.host_port}"], capture_output=True, text=True)
    return [each for each in said.stdout.split() if (Path("/proc") / each / "comm").read_text().strip() == "ssh"]


def test_a_port_here_leads_to_one_of_the_cloud_pcs_own_loopback(station: Station) -> None:
    with ssh.forwarded(target(station), station.host_port) as way:
        here = way.port
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", here), 30) as connected:
                assert connected.recv(20).startswith(b"SSH-2.0-")
        assert len(_tunnels(here)) == 1
        assert not way.has_ended
    assert way.has_ended
    assert _tunnels(here) == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", here), 5)


@pytest.mark.parametrize(("wrong", "was_asked"), [("host_key", False), ("password", True)])
def test_no_port_is_given_where_ssh_does_not_get_in(wrong: str, was_asked: bool, station: Station) -> None:
    other = {"host_key": station.host_key("host"), "password": "another"}
    with pytest.raises(ssh.NotIn) as caught, ssh.forwarded(target(station, **{wrong: other[wrong]}), 1):
        pass
    assert (caught.value.ended.code, caught.value.ended.was_asked) == (ssh.FAILED, was_asked)


def _tunnels(port: int) -> list[str]:
    said = subprocess.run(["pgrep", "-f", "--", f"-L 127.0.0.1:{port}:"], capture_output=True, text=True)
    return [each for each in said.stdout.split() if (Path("/proc") / each / "comm").read_text().strip() == "ssh"]
