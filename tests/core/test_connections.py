"""Network connections: their files, their checks, and which of a policy's is used."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloudpc.connections import checks as health_checks
from cloudpc.connections import files
from cloudpc.connections.healthy import KEPT, Connections
from cloudpc.files import secret_file
from cloudpc.model import drivers
from cloudpc.model.check import Check, overall
from cloudpc.model.cloud_pc import NetworkChoice, Status
from cloudpc.model.connection import OnPremisesConnection, SecretReference
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.machines import Network
from cloudpc.model.problems import InvalidConfigurationError, from_validation

from .fake_rim import Run, ScriptedHost, desired

CONNECTION = files.model(drivers.installed())
_DOMAIN: dict[str, Any] = {
    "libvirtNetwork": "corp",
    "adDomainName": "corp.contoso.example",
    "adDomainUsername": "join@corp.contoso.example",
    "adDomainPassword": {"environment": "CORP_PASSWORD"},
    "organizationalUnit": "OU=Cloud PCs,DC=corp,DC=contoso,DC=example",
    "domainControllers": [{"name": "dc1.corp.contoso.example", "address": "127.0.0.1"}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "stacks" / "connections"
    made.mkdir(parents=True)
    return made


def _write(folder: Path, name: str, values: Any) -> None:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(values))


def _told(folder: Path, values: Any) -> list[str]:
    _write(folder, "hq", values)
    with pytest.raises(InvalidConfigurationError) as refused:
        files.read(folder, "hq")
    return [str(problem).removeprefix("stacks/connections/hq.yaml: ") for problem in refused.value.problems]


# ---- the file


def test_a_valid_file(folder: Path) -> None:
    (folder / "ca.pem").touch()
    _write(folder, "hq", {**_DOMAIN, "caCertificate": "ca.pem", "endpoints": ["intranet.example:443", "[::1]:80"]})
    connection = files.read(folder, "hq")
    assert connection.network == Network("network", "corp")
    assert files.names(folder) == ["hq"]
    assert CONNECTION.model_validate({"bridge": "br0"}).network == Network("bridge", "br0")
    assert CONNECTION.model_validate({"hostedNetwork": True}).network == Network("hosted")


def test_fields_and_contradictions_are_told_together(folder: Path) -> None:
    wrong = {
        **_DOMAIN,
        "bridge": "br0",
        "adDomainUser": "x",
        "adDomainUsername": "join",
        "adDomainPassword": {"environment": "A B", "file": "relative", "value": "s3cret"},
        "caCertificate": "../../ca.pem",
        "endpoints": ["intranet", "fine:443"],
        "organizationalUnit": "Cloud PCs",
        "computerAccountOwners": ["joiner"],
        "domainControllers": [{"name": "dc1", "adress": "127.0.0.1", "guestAddress": "gateway"}],
    }
    told = _told(folder, wrong)
    for expected in (
        "adDomainUser: is not a known field (did you mean 'adDomainUsername'?)",
        "adDomainUsername: must be user@domain",
        "adDomainPassword.environment: must be a variable",
        "adDomainPassword.value: is not a known field",
        "adDomainPassword: needs either environment or file, not both",
        "adDomainPassword.file: must be an absolute path",
        "file: needs exactly one of subnetId, libvirtNetwork, bridge and hostedNetwork: true; there are libvirtNetwork",
        "caCertificate: must be a file in connections/ or below it",
        "endpoints[0]: must be host:port",
        "domainControllers[0].name: must be a fully qualified name",
        "domainControllers[0].adress: is not a known field (did you mean 'address'?)",
        "domainControllers[0].guestAddress: must be an IP address",
        "organizationalUnit: must be a distinguished name such as OU=Cloud PCs,DC=corp",
        "computerAccountOwners[0]: must be an account as user@domain, or a SID",
    ):
        assert [text for text in told if text.startswith(expected)], (expected, told)
    assert len(told) == 14


def test_a_key_that_is_no_text_is_told_with_where_it_stands(folder: Path) -> None:
    controllers = [{"name": "dc1.corp.contoso.example", 636: "x", None: "y"}]
    assert _told(folder, {**_DOMAIN, 5: "x", "domainControllers": controllers}) == [
        "domainControllers[0]: has the key 636, which is not text; fields have names",
        "domainControllers[0]: has the key None, which is not text; fields have names",
        "file: has the key 5, which is not text; fields have names",
    ]


def test_a_domain_needs_an_account_and_an_account_needs_a_domain(folder: Path) -> None:
    told = _told(folder, {"libvirtNetwork": "corp", "adDomainName": "corp.contoso.example"})
    assert told == [
        "adDomainUsername: is required with adDomainName",
        "adDomainPassword: is required with adDomainName",
    ]
    told = _told(folder, {name: value for name, value in _DOMAIN.items() if name != "adDomainName"})
    assert sorted(told) == [
        f"{name}: has a meaning only with adDomainName"
        for name in ("adDomainPassword", "adDomainUsername", "domainControllers", "organizationalUnit")
    ]


def test_a_place_of_another_domain_is_told_before_the_join(folder: Path) -> None:
    _write(folder, "hq", {**_DOMAIN, "organizationalUnit": " ou = Cloud PCs , dc=corp, DC=Contoso ,DC=example"})
    assert files.read(folder, "hq").organizational_unit == "OU=Cloud PCs,DC=corp,DC=Contoso,DC=example"
    for unit in (
        "OU=Cloud PCs,DC=contoso,DC=example",
        "OU=Cloud PCs",
        "OU=Cloud PCs,DC=a,DC=corp,DC=contoso,DC=example",
    ):
        assert _told(folder, {**_DOMAIN, "organizationalUnit": unit}) == [
            "organizationalUnit: must lie in the domain adDomainName corp.contoso.example, so it must end in "
            "DC=corp,DC=contoso,DC=example"
        ]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "[fd00::5]",
        "fd00::5%eth0",
        "ldaps://10.0.0.5",
        "10.0.0.5:636",
        "dc1..corp.example",
        "dc 1",
        "x\0y",
        "x" * 300,
    ],
    ids=range(9),
)
def test_a_controller_s_address_that_none_can_be_is_told(folder: Path, address: str) -> None:
    [told] = _told(folder, _DOMAIN | {"domainControllers": [{"name": "dc1.corp.example", "address": address}]})
    words = "must be an IP address or a DNS name, without scheme, brackets and port"
    assert told.startswith(f"domainControllers[0].address: {words}")


@pytest.mark.parametrize("address", ["10.0.0.5", "fd00::5", "dc_1", "dc1.corp.example.", "büro.example"])
def test_a_controller_s_address(folder: Path, address: str) -> None:
    _write(folder, "hq", _DOMAIN | {"domainControllers": [{"name": "dc1.corp.example", "address": address}]})
    assert files.read(folder, "hq").domain_controllers[0].address == address


def test_a_password_in_the_file_is_refused_and_not_repeated(folder: Path) -> None:
    for value in ("hunter2 !", {"environment": "hunter2 !"}):
        told = "\n".join(_told(folder, {**_DOMAIN, "adDomainPassword": value}))
        assert "adDomainPassword" in told
        assert "hunter2" not in told


@given(st.dictionaries(st.sampled_from([*_DOMAIN, "bridge", "hostedNetwork", "endpoints", "x"]), st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.lists(st.text(max_size=8), max_size=2),
    st.sampled_from(list(_DOMAIN.values())), st.dictionaries(st.sampled_from(["file", "environment", "name"]),
    st.text(max_size=5), max_size=2),
)))  # fmt: skip
def test_whatever_stands_in_the_file_is_valid_or_told(values: dict[str, Any]) -> None:
    try:
        connection = CONNECTION.model_validate(values)
    except ValidationError as error:
        told = from_validation("hq.yaml", "", CONNECTION, error)
    else:
        told = []
        assert connection.network.kind in ("network", "bridge", "hosted")
    assert all(problem.message for problem in told)


def test_a_secret_is_read_where_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "password"
    kept.write_text("pass word\n")
    assert secret_file.read(SecretReference(file=str(kept))) == "pass word"
    kept.write_bytes(b"\xef\xbb\xbfpass word\r\n")  # as Windows' editors and PowerShell write it
    assert secret_file.read(SecretReference(file=str(kept))) == "pass word"
    reference = SecretReference(environment="CORP_PASSWORD")
    monkeypatch.setenv("CORP_PASSWORD", "s3cret")
    assert secret_file.read(reference) == "s3cret"
    monkeypatch.delenv("CORP_PASSWORD")
    with pytest.raises(LookupError, match="CORP_PASSWORD is not set"):
        secret_file.read(reference)
    kept.write_bytes(b"\xff")
    os.mkfifo(tmp_path / "pipe")
    for file in (str(kept), "/none", "/a\0b", "/dev/zero", str(tmp_path / "pipe")):
        with pytest.raises(LookupError, match="can't be read"):
            secret_file.read(SecretReference(file=file))
    kept.write_bytes(bytes(70_000))
    with pytest.raises(LookupError, match="has more than 64 KB"):
        secret_file.read(SecretReference(file=str(kept)))


def test_a_certificate_is_an_ordinary_file_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "connections"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "circle").symlink_to("circle")
    for name, why in (("pipe", "is not a regular file"), ("circle", "can't be read"), ("a\0b", "can't be read")):
        _write(folder, "hq", {**_DOMAIN, "caCertificate": name})
        with pytest.raises(InvalidConfigurationError, match=f"caCertificate: .*{why}"):
            files.read(folder, "hq")


# ---- the checks


@dataclass
class Controllers:
    """Stands in for the module that talks to a domain's controllers."""

    found: list[Check] = field(default_factory=lambda: [Check("LDAPS bind", "passed")])
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def controllers(monkeypatch: pytest.MonkeyPatch) -> Controllers:
    state = Controllers()

    class ActiveDirectory:
        def __init__(self, connection_id: str, connection: OnPremisesConnection, folder: Path) -> None:
            state.asked.append(connection_id)

        def check(self) -> list[Check]:
            if state.error:
                raise state.error
            return state.found

    module = ModuleType("cloudpc.devices.active_directory")
    module.ActiveDirectory = ActiveDirectory  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return state


