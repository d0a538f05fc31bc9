"""A real Active Directory domain of the tests' own: Samba, in a folder, as our child, on 127.0.0.1 only.

Its ports can't be moved (Kerberos and LDAP clients know them), so one such domain runs at a time on a machine. Guests
on user-mode networking reach it as 10.0.2.2.
"""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from ldap3 import BASE, MODIFY_ADD, MODIFY_REPLACE, NONE, RESTARTABLE, SUBTREE, SYNC, Connection, Server, Tls
from ldap3.protocol.formatters.formatters import format_sid
from ldap3.protocol.microsoft import security_descriptor_control

from tests.support.waiting import wait_until

REALM = "CORP.TEST"
DOMAIN = "corp.test"
BASE_DN = "DC=corp,DC=test"
CONTROLLER = "dc1.corp.test"
ADDRESS = "127.0.0.1"
UNIT = f"OU=Cloud PCs,{BASE_DN}"
PASSWORD = "Correct-h0rse, \"b'attery"
"""Of every account here; what quoting would break, it should break."""

_PORTS = (88, 389, 464, 636)
_CREATE_COMPUTERS = "(OA;CI;CC;bf967a86-0de6-11d0-a285-00aa003049e2;;{sid})"
"""What an admin delegates: create computer objects in this OU and below it. Nothing else."""


