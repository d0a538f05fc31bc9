"""A stack's configuration with everything it names: all problems of all files in one report."""

from __future__ import annotations

import hashlib
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cloudpc.cli import wishes
from cloudpc.configuration import parsing, reading
from cloudpc.configuration.values import KEYS, NAMESPACE, Values
from cloudpc.directory.opening import Directories
from cloudpc.images import gallery
from cloudpc.model.cloud_pc import NetworkChoice, PinnedScript
from cloudpc.model.directory import Directory, DirectoryError
from cloudpc.model.errors import ErrorCode, ProvisioningError
from cloudpc.model.hosts import HostConfig
from cloudpc.model.machines import Network
from cloudpc.model.problems import InvalidConfigurationError

from . import make
from .fake_rim import image

_FILE = "stacks/Pulumi.lab.yaml"


class Project:
    """A project's folder with a built image `micro`, an unbuilt one and a directory."""

    def __init__(self, root: Path) -> None:
        self.stacks = root / "stacks"
        for recipe in ("micro", "unbuilt"):
            (root / "vm-images" / recipe).mkdir(parents=True)
            (root / "vm-images" / recipe / "recipe.yaml").touch()
        self.write("directory.yaml", {"users": [], "groups": [{"id": "eng", "displayName": "Engineering"}]})

    def write(self, name: str, content: Any) -> None:
        path = self.stacks / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))

    def read(self, values: dict[str, Any]) -> reading.StackInputs:
        return reading.read("lab", values, Directories(self.stacks))

    def told(self, values: dict[str, Any]) -> list[str]:
        with pytest.raises(InvalidConfigurationError) as refused:
            self.read(values)
        assert len(refused.value.problems) == str(refused.value).count("\n")
        return [str(problem) for problem in refused.value.problems]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(gallery, "find", lambda _folder, name: image() if name == "micro" else None)
    return Project(tmp_path)


def _values(*groups: str, **changes: Any) -> dict[str, Any]:
    assignments = [{"target": {"groupId": group}} for group in groups]
    return {
        "cloudpc:policy": make.policy_values(**{"assignments": assignments, **changes}),
        "cloudpc:directory": {"kind": "local", "path": "directory.yaml"},
    }


def _joined(connection: str) -> dict[str, str]:
    return {"domainJoinType": "azureADJoin", "onPremisesConnectionId": connection}


def test_a_valid_stack(project: Project) -> None:
    project.write("connections/hq.yaml", {"libvirtNetwork": "corp"})
    project.write("connections/lab.yaml", {"displayName": "Lab", "bridge": "br0"})
    project.write("setup.sh", "#!/bin/sh\n")
    inputs = project.read(
        _values(
            "Engineering",
            domainJoinConfigurations=[
                _joined("hq"),
                _joined("lab"),
                make.MINIMAL_POLICY["domainJoinConfigurations"][0],
            ],
            postProvisioningScript="setup.sh",
        )
    )
    assert inputs.settings.image_digest == "ab" * 32
    assert inputs.settings.script == PinnedScript(path="setup.sh", sha256=hashlib.sha256(b"#!/bin/sh\n").hexdigest())
    assert inputs.settings.networks == (
        NetworkChoice(kind="network", source="corp", connection="hq"),
        NetworkChoice(kind="bridge", source="br0", connection="lab"),
        NetworkChoice(kind="hosted"),
    )
    assert [host.name for host in inputs.configuration.surroundings.hosts] == ["local"]