@pytest.fixture
def listening() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def closed() -> Iterator[str]:
    """An endpoint that refuses: bound, so that nobody else takes it, but nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def _check(folder: Path, *hosts: ScriptedHost, domain: bool = True, **values: Any) -> list[Check]:
    connection = CONNECTION.model_validate({"libvirtNetwork": "corp", **values})
    return health_checks.check("hq", connection, connection.network, hosts, folder, domain=domain)


def _error_types(checks: list[Check]) -> dict[str, tuple[str, str]]:
    return {check.what: (check.status, check.error_type) for check in checks}


def test_all_of_a_connection_is_looked_at(
    folder: Path, tmp_path: Path, controllers: Controllers, listening: str
) -> None:
    host = ScriptedHost(tmp_path, networks=["corp"])
    checks = _check(folder, host, **_DOMAIN, endpoints=[listening])
    assert [check.what for check in checks] == [
        "libvirt network corp on local", "LDAPS bind", f"endpoint {listening}",
    ]  # fmt: skip
    assert overall(checks) == "passed"
    assert controllers.asked == ["hq"]
    joined_to_nothing = _check(folder, host, domain=False, **_DOMAIN)
    assert [check.what for check in joined_to_nothing] == ["libvirt network corp on local"]


def test_a_network_that_no_host_has_fails_and_one_that_some_lack_is_a_warning(folder: Path, tmp_path: Path) -> None:
    has, lacks = ScriptedHost(tmp_path, "has", networks=["corp"]), ScriptedHost(tmp_path, "lacks")
    away = ScriptedHost(tmp_path, "away", networks=["corp"])
    away.away = True
    missing = "resourceAvailabilityCheckVNetInvalid"
    unknown = "resourceAvailabilityCheckTransientServiceError"
    assert _error_types(_check(folder, has, lacks, away)) == {
        "libvirt network corp on has": ("passed", ""),
        "libvirt network corp on lacks": ("warning", missing),
        "libvirt network corp on away": ("warning", unknown),
    }
    assert _error_types(_check(folder, lacks, away)) == {
        "libvirt network corp on lacks": ("failed", missing),
        "libvirt network corp on away": ("warning", unknown),
    }
    # what is wrong is the host, which placing says: the connection is not to blame
    assert overall(_check(folder, away)) == "warning"


def test_names_are_asked_of_dns_unless_the_file_knows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, controllers: Controllers
) -> None:
    known = {"corp.contoso.example": "192.0.2.5"}
    errors = {"again.contoso.example": socket.EAI_AGAIN}

    def getaddrinfo(name: str, *_: Any, **__: Any) -> list[Any]:
        name.encode("idna")  # as the real one does
        if name not in known:
            raise socket.gaierror(errors.get(name, socket.EAI_NONAME), "said by the resolver")
        return [(None, None, None, "", (known[name], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    values = {**_DOMAIN, "organizationalUnit": None}

    def dns(**changes: Any) -> dict[str, tuple[str, str]]:
        found = _error_types(_check(folder, **{**values, **changes}))
        return {name: result for name, result in found.items() if name.startswith("DNS")}

    assert dns() == {}
    unknown, known_name = {"name": "dc1.contoso.example"}, {"name": "corp.contoso.example"}
    by_address = {"name": "dc2.contoso.example", "address": "127.0.0.1"}
    for controllers_, status in (([unknown], "failed"), ([unknown, by_address], "warning")):
        assert dns(domainControllers=controllers_) == {
            "DNS name dc1.contoso.example": (status, "dnsCheckFqdnNotFound")
        }  # fmt: skip
    assert dns(domainControllers=[unknown, known_name]) == {
        "DNS name dc1.contoso.example": ("warning", "dnsCheckFqdnNotFound"),
        "DNS name corp.contoso.example": ("passed", ""),
    }
    assert dns(domainControllers=[]) == {"DNS name corp.contoso.example": ("passed", "")}
    for name, error_type in (
        ("none.contoso.example", "dnsCheckFqdnNotFound"),
        ("again.contoso.example", "dnsCheckUnknownError"),
    ):
        assert dns(domainControllers=[], adDomainName=name) == {f"DNS name {name}": ("failed", error_type)}
    assert health_checks._resolved("a" * 64 + ".example").error_type == "dnsCheckNameWithInvalidCharacter"


def test_what_the_domain_says_is_told_and_what_it_raises_hides_nothing(
    folder: Path, controllers: Controllers, listening: str
) -> None:
    controllers.found = [Check("LDAPS bind", "failed", "", "Correct it.", "adJoinCheckIncorrectCredentials")]
    assert _error_types(_check(folder, **_DOMAIN))["LDAPS bind"] == ("failed", "adJoinCheckIncorrectCredentials")
    for error in (ProvisioningError(ErrorCode.DOMAIN_JOIN_FAILED, "no answer", hint="wait"), RuntimeError("a bug")):
        controllers.error = error
        checks = _check(folder, **_DOMAIN, endpoints=[listening])
        told = [check for check in checks if check.status == "failed"]
        assert [check.error_type for check in told] == ["adJoinCheckUnknownError"]
        assert str(error) in told[0].detail
        assert (f"endpoint {listening}", "passed") in [(check.what, check.status) for check in checks]


def test_endpoints_that_refuse_and_that_never_answer(
    folder: Path, monkeypatch: pytest.MonkeyPatch, listening: str, closed: str
) -> None:
    monkeypatch.setattr(health_checks, "CONNECT_TIMEOUT", 0.2)
    with socket.socket() as full:  # its queue is full, so that the kernel lets the next one wait
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        silent = f"127.0.0.1:{full.getsockname()[1]}"
        waiting = [socket.socket() for _ in range(3)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            checks = _check(folder, endpoints=[listening, closed, silent, "nowhere.invalid:443"])
        finally:
            for one in waiting:
                one.close()
    kind = "endpointConnectivityCheckUnknownError"
    assert _error_types(checks) == {
        f"endpoint {listening}": ("passed", ""),
        f"endpoint {closed}": ("failed", kind),
        f"endpoint {silent}": ("failed", kind),
        "endpoint nowhere.invalid:443": ("failed", kind),
    }
    details = [check.detail for check in checks]
    assert os.strerror(111) in details[1]
    assert "no answer within" in details[2]


def test_the_whole_is_as_healthy_as_its_worst() -> None:
    def of(*statuses: Any) -> str:
        return overall(Check("x", status) for status in statuses)

    assert of() == of("passed") == "passed"
    assert of("passed", "warning") == "warning"
    assert of("warning", "failed", "passed") == "failed"


# ---- which one is used


_HQ = NetworkChoice(kind="network", source="corp", connection="hq")
_LAB = NetworkChoice(kind="bridge", source="br0", connection="lab")
_HOSTED = NetworkChoice(kind="hosted")


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def _files(folder: Path) -> None:
    _write(folder, "hq", {"libvirtNetwork": "corp"})
    _write(folder, "lab", {"bridge": "br0"})


def test_a_connection_is_looked_at_once_for_all_and_again_when_it_may_have_changed(
    folder: Path, tmp_path: Path
) -> None:
    _files(folder)
    host, clock = ScriptedHost(tmp_path, networks=["corp"]), Clock()
    known = Connections([host], folder, clock)
    asked_twice, first_is_in = threading.Event(), threading.Event()

    def hook() -> None:
        first_is_in.set()
        assert asked_twice.wait(10)

    host.hooks["check_network"] = hook
    answers: list[ProvisioningError | None] = []
    first = threading.Thread(target=lambda: answers.append(known.healthy(_HQ)))
    first.start()
    assert first_is_in.wait(10)
    second = threading.Thread(target=lambda: answers.append(known.healthy(_HQ)))
    second.start()
    asked_twice.set()
    for thread in (first, second):
        thread.join(10)
    assert answers == [None, None]
    assert host.calls == ["check_network"]

    host.configure(networks=[])
    assert known.healthy(_HQ) is None
    clock.now = KEPT
    error = known.healthy(_HQ)
    assert error is not None
    assert error.code is ErrorCode.CONNECTION_NOT_HEALTHY
    assert "the connection hq is not healthy" in error.message
    assert "[resourceAvailabilityCheckVNetInvalid]" in error.message
    assert error.hint == "make it"
    assert known.healthy(_HQ) is error
    assert host.calls == ["check_network"] * 2


def test_the_hosted_network_needs_no_look(folder: Path, tmp_path: Path) -> None:
    host = ScriptedHost(tmp_path)
    assert Connections([host], folder).healthy(_HOSTED) is None
    assert host.calls == []


def test_a_look_that_was_interrupted_is_no_answer(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _files(folder)
    known = Connections([ScriptedHost(tmp_path, networks=["corp"])], folder)
    with monkeypatch.context() as patched:
        patched.setattr(health_checks, "check", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            known.healthy(_HQ)
    assert known.healthy(_HQ) is None


def test_a_file_that_is_gone_or_wrong_by_now_is_not_healthy(folder: Path, tmp_path: Path) -> None:
    known = Connections([ScriptedHost(tmp_path)], folder)
    error = known.healthy(_HQ)
    assert error is not None
    assert "stacks/connections/hq.yaml" in error.message


def test_only_a_join_to_the_domain_asks_the_domain(folder: Path, tmp_path: Path, controllers: Controllers) -> None:
    _write(folder, "hq", _DOMAIN)
    known = Connections([ScriptedHost(tmp_path, networks=["corp"])], folder)
    assert known.healthy(_HQ) is None
    assert controllers.asked == []
    controllers.found = [Check("LDAPS bind", "failed", "down", "Start it.", "adJoinCheckServerNotOperational")]
    error = known.healthy(_HQ.model_copy(update={"domain_join_type": "hybridAzureADJoin"}))
    assert error is not None
    assert "LDAPS bind: down [adJoinCheckServerNotOperational]" in error.message


# ---- placing


def _provision(folder: Path, host: ScriptedHost, *networks: NetworkChoice) -> Any:
    run = Run(host)
    run.healthy = Connections([host], folder).healthy
    return run.provision(desired(networks=networks))


@pytest.mark.parametrize(
    ("endpoint", "used"), [("listening", "corp"), ("closed", "br0")], ids=["the first is healthy", "the first is not"]
)
def test_the_first_healthy_connection_is_used(
    folder: Path, tmp_path: Path, endpoint: str, used: str, request: pytest.FixtureRequest
) -> None:
    _write(folder, "hq", {"libvirtNetwork": "corp", "endpoints": [request.getfixturevalue(endpoint)]})
    _write(folder, "lab", {"bridge": "br0"})
    host = ScriptedHost(tmp_path, networks=["corp", "br0"])
    assert _provision(folder, host, _HQ, _LAB).status is Status.PROVISIONED
    assert [spec.network.source for spec in host.claimed] == [used]
    assert host.calls.count("check_network") == (1 if used == "corp" else 2)


def test_with_none_healthy_it_waits_and_nothing_was_attempted(folder: Path, tmp_path: Path) -> None:
    _files(folder)
    host = ScriptedHost(tmp_path)
    outcome = _provision(folder, host, _HQ, _LAB)
    assert outcome.status is Status.PENDING_PROVISION
    assert outcome.error.code is ErrorCode.CONNECTION_NOT_HEALTHY
    assert outcome.attempts == 1
    for name in ("hq", "lab"):
        assert f"the connection {name} is not healthy" in outcome.error.message
    assert "claim" not in host.calls
    assert host.things() == []
    assert _provision(folder, host, _HQ, _HOSTED).status is Status.PROVISIONED


def test_a_connection_is_said_where_another_host_is_away(folder: Path, tmp_path: Path) -> None:
    _files(folder)
    host, away = ScriptedHost(tmp_path), ScriptedHost(tmp_path, "away")
    away.away = True
    run = Run(host, away)
    run.healthy = Connections([host, away], folder).healthy
    outcome = run.provision(desired(networks=(_HQ,)))
    assert outcome.error is not None
    assert outcome.error.code is ErrorCode.CONNECTION_NOT_HEALTHY


def test_old_state_is_read_and_new_state_stays_small() -> None:
    old = NetworkChoice.model_validate({"kind": "network", "source": "corp"})
    assert (old.connection, old.domain_join_type) == ("", "azureADJoin")
    assert _HQ.model_dump(by_alias=True, exclude_defaults=True) == {
        "kind": "network", "source": "corp", "connection": "hq",
    }  # fmt: skip