class Samba:
    """A running domain controller, and the admin's hand in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "controller.pem"
        self._configuration = folder / "etc/smb.conf"
        self._log = folder / "samba.log"
        _demand_ports()
        self._provision()
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "samba", "-F", "-M", "single", "-s", str(self._configuration)],
            stdin=subprocess.DEVNULL,
            stdout=self._log.open("wb"),
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(self._listens, 120, "Samba does not listen")
            self.admin = self._sign_in()
            # what Samba's dnsupdate service would add, which runs beside a name server only
            self.modify(
                f"CN=DC1,OU=Domain Controllers,{BASE_DN}", "servicePrincipalName", f"ldap/{CONTROLLER}", add=True
            )
            self._delegate()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @contextmanager
    def account(self, name: str, **attributes: str) -> Iterator[str]:
        """A user account with `PASSWORD`, for as long as it takes; its userPrincipalName."""
        principal, dn = f"{name}@{DOMAIN}", f"CN={name},CN=Users,{BASE_DN}"
        password = f'"{PASSWORD}"'.encode("utf-16-le")
        identity = {"sAMAccountName": name, "userPrincipalName": principal, "unicodePwd": password}
        self.add(dn, "user", {**identity, "userAccountControl": "512"})
        for attribute, value in attributes.items():  # after the password, which sets some of them
            self.modify(dn, attribute, value)
        try:
            yield principal
        finally:
            self.remove(dn)

    def add(self, dn: str, kind: str, attributes: dict[str, Any] | None = None) -> None:
        assert self.admin.add(dn, kind, attributes), self.admin.result

    def modify(self, dn: str, attribute: str, value: str, *, add: bool = False) -> None:
        change = MODIFY_ADD if add else MODIFY_REPLACE
        assert self.admin.modify(dn, {attribute: [(change, [value])]}), self.admin.result

    def remove(self, dn: str) -> None:
        assert self.admin.delete(dn), self.admin.result

    def find(self, name: str) -> dict[str, list[bytes]] | None:
        """The attributes of the computer account of this name."""
        self.admin.search(BASE_DN, f"(sAMAccountName={name}$)", SUBTREE, attributes=["*", "distinguishedName"])
        found = [entry for entry in self.admin.response if entry["type"] == "searchResEntry"]
        assert len(found) < 2
        return found[0]["raw_attributes"] if found else None

    def computers(self) -> list[str]:
        """DNs of all computer accounts but the controller's own."""
        self.admin.search(BASE_DN, "(&(objectClass=computer)(!(sAMAccountName=DC1$)))", SUBTREE)
        return [entry["dn"] for entry in self.admin.response if entry["type"] == "searchResEntry"]

    def accepts(self, user: str, password: str) -> bool:
        """Whether somebody can sign in that way."""
        connection = self._connection(user, password)
        try:
            return bool(connection.bind())
        finally:
            connection.unbind()

    def _provision(self) -> None:
        if shutil.which("samba-tool") is None or shutil.which("samba") is None:
            raise RuntimeError("these tests need Samba's domain controller: tools/packages test")
        self._tool(
            *("domain", "provision", f"--realm={REALM}", "--domain=CORP", f"--adminpass={PASSWORD}"),
            *("--server-role=dc", "--dns-backend=NONE", f"--host-ip={ADDRESS}", "--host-name=dc1"),
            *(f"--targetdir={self.folder}", "--option=bind interfaces only=yes", f"--option=interfaces={ADDRESS}/8"),
            # where this folder's file system has no extended attributes for root's own use
            *("--option=acl_xattr:security_acl_name=user.NTACL", f"--option=posix:eadb={self.folder}/eadb.tdb"),
        )
        text = self._configuration.read_text()
        text = re.sub(r"(server services) = .*", r"\1 = ldap, cldap, kdc", text)
        text = re.sub(r"log file = .*", f"log file = {self.folder}/log.%m", text)
        # its own, of 4096 bits, would take it seconds to make
        key, certificate = certify(CONTROLLER, DOMAIN)
        (self.folder / "controller.key").write_bytes(key)
        (self.folder / "controller.key").chmod(0o600)
        self.ca.write_bytes(certificate)
        more = {
            "tls keyfile": self.folder / "controller.key",
            "tls certfile": self.ca,
            "tls cafile": self.ca,
            "pid directory": self.folder,
            "ncalrpc dir": self.folder / "ncalrpc",
        }
        text = text.replace("[global]", "\n\t".join(["[global]", *(f"{name} = {more[name]}" for name in more)]), 1)
        self._configuration.write_text(text)

    def _delegate(self) -> None:
        """An OU, and an account with the right to create computers in it."""
        self.add(UNIT, "organizationalUnit")
        self.add(
            f"CN=joiner,CN=Users,{BASE_DN}",
            "user",
            {
                "sAMAccountName": "joiner",
                "userPrincipalName": f"joiner@{DOMAIN}",
                "unicodePwd": f'"{PASSWORD}"'.encode("utf-16-le"),
                "userAccountControl": "512",
            },
        )
        self.modify(BASE_DN, "ms-DS-MachineAccountQuota", "0")  # what everybody may do would hide what was delegated
        self.delegate("joiner")

    def delegate(self, name: str) -> None:
        """Let this user create computers in the OU."""
        self._tool(
            *("dsacl", "set", f"--objectdn={UNIT}", f"--sddl={_CREATE_COMPUTERS.format(sid=self.sid(name))}"),
            *("-H", str(self.folder / "private/sam.ldb"), "-s", str(self._configuration)),
        )

    def sid(self, name: str) -> str:
        """A user's SID."""
        self.admin.search(f"CN={name},CN=Users,{BASE_DN}", "(objectClass=*)", BASE, attributes=["objectSid"])
        return str(format_sid(self.admin.response[0]["raw_attributes"]["objectSid"][0]))

    def own(self, dn: str, sid: str) -> None:
        """Give an object another owner."""
        numbers = [int(part) for part in sid.split("-")[3:]]
        raw = bytes([1, len(numbers), 0, 0, 0, 0, 0, 5]) + b"".join(n.to_bytes(4, "little") for n in numbers)
        descriptor = bytes([1, 0, 0, 0x80]) + (20).to_bytes(4, "little") + bytes(12) + raw
        change = {"nTSecurityDescriptor": [(MODIFY_REPLACE, [descriptor])]}
        assert self.admin.modify(dn, change, controls=security_descriptor_control(sdflags=1)), self.admin.result

    def _tool(self, *arguments: str) -> None:
        done = subprocess.run(["samba-tool", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _listens(self) -> bool:
        assert self._process.poll() is None, self._log.read_text(errors="replace")[-4000:]
        for port in _PORTS:
            try:
                socket.create_connection((ADDRESS, port), 5).close()
            except OSError:
                return False
        return True

    def _sign_in(self) -> Connection:
        # it opens again by itself: a controller ends what was idle for a quarter of an hour, as between two tests
        connection = self._connection(f"Administrator@{DOMAIN}", PASSWORD, RESTARTABLE)
        assert connection.bind(), connection.result
        return connection

    def _connection(self, user: str, password: str, strategy: Any = SYNC) -> Connection:
        tls = Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=str(self.ca), valid_names=[CONTROLLER])
        server = Server(ADDRESS, 636, use_ssl=True, tls=tls, get_info=NONE)
        return Connection(server, user, password, client_strategy=strategy)


def certify(*names: str, now: datetime | None = None) -> tuple[bytes, bytes]:
    """A key and a certificate for these host names that is its own authority, as PEM, valid about this time."""
    key, now = ec.generate_private_key(ec.SECP256R1()), now or datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(pem, *private), certificate.public_bytes(pem)


def _demand_ports() -> None:
    busy = []
    for port in _PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ADDRESS, port))
            except OSError as error:
                busy.append(f"{port} ({error.strerror})")
    if busy:
        raise RuntimeError(f"a domain controller needs ports of {ADDRESS} that it can't have: {', '.join(busy)}")