def test_a_tenant_that_can_not_be_read_hides_nothing_else(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pull requests are validated without credentials; what is wrong with their values must not pass."""
    asked: list[object] = []

    def refuse(_self: Directories, _config: object, graph: object) -> Directory:
        asked.append(graph)
        raise DirectoryError("nobody is signed in")

    monkeypatch.setattr(Directories, "_open", refuse)
    tenant = {"cloudpc:directory": {"kind": "graph"}}
    told = project.told({**_values("eng", timeZone="Nowhere", imageId="mikro"), **tenant})
    assert [line.split(": ")[1] for line in told] == [
        f"cloudpc:{field}" for field in ("policy.timeZone", "policy.imageId", "directory")
    ]
    with pytest.raises(DirectoryError, match="nobody is signed in"):
        project.read({**_values("eng"), **tenant})
    assert len(asked) == 2
    # another tenant than the one that was meant is not asked
    [line] = project.told({**_values("eng"), **tenant, "cloudpc:graph": {"endpoint": "https://graph.example"}})
    assert "cloudpc:graph.endpoint" in line
    assert len(asked) == 2


def test_everything_wrong_in_every_file_is_told_at_once(project: Project) -> None:
    project.write("connections/main-office.yaml", {"libvirtNetwork": "corp", "bridge": "br0"})
    project.write("connections/odd.yaml", "a: [")
    project.write("directory.yaml", {"groups": [{"id": "eng", "displayName": "E", "members": ["nobody"]}]})
    values = _values(
        "eng",
        timeZone="Nowhere",
        imageId="mikro",
        domainJoinConfigurations=[_joined("main-office"), _joined("odd"), _joined("main-ofice")],
        postProvisioningScript="none.sh",
    )
    values["cloudpc:polcy"] = {}
    values["cloudpc:installation"] = "short"
    values["cloudpc:hosts"] = [{"name": "A", "uri": "qemu"}, {"name": "a", "uri": "qemu:///system", "ur": ""}]
    values["cloudpc:images"] = {"mine": {"path": "x.qcow2"}}
    told = project.told(values)
    for expected in (
        f"{_FILE}: cloudpc:polcy: is not a known key (did you mean 'cloudpc:policy'?)",
        f"{_FILE}: cloudpc:policy.timeZone: must be a time zone",
        f"{_FILE}: cloudpc:policy.imageId: is not a recipe (did you mean 'micro'?); there are: debian-12, "
        "debian-12-desktop, micro",
        f"{_FILE}: cloudpc:policy.domainJoinConfigurations[2].onPremisesConnectionId: there is no "
        "stacks/connections/main-ofice.yaml (did you mean 'main-office'?); connections there: main-office, odd",
        f"{_FILE}: cloudpc:policy.postProvisioningScript: can't be read: No such file",
        f"{_FILE}: cloudpc:installation: must be text of 8 to 64",
        f"{_FILE}: cloudpc:hosts[0].name: must be 1 to 32",
        f"{_FILE}: cloudpc:hosts[0].uri: must be a URI",
        f"{_FILE}: cloudpc:hosts[1].ur: is not a known field (did you mean 'uri'?)",
        f"{_FILE}: cloudpc:images.mine.sha256: is required",
        "stacks/connections/main-office.yaml: file: needs exactly one of subnetId, libvirtNetwork, bridge and "
        "hostedNetwork: true; there are libvirtNetwork and bridge",
        "stacks/connections/odd.yaml: line 2, column 1: is not valid YAML",
        "stacks/directory.yaml: groups[0].members[0]: is not the id of a user",
    ):
        assert [text for text in told if text.startswith(expected)], (expected, told)
    assert len(told) == 13, told


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "scripts/../../secret"])
def test_a_script_comes_from_the_stacks_folder(project: Project, path: str) -> None:
    project.write("directory.yaml", {"groups": [{"id": "eng", "displayName": "E"}]})
    told = project.told(_values("eng", postProvisioningScript=path))
    assert [t for t in told if "postProvisioningScript: must be a file in stacks/ or below it" in t], told


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        ("#!/bin/sh\r\n", {}, "CRLF"),
        ("#!/bin/bahs\n", {}, "asks for /bin/bahs, which its image does not have"),
        ("#!/bin/bahs\n", {"packages": ["bahs"]}, None),
        ("echo\n", {"packages": ["zsh"]}, "has no interpreter"),
        ("#!/bin/sh\n" + "#" * 2**20, {}, "has more than 1 MB"),
        (None, {}, "is not a regular file"),
    ],
)
def test_a_script_is_looked_into(project: Project, content: str | None, more: dict[str, Any], said: str | None) -> None:
    if content is None:
        os.mkfifo(project.stacks / "setup.sh")
    else:
        (project.stacks / "setup.sh").write_bytes(content.encode())
    values = _values("eng", postProvisioningScript="setup.sh", **more)
    if said is None:
        assert project.read(values).settings.script is not None
        return
    [told] = project.told(values)
    assert told.startswith(f"{_FILE}: cloudpc:policy.postProvisioningScript: ")
    assert said in told


def test_what_needs_a_network_is_refused_where_guests_reach_nothing(project: Project) -> None:
    hosts = [{"name": "kvm1", "uri": "qemu:///system", "hostedNetwork": "restricted"}]
    values = {**_values("eng", packages=["git"]), "cloudpc:hosts": hosts}
    [told] = project.told(values)
    assert told.startswith(f"{_FILE}: cloudpc:policy.packages: can't be installed: ")
    assert "the hosted network of kvm1, where guests reach nothing" in told
    domain = {
        "adDomainName": "corp.contoso.example",
        "adDomainUsername": "join@corp.contoso.example",
        "adDomainPassword": {"environment": "CORP_PASSWORD"},
        "organizationalUnit": "OU=Cloud PCs,DC=corp,DC=contoso,DC=example",
        "domainControllers": [{"name": "dc1.corp.contoso.example", "address": "127.0.0.1"}],
    }
    project.write("connections/spare.yaml", {"hostedNetwork": True, **domain})
    join = {"domainJoinType": "hybridAzureADJoin", "onPremisesConnectionId": "spare"}
    [told] = project.told({**_values("eng", domainJoinConfigurations=[join]), "cloudpc:hosts": hosts})
    assert told.startswith(f"{_FILE}: cloudpc:policy.domainJoinConfigurations[0]: can't join a domain: ")
    project.write("connections/hq.yaml", {"libvirtNetwork": "hq"})
    own = _values("eng", packages=["git"], domainJoinConfigurations=[_joined("hq")])
    assert project.read({**own, "cloudpc:hosts": hosts}).settings.packages == ("git",)
    assert project.read({**_values("eng"), "cloudpc:hosts": hosts}).settings.packages == ()


def test_groups_are_looked_up_where_the_policy_has_other_problems(project: Project) -> None:
    told = project.told(_values("enginering", "eng", displayName=5))
    assert told == [
        f"{_FILE}: cloudpc:policy.displayName: must be text; put it in quotes (found 5)",
        f"{_FILE}: cloudpc:policy.assignments[0].target.groupId: is not a group of directory.yaml "
        "(did you mean 'Engineering'?); groups there: eng (found \"enginering\")",
    ]


@pytest.mark.parametrize("field", ["displayName", "imageId", "domainJoinConfigurations", "imageType", "assignments"])
def test_what_stands_in_for_a_wrong_field_is_never_reported(project: Project, field: str) -> None:
    [told] = project.told(_values("eng", **{field: 5}))
    assert told.startswith(f"{_FILE}: cloudpc:policy.{field}: must be")


def test_what_is_left_of_a_mended_part_may_be_wrong_in_its_turn(project: Project) -> None:
    joined = [{"domainJoinType": "azureADJoin", "regionname": "automatic"}]
    told = project.told(_values("enginering", domainJoinConfigurations=joined))
    assert any("domainJoinConfigurations[0].regionname: is not a known field" in line for line in told)
    assert any("is not a group of directory.yaml" in line for line in told)
    twice = [{"target": {"groupId": "?1"}}, {"target": {}}]
    assert project.told(
        {**_values("eng"), "cloudpc:policy": {**_values("eng")["cloudpc:policy"], "assignments": twice}}
    )


def test_missing_parts(project: Project) -> None:
    assert project.told({}) == [
        f"{_FILE}: cloudpc:policy: is required",
        f"{_FILE}: cloudpc:directory: is required",
    ]


def test_an_empty_policy(project: Project) -> None:
    told = project.told({**_values(), "cloudpc:policy": {}})
    assert told == [
        f"{_FILE}: cloudpc:policy.{field}: is required"
        for field in ("displayName", "domainJoinConfigurations", "imageId")
    ]


def test_an_ambiguous_group(project: Project) -> None:
    groups = [{"id": f"g{i}", "displayName": "Twins"} for i in range(2)]
    project.write("directory.yaml", {"groups": groups})
    [told] = project.told(_values("Twins"))
    assert "is the displayName of 2 groups; write the id of one: g0, g1" in told


def test_an_empty_connection_is_a_problem_and_not_none(project: Project) -> None:
    project.write("connections/hq.yaml", "# not filled in yet\n")
    [told] = project.told(_values(domainJoinConfigurations=[_joined("hq")]))
    wanted = "exactly one of subnetId, libvirtNetwork, bridge and hostedNetwork: true"
    assert told == f"stacks/connections/hq.yaml: file: needs {wanted}"


def test_an_image_that_is_not_built(project: Project) -> None:
    [told] = project.told(_values(imageId="unbuilt"))
    assert "run `cloudpc image build unbuilt`" in told


def test_a_recipe_that_is_broken(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ProvisioningError(ErrorCode.IMAGE_INVALID, "recipe.yaml: suite: is required")

    monkeypatch.setattr(gallery, "find", broken)
    [told] = project.told(_values())
    assert told.startswith(f"{_FILE}: cloudpc:policy.imageId: recipe.yaml: suite: is required")


def test_a_service_plan_with_less_memory_than_the_image_needs_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "find", lambda *_: image(minimum_memory_mib=1024))
    plans = [{"id": "small", "displayName": "S", "vCpuCount": 1, "ramInGB": 0.5, "storageInGB": 8}]
    users = [{"id": "a", "userPrincipalName": "a@x.example", "displayName": "A", "servicePlans": ["small"]}]
    groups = [{"id": "eng", "displayName": "Engineering", "members": ["a"]}]
    project.write("directory.yaml", {"users": users, "groups": groups, "servicePlans": plans})
    inputs = project.read(_values("Engineering"))
    asked = SimpleNamespace(inputs=lambda _name: inputs, shown=lambda _name: _FILE)
    [told] = wishes.too_small(asked, "lab")  # type: ignore[arg-type]
    assert "imageId: needs 1024 MiB of memory, and of the service plans of its users small has 512" in str(told)
    nobody = project.read(_values())
    assert wishes.too_small(SimpleNamespace(inputs=lambda _name: nobody), "lab") == []  # type: ignore[arg-type]


def test_custom_images(project: Project) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(project.stacks / "good.qcow2"), "1M"], check=True)
    (project.stacks / "raw.img").write_bytes(b"\0" * 64)
    images = {
        "good": {"path": "good.qcow2", "sha256": "AB" * 32},
        "raw": {"path": "raw.img", "sha256": "ab" * 32},
        "gone": {"path": "gone.qcow2", "sha256": "ab" * 32},
        "odd": {"path": "good.qcow2", "sha": "ab"},
        "other": {"path": "good.qcow2", "sha256": "ab" * 32, "guestOS": "linus"},
    }

    def told(name: str, *names: str) -> list[str]:
        some = {each: images[each] for each in names}
        return project.told({**_values(imageType="custom", imageId=name), "cloudpc:images": some})

    values = {**_values(imageType="custom", imageId="good"), "cloudpc:images": {"good": images["good"]}}
    assert project.read(values).settings.image_digest == "ab" * 32
    assert "is not a custom image of cloudpc:images (did you mean 'good'?); there are: good" in told("goood", "good")[0]
    assert project.read(values).settings.guest_os == "linux"
    [line] = told("other", "other")
    assert "cloudpc:images.other.guestOS: is not a guest system (did you mean 'linux'?); there are: linux" in line
    assert "qemu-img convert" in told("raw", "raw")[0]
    assert "gone.qcow2 can't be read" in told("gone", "gone")[0]
    assert [line.partition(": must")[0].partition(": is")[0] for line in told("odd", "odd")] == [
        f"{_FILE}: cloudpc:images.odd.sha256",
        f"{_FILE}: cloudpc:images.odd.sha",
    ]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("qemu:///system", "qemu+unix:///system", True),
        ("qemu:///system", "qemu:///system/", True),
        ("qemu:///system", "qemu:///session", "as root"),
        ("qemu:///system", "qemu+unix:///system?socket=/run/other", False),
        ("qemu+ssh://kvm1/system", "qemu+ssh://root@KVM1:22/system", True),
        ("qemu+ssh://kvm1/system", "qemu+tls://kvm1./system", True),
        ("qemu+ssh://kvm1/system", "qemu://kvm1:16514/system?no_verify=1", True),
        ("qemu+ssh://kvm1/system", "qemu+ssh://kvm1:2222/system", False),
        ("qemu+ssh://kvm1/system", "qemu+ssh://kvm2/system", False),
        ("qemu+ssh://[fd00::5]/system", "qemu+ssh://[FD00::5]/system", True),
        ("qemu+ssh://a@kvm1/session", "qemu+ssh://b@kvm1/session", False),
        ("qemu+ssh://a@kvm1/session", "qemu+ssh://a@kvm1/system", False),
    ],
)
@pytest.mark.parametrize("root", [True, False])
def test_two_spellings_of_one_hypervisor(
    project: Project, monkeypatch: pytest.MonkeyPatch, one: str, other: str, same: bool | str, root: bool
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0 if root else 1000)
    values = {**_values(), "cloudpc:hosts": [{"name": "a", "uri": one}, {"name": "b", "uri": other}]}
    if same is True or (same == "as root" and root):
        [told] = project.told(values)
        assert "cloudpc:hosts: a and b are one hypervisor, by two spellings of its URI; leave one out" in told
    else:
        project.read(values)


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ([], "needs at least one host"),
        ({"name": "a"}, "must be a list"),
        (
            [{"name": "a", "uri": "qemu:///system"}, {"name": "b", "uri": "qemu:///system"}],
            "two hosts have the same uri",
        ),
        ([{"name": "a", "uri": "qemu:///a"}, {"name": "a", "uri": "qemu:///b"}], "two hosts have the same name"),
        ([{"name": "a", "uri": "qemu:///a", "vCpuOvercommit": 0}], "must be greater than or equal to 1"),
    ],
)
def test_hosts(project: Project, hosts: Any, said: str) -> None:
    [told] = project.told({**_values(), "cloudpc:hosts": hosts})
    assert said in told


@pytest.mark.parametrize("value", ["0123456789", "abcdefgh", "0" * 64])
def test_an_installation_of_ones_own(project: Project, value: str) -> None:
    assert project.read({**_values(), "cloudpc:installation": value}).configuration.installation == value


@pytest.mark.parametrize("value", ["ABCDEFGH", "abc-defg", "abc", "0" * 65, "abcdefgh\n", "äbcdefgh", 12345678, ""])
def test_an_installation_that_is_none(project: Project, value: object) -> None:
    [told] = project.told({**_values(), "cloudpc:installation": value})
    assert "cloudpc:installation: must be text of 8 to 64 characters" in told


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-30T09:00:00Z",
        "2026-11-30 10:00:00+01:00",
        "2026-11-30 09:00:00 +0000 UTC",
        "2026-11-30 10:00:00 +0100 CET",
    ],
)
def test_the_end_of_a_grace_period(project: Project, value: str) -> None:
    """The last two are what the engine makes of times without quotes."""
    values = {**_values(), "cloudpc:actions": {"endGrace": {"u1/small": value}}}
    assert project.read(values).configuration.actions["endGrace"] == {"u1/small": datetime(2026, 11, 30, 9, tzinfo=UTC)}


@pytest.mark.parametrize("value", ["2026-11-30", "2026-11-30T09:00:00", "soon", 1796000000, True, None])
def test_what_is_no_end_of_a_grace_period(project: Project, value: object) -> None:
    [told] = project.told({**_values(), "cloudpc:actions": {"endGrace": {"u1/small": value}}})
    assert "cloudpc:actions.endGrace.u1/small: must be a time with its zone, for example 2026-11-30T09:00:00Z" in told


def test_the_part_that_needs_no_image(project: Project) -> None:
    values = _values("eng", imageId="unbuilt")
    read = reading.read_policy_and_directory("lab", values, Directories(project.stacks))
    assert set(read.snapshot.groups) == {"eng"}
    project.write("directory.yaml", "users: 5")
    values["cloudpc:x"] = 1
    with pytest.raises(InvalidConfigurationError, match=r"(?s)cloudpc:x.*directory\.yaml: users"):
        reading.read_policy_and_directory("lab", values, Directories(project.stacks))


def test_keys_of_others_are_none_of_ours(project: Project) -> None:
    project.read({**_values(), "aws:region": "eu-central-1", "pulumi:tags": {}})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from([*KEYS, f"{NAMESPACE}other"]), _JSON),
    st.dictionaries(st.sampled_from(list(make.policy_values())), _JSON),
)
def test_whatever_is_written_there_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any], changes: dict[str, Any]
) -> None:
    merged = {**_values(**changes), **values}
    with pytest.raises(InvalidConfigurationError) as refused:
        reading.read("lab", merged, Directories(tmp_path_factory.getbasetemp() / "nothing there"))
    assert refused.value.problems


def test_two_malformed_entries_of_a_list_are_both_told(project: Project) -> None:
    project.write("directory.yaml", {"groups": [{"id": "eng", "displayName": "E"}]})
    values = _values("eng")
    values["cloudpc:policy"]["assignments"] = [{}, {"targets": {"groupId": "x"}}, {"target": {"groupId": "nope"}}]
    told = project.told(values)
    for place in (
        "assignments[0].target: is required",
        "assignments[1].targets: is not a known field",
        "is not a group of",
    ):
        assert [t for t in told if place in t], (place, told)


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("devices", {"registration": "record"}, "cloudpc:devices.registration"),
        ("credentials", {"kind": "temporaryAccessPass"}, "cloudpc:credentials.kind"),
    ],
)
def test_what_is_made_in_a_tenant_needs_its_directory(project: Project, key: str, value: Any, field: str) -> None:
    [told] = project.told({**_values(), f"cloudpc:{key}": value})
    assert f"{field}: needs cloudpc:directory of kind graph" in told


def test_a_directory_of_no_known_kind(project: Project) -> None:
    [told] = project.told({**_values(), "cloudpc:directory": {"kind": "ldap"}})
    assert told.endswith("cloudpc:directory.kind: must be 'local' or 'graph' (found \"ldap\")")


def test_credentials_that_contradict_themselves(project: Project) -> None:
    [told] = project.told({**_values(), "cloudpc:credentials": {"kind": "password", "lifetimeInMinutes": 60}})
    assert "lifetimeInMinutes and isUsableOnce are for kind: temporaryAccessPass" in told


def test_groups_of_several_policies_are_known_without_their_directory(project: Project) -> None:
    assert parsing.group_references(_values("eng", "sales")) == ["eng", "sales"]
    assert parsing.group_references({}) == []
    assert parsing.group_references({"cloudpc:policy": {"assignments": [{"target": {"groupId": "x"}}, 5]}}) == [
        "x", "?1",
    ]  # fmt: skip


@pytest.mark.parametrize("user", ["ci:S3cretPw@", "S3cretPw@", ":S3cretPw@"])
def test_user_info_of_a_url_must_be_sealed(user: str, project: Project) -> None:
    image = {"url": f"https://{user}images.example/own.qcow2", "sha256": "ab" * 32}
    images, rest = {"cloudpc:images": {"own": image}}, _values(imageType="custom", imageId="own")
    [told] = project.told(Values({**rest, **images}, {}, {}))
    assert told.startswith(f"{_FILE}: cloudpc:images.own.url: has user and password")
    assert "S3cretPw" not in told
    [told] = project.told(Values(rest, images, {}))
    assert told.startswith("Pulumi.yaml: cloudpc:images.own.url: has user and password")
    assert project.read(Values(rest, {}, images)).settings.image_digest == "ab" * 32


class _Elsewhere(HostConfig):
    """Without a network of its own, and with others only of the folder that it says."""

    PLACED_BY = "uri"
    uri: str

    def offers(self, network: Network) -> bool:
        return network.source.startswith(self.uri)


def test_a_network_that_no_hosts_entry_offers_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    host = _Elsewhere(name="weu", uri="qemu://a")
    monkeypatch.setattr(parsing.hosts, "read", lambda *_: (host,))
    project.write("connections/hq.yaml", {"libvirtNetwork": "corp"})
    joins = [_joined("hq"), make.MINIMAL_POLICY["domainJoinConfigurations"][0]]
    field = f"{_FILE}: cloudpc:policy.domainJoinConfigurations"
    assert project.told(_values("Engineering", domainJoinConfigurations=joins)) == [
        f"{field}[0].onPremisesConnectionId: is of the libvirt network corp, and no host of the policy has it, by what "
        'its entry says: weu (qemu) (found "hq")',
        f"{field}[1].regionName: no host of the policy offers a network of its own: weu (qemu); name a connection "
        '(onPremisesConnectionId), or let the host\'s entry say which network that is (found "automatic")',
    ]
    project.write("connections/hq.yaml", {"libvirtNetwork": "qemu://a/corp"})
    assert (
        project.read(_values("Engineering", domainJoinConfigurations=joins[:1])).settings.networks[0].kind == "network"
    )
