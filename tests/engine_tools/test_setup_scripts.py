"""The parts of tools/setup that decide something; what installs and compiles is tried on a fresh Debian by hand."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
import tomllib
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from engine_side import REPOSITORY

from cloudpc.images import commands

AWKWARD = "it's 100% a b#c?d"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The scripts in a folder whose name has every character that must be escaped somewhere."""
    root = tmp_path / AWKWARD
    shutil.copytree(REPOSITORY / "tools", root / "tools")
    shutil.copy(REPOSITORY / "Pulumi.yaml", root)
    return root


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "on path").mkdir()
    return {"PATH": f"{tmp_path / 'on path'}:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "my cache")}


def pulumi(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    executable = folder / "pulumi"
    executable.write_text(f"#!/bin/sh\necho '{version}'\n")
    executable.chmod(0o755)
    return folder


def run(command: list[str | Path], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def pinned() -> str:
    found = re.search(r"pulumi/pkg/v3 (v[\d.]+)", (REPOSITORY / "tools/engine/go.mod").read_text())
    assert found
    return found[1]


def test_engine_and_sdk_are_one_version() -> None:
    go_mod = (REPOSITORY / "tools/engine/go.mod").read_text()
    assert re.search(rf"pulumi/sdk/v3 {re.escape(pinned())}\b", go_mod)
    dependencies = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"pulumi=={pinned()[1:]}" in dependencies
    assert f"\npulumi=={pinned()[1:]} " in (REPOSITORY / "requirements.lock").read_text()


def test_pulumi_yaml_admits_the_pinned_engine_and_its_shape_is_what_the_scripts_read() -> None:
    project = yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text())
    assert re.fullmatch(r">=3\.\d+\.\d+ <4\.0\.0", project["requiredPulumiVersion"])


@pytest.mark.parametrize(
    ("version", "taken"),
    [(pinned(), True), ("v3.999.1", True), ("v3.9.0", False), ("v2.25.2", False), ("v4.0.0", False), ("", False)],
)
def test_a_pulumi_on_path_is_taken_if_its_version_is_supported(
    checkout: Path, environment: dict[str, str], tmp_path: Path, version: str, taken: bool
) -> None:
    built = pulumi(tmp_path / "my cache/cloudpc/engine" / pinned() / "bin", pinned())
    on_path = pulumi(tmp_path / "on path", version)
    found = run([checkout / "tools/engine/find"], environment).stdout.removesuffix("\n")
    assert found == str(on_path if taken else built)


def test_an_engine_in_a_named_folder_goes_before_the_cache(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    pulumi(tmp_path / "my cache/cloudpc/engine" / pinned() / "bin", pinned())
    shared = pulumi(tmp_path / "for all" / pinned() / "bin", pinned())
    found = run([checkout / "tools/engine/find"], environment | {"CLOUDPC_ENGINES": str(tmp_path / "for all")})
    assert found.stdout == f"{shared}\n"


def test_one_that_lies_there_for_all_users_is_taken_where_oneself_has_none(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    script = checkout / "tools/engine/version.sh"
    script.write_text(script.read_text().replace("/usr/local/share/cloudpc/engine", str(tmp_path / "for all")))
    shared = pulumi(tmp_path / "for all" / pinned() / "bin", pinned())
    assert run([checkout / "tools/engine/find"], environment).stdout == f"{shared}\n"
    own = pulumi(tmp_path / "my cache/cloudpc/engine" / pinned() / "bin", pinned())
    assert run([checkout / "tools/engine/find"], environment).stdout == f"{own}\n"


def test_no_engine_is_said_by_the_exit_status(checkout: Path, environment: dict[str, str], tmp_path: Path) -> None:
    environment["CLOUDPC_ENGINES"] = str(tmp_path / "none")
    script = checkout / "tools/engine/version.sh"  # this machine may have one for all
    script.write_text(script.read_text().replace("/usr/local/share/cloudpc/engine", str(tmp_path / "none")))
    result = run([checkout / "tools/engine/find"], environment)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", "")


def test_the_environment_leaves_the_backend_to_pulumi_yaml_where_that_names_one(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    pulumi(tmp_path / "on path", pinned())
    with (checkout / "Pulumi.yaml").open("a") as project:
        project.write("backend: {url: s3://bucket}\n")
    for step in ("folder", "env"):
        assert run([checkout / "tools/workspace", step], environment).returncode == 0
    assert "PULUMI_BACKEND_URL" not in variables(checkout, environment | {"PULUMI_BACKEND_URL": "file:///old"})


def variables(checkout: Path, environment: dict[str, str]) -> dict[str, str]:
    """What a shell has after sourcing `env` twice."""
    script = '. "$1"; . "$1"; exec env -0'
    output = run(["sh", "-uc", script, "sh", checkout / ".cloudpc/env"], environment).stdout
    return dict(line.split("=", 1) for line in output.split("\0") if line)


def test_the_file_to_source_survives_any_path(checkout: Path, environment: dict[str, str], tmp_path: Path) -> None:
    built = pulumi(tmp_path / "my cache/cloudpc/engine" / pinned() / "bin", pinned())
    (built / "pulumi-language-python").touch(mode=0o755)
    for what in ("folder", "env"):
        assert run([checkout / "tools/workspace", what], environment).stderr == ""
    got = variables(checkout, environment | {"PULUMI_CONFIG_PASSPHRASE": "another", "PULUMI_PARALLEL": "5"})
    assert got["PATH"] == f"{built}:{checkout / '.venv/bin'}:{environment['PATH']}"
    assert unquote(got["PULUMI_BACKEND_URL"]) == f"file://{checkout / '.cloudpc/state'}"
    assert got["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(checkout / ".cloudpc/passphrase")
    assert got["PULUMI_PARALLEL"] == "5"
    assert "PULUMI_CONFIG_PASSPHRASE" not in got


def test_one_s_own_pulumi_is_found_by_a_shell_that_lacks_it_and_comes_last(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    own = pulumi(tmp_path / "on path", pinned())
    for what in ("folder", "env"):
        assert run([checkout / "tools/workspace", what], environment).returncode == 0
    path = variables(checkout, environment | {"PATH": "/usr/bin:/bin"})["PATH"]
    assert path.split(":")[-3:] == ["/usr/bin", "/bin", str(own)]


def test_our_language_host_is_on_path_only_without_the_official_one(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = pulumi(tmp_path / "on path", pinned())
    run([checkout / "tools/workspace", "folder"], environment)
    run([checkout / "tools/workspace", "env"], environment)
    ours = str(checkout / "tools/language-host")
    assert ours in variables(checkout, environment)["PATH"].split(":")
    (folder / "pulumi-language-python").touch(mode=0o755)
    run([checkout / "tools/workspace", "env"], environment)
    assert ours not in variables(checkout, environment)["PATH"].split(":")


def test_writing_the_file_in_a_shell_that_has_sourced_it_changes_nothing(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """The built engine without a language host beside it: both come from us, neither may pass for the user's own."""
    pulumi(tmp_path / "my cache/cloudpc/engine" / pinned() / "bin", pinned())
    run([checkout / "tools/workspace", "folder"], environment)
    run([checkout / "tools/workspace", "env"], environment)
    first = (checkout / ".cloudpc/env").read_text()
    again = environment | {"PATH": variables(checkout, environment)["PATH"]}
    assert run([checkout / "tools/workspace", "env"], again).stderr == ""
    assert (checkout / ".cloudpc/env").read_text() == first


def test_the_workspace_is_private_and_a_passphrase_is_never_replaced(
    checkout: Path, environment: dict[str, str]
) -> None:
    for _ in range(2):
        assert run([checkout / "tools/workspace", "folder"], environment).returncode == 0
    passphrase = checkout / ".cloudpc/passphrase"
    first = passphrase.read_text()
    assert len(first) > 40
    run([checkout / "tools/workspace", "folder"], environment)
    assert passphrase.read_text() == first
    assert passphrase.stat().st_mode & 0o777 == 0o600
    assert (checkout / ".cloudpc").stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in (checkout / ".cloudpc").iterdir()) == ["passphrase", "pulumi", "state"]


def test_set_up_installs_what_building_an_image_needs() -> None:
    lines = (REPOSITORY / "tools/packages.txt").read_text().splitlines()
    installed = {line for line in lines if line and not line.startswith("#")}
    needed = set((commands.PROGRAMS | commands.PROGRAMS_WITHOUT_ROOT).values())
    assert needed - {"tar", "util-linux"} <= installed  # those two are on every Debian


def test_only_the_tests_install_a_domain_controller(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    stubs = {"apt-get": f'echo "$@" >> "{asked}"', "dpkg-query": "exit 1", "systemctl": "exit 0", "sudo": 'exec "$@"'}
    for name, script in stubs.items():
        (tmp_path / "on path" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "on path" / name).chmod(0o755)
    for arguments in ([], ["test"]):
        result = run([checkout / "tools/packages", *arguments], environment)
        assert result.returncode == 0, result.stderr
    set_up, tests = (set(line.split()) for line in asked.read_text().splitlines())
    assert "libvirt-dev" in set_up
    assert not [name for name in set_up if name.startswith("samba")]
    assert "samba-ad-dc" in tests
    assert "libvirt-dev" not in tests


def _uv(checkout: Path, tmp_path: Path, **stubs: str) -> None:
    """Scripts where the pinned uv and its Python are to be."""
    for name in ("requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, checkout)
    digest = sha256((checkout / "tools/uv.txt").read_bytes()).hexdigest()[:12]
    programs = tmp_path / "my cache/cloudpc/tools" / f"uv-{digest}" / "bin"
    programs.mkdir(parents=True)
    for name, script in stubs.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)


def test_uv_is_told_of_pips_folders_of_wheels_that_are_there(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """pip passes over one that is not there; uv would end."""
    (tmp_path / "wheels").mkdir()
    settings = f":env:.find-links='/nowhere {tmp_path}/wheels https://wheels.example/'"
    told = f'echo "$UV_FIND_LINKS" > "{tmp_path}/told"; exit 1'
    _uv(checkout, tmp_path, python=f'echo "{settings}"', uv=told)
    run([checkout / "tools/environment"], environment)
    assert (tmp_path / "told").read_text() == f"{tmp_path}/wheels,https://wheels.example/\n"


def test_who_needs_only_the_packages_does_not_wait_for_what_makes_later_starts_quicker(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    said = tmp_path / "said"
    python = checkout / ".venv/bin/python"
    stub = tmp_path / "python"
    stub.write_text(f'#!/bin/sh\necho "$1 $2" >>"{said}"\n')
    stub.chmod(0o755)
    makes = f'mkdir -p "{python.parent}" && cp "{stub}" "{python}"'
    _uv(checkout, tmp_path, python="exit 0", uv=f'echo "$1 $2" >>"{said}"; [ "$1" != venv ] || {{ {makes}; }}')
    for _ in range(2):
        run([checkout / "tools/environment", "packages"], environment)
    assert [line.split()[0] for line in said.read_text().splitlines()] == ["venv", "pip", "pip"]
    said.unlink()
    run([checkout / "tools/environment"], environment)
    assert said.read_text().startswith("-m ensurepip\n")
    assert "pip sync" not in said.read_text()


RELEASES = {
    "bookworm": "ID=debian\nVERSION_CODENAME=bookworm\n",
    "trixie": "ID=debian\nVERSION_CODENAME=trixie\n",
    "noble": "PRETTY_NAME='Ubuntu 24.04.1 LTS'\nID=ubuntu\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n",
    "jammy": "ID=ubuntu\nVERSION_CODENAME=jammy\nUBUNTU_CODENAME=jammy\n",
    "vera": "ID=linuxmint\nID_LIKE='ubuntu debian'\nVERSION_CODENAME=vera\nUBUNTU_CODENAME=jammy\n",
    "none": "",
}


def _asked_for(checkout: Path, environment: dict[str, str], tmp_path: Path, release: str, *arguments: str) -> set[str]:
    """What apt is asked to install on such a system, with nothing installed."""
    asked, folder = tmp_path / "asked", tmp_path / "on path"
    stubs = {"apt-get": f'echo "$@" > "{asked}"', "dpkg-query": "exit 1", "systemctl": "exit 0", "sudo": 'exec "$@"'}
    for name, script in stubs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    (tmp_path / "os-release").write_text(RELEASES[release])
    named = {"CLOUDPC_OS_RELEASE": str(tmp_path / "os-release")}
    result = run([checkout / "tools/packages", *arguments], environment | named)
    assert result.returncode == 0, result.stderr
    return {word for word in asked.read_text().split() if not word.startswith("-")} - {"install"}


@pytest.mark.parametrize("release", RELEASES)
def test_each_system_gets_its_own_names(
    checkout: Path, environment: dict[str, str], tmp_path: Path, release: str
) -> None:
    set_up = _asked_for(checkout, environment, tmp_path, release)
    tests = _asked_for(checkout, environment, tmp_path, release, "test")
    is_jammy, is_ubuntu = release in ("jammy", "vera"), release in ("jammy", "vera", "noble")
    assert {"qemu-system-x86", "python3-venv", "mmdebstrap"} <= set_up
    assert ("debian-archive-keyring" in set_up) is is_ubuntu
    assert ("python3.11-venv" in set_up) is is_jammy
    assert ("samba-ad-dc" not in tests) is is_jammy
    assert "samba" in tests
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", name) for name in set_up | tests)


UNREACHED = "echo W: Failed to fetch http://mirror.example/"


@pytest.mark.parametrize(
    ("release", "update", "is_tried", "has_universe"),
    [
        ("trixie", "exit 0", True, False), ("noble", "exit 0", False, True),
        # without a network apt knows of no package at all
        ("noble", f"{UNREACHED}; exit 0", False, False), ("noble", f"{UNREACHED}; exit 100", False, False),
    ],
)  # fmt: skip
def test_a_system_that_set_up_is_not_tried_on_is_told_so_and_where_its_packages_are(
    checkout: Path,
    environment: dict[str, str],
    tmp_path: Path,
    release: str,
    update: str,
    is_tried: bool,
    has_universe: bool,
) -> None:
    apt = f"""[ "$1" != update ] || {{ {update}; }}
[ "$LC_ALL" = C ] && echo E: Unable to locate package x || echo E: Paket x kann nicht gefunden werden
exit 100"""
    stubs = {"apt-get": apt, "dpkg-query": "exit 1", "sudo": 'exec "$@"'}
    for name, script in stubs.items():
        (tmp_path / "on path" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "on path" / name).chmod(0o755)
    (tmp_path / "os-release").write_text(RELEASES[release])
    named = {"CLOUDPC_OS_RELEASE": str(tmp_path / "os-release")}
    result = run([checkout / "tools/packages"], environment | named | {"LC_ALL": "de_DE.UTF-8"})
    assert result.returncode == 1
    assert ("Ubuntu 24.04.1 LTS" not in result.stdout) is is_tried
    assert ("add-apt-repository universe" in result.stderr) is has_universe


GO = """#!/bin/sh
[ "$1" != env ] || { echo go1.99.0; exit; }
[ "$1" = list ] || [ "$1" = build ] || exit 0
if [ "$1" = list ]; then
    # said by what sleeps: a shell that forks hears of no signal
    sh -c 'echo "go: downloading example.org/a v1" >&2; exec sleep "$1"' sh "$PAUSE"
    printf 'a\\nb\\nc\\nd\\n'
else
    printf 'a\\nb\\n' >&2
    sleep "$PAUSE"
    [ -z "$FAILS" ] || { echo "a/x.go:1: does not compile" >&2; exit 1; }
    while [ "$1" != -o ]; do shift; done
    printf '#!/bin/sh\\necho VERSION\\n' >"$2"
    chmod +x "$2"
fi
"""


@pytest.fixture
def with_go(checkout: Path, environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A Go that takes its time, and compiles nothing."""
    (tmp_path / "on path/go").write_text(GO.replace("VERSION", pinned()))
    (tmp_path / "on path/go").chmod(0o755)
    progress = {"CLOUDPC_PROGRESS": str(tmp_path / "progress"), "CLOUDPC_ENGINES": str(tmp_path / "engines")}
    script = checkout / "tools/engine/version.sh"  # this machine may have one for all
    script.write_text(script.read_text().replace("/usr/local/share/cloudpc/engine", str(tmp_path / "none")))
    return environment | progress | {"PAUSE": "0", "FAILS": ""}


def test_a_build_says_how_to_skip_it_and_how_far_it_is(checkout: Path, with_go: dict[str, str], tmp_path: Path) -> None:
    told: list[str] = []
    command = [checkout / "tools/engine/build"]
    with subprocess.Popen(
        command, env=with_go | {"PAUSE": "2.5"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        while process.poll() is None:
            with contextlib.suppress(OSError):
                told.append((tmp_path / "progress").read_text())
            time.sleep(0.05)
        assert process.stdout
        said = process.stdout.read()
    assert process.returncode == 0, said
    assert "To skip it" in said
    modules = len(
        [line for line in (REPOSITORY / "tools/engine/go.sum").read_text().splitlines() if "/go.mod" not in line]
    )
    assert any(f"1 of at most {modules} modules" in each for each in told)
    assert "[##########----------] compiling Pulumi, 2 of 4 packages\n" in told
    assert sorted(path.name for path in (tmp_path / "engines").iterdir()) == ["lock", pinned()]


def test_a_build_that_fails_says_why_and_leaves_nothing(
    checkout: Path, with_go: dict[str, str], tmp_path: Path
) -> None:
    ran = run([checkout / "tools/engine/build"], with_go | {"FAILS": "1"})
    assert ran.returncode == 1
    assert ran.stderr.startswith("a/x.go:1: does not compile\nerror: "), "without the names of what was compiled"
    assert [path.name for path in (tmp_path / "engines").iterdir()] == ["lock"]


def test_a_build_that_is_interrupted_leaves_nothing(checkout: Path, with_go: dict[str, str], tmp_path: Path) -> None:
    command = [checkout / "tools/engine/build"]
    with subprocess.Popen(command, env=with_go | {"PAUSE": "60"}, stdout=subprocess.PIPE, start_new_session=True) as it:
        said = tmp_path / "engines/.build/said"
        while not said.exists() or "downloading" not in said.read_text():
            time.sleep(0.02)
        os.killpg(it.pid, signal.SIGINT)
        assert it.wait(timeout=20) == 130
    assert [path.name for path in (tmp_path / "engines").iterdir()] == ["lock"]


def test_a_peer_of_the_benchmarks_with_another_checksum_is_not_built(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    go = tmp_path / "on path/go"
    told = '\\t"Dir": "/",\\n\\t"Sum": "h1:other"\\n'
    go.write_text(
        f"""#!/bin/sh\ncase $1 in env) echo go1.99.0 ;; mod) printf '{told}' ;; *) touch '{tmp_path}/built' ;; esac\n"""
    )
    go.chmod(0o755)
    ran = run([checkout / "tools/peers"], environment)
    assert ran.returncode == 1
    assert "another checksum" in ran.stderr
    assert not (tmp_path / "built").exists()


def test_set_up_says_what_it_is_doing(checkout: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """Without a terminal: in a line now and then; here each second."""
    tools = checkout / "tools"
    for name in ("packages", "environment", "libvirt", "workspace"):
        (tools / name).write_text("#!/bin/sh\nmkdir -p .cloudpc/log\n")
    (tools / "engine/ensure").write_text(
        '#!/bin/sh\n. tools/lib.sh\nprogress "compiling Pulumi, 2 of 4"\nsleep 2.5\nsay "Pulumi: there."\n'
    )
    (tools / "engine/ensure").write_text((tools / "engine/ensure").read_text().replace(". tools", "root=. && . tools"))
    (tools / "web/fetch").write_text("#!/bin/sh\nmkdir -p build/web\n")
    script = (tools / "setup").read_text().replace("every=30", "every=1")
    (tools / "setup").write_text(script)
    ran = run([tools / "setup", "sh", "-c", "sleep 2; touch made"], environment)
    assert ran.returncode == 0, ran.stderr
    assert "s: compiling Pulumi, 2 of 4; base image\n" in ran.stdout
    assert "\nPulumi: there.\n" in ran.stdout
    assert (checkout / "made").exists()
    assert (checkout / "build/web").exists(), "pages show no desktop"


def test_who_can_t_reach_npm_has_all_but_what_pages_load(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    tools = checkout / "tools"
    for name in ("packages", "environment", "libvirt", "workspace", "engine/ensure"):
        (tools / name).write_text("#!/bin/sh\nmkdir -p .cloudpc/log\n")
    ran = run([tools / "setup"], environment | {"npm_config_registry": "http://127.0.0.1:9", "HOME": str(tmp_path)})
    assert ran.returncode == 0, ran.stderr
    assert f"so they show no desktop and no console; {checkout}/.cloudpc/log/setup/pages.log says why" in ran.stdout
    assert "could not be fetched from http://127.0.0.1:9" in (checkout / ".cloudpc/log/setup/pages.log").read_text()


def test_a_try_with_two_kinds_of_tests_at_once_is_refused() -> None:
    make = ["make", "--dry-run", "-C", REPOSITORY, "try-debian"]
    both = run([*make, "TESTS=tests", "GUESTS=x"], dict(os.environ))
    assert both.returncode == 2
    assert "one, then with the other" in both.stderr
    one = run([*make, "TESTS=tests"], dict(os.environ))
    assert "tools/try-debian trixie sh /root/suite tests\n" in one.stdout


def test_scripts_are_valid_posix_shell() -> None:
    scripts = [
        path
        for path in (*(REPOSITORY / "tools").rglob("*"), *(REPOSITORY / "provider/plugin").iterdir())
        if path.is_file() and (path.suffix == ".sh" or path.read_bytes().startswith(b"#!/bin/sh"))
    ]
    assert len(scripts) >= 10
    for script in scripts:
        result = run(["/bin/sh", "-n", script], {})
        assert result.returncode == 0, result.stderr
