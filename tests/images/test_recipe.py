from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cloudpc.images import builder, gallery, mirror, recipe
from cloudpc.images.mirror import Mirror
from cloudpc.model.errors import ErrorCode, ProvisioningError

VM_IMAGES = Path(__file__).parents[2] / "vm-images"
SOURCE = Mirror("Types: deb\nURIs: http://mirror.invalid/debian\nSuites: bookworm\nComponents: main\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of vm-images, a cache of its own and a mirror that is not there."""
    monkeypatch.setenv("CLOUDPC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mirror, "configured", lambda suite: SOURCE)
    return shutil.copytree(VM_IMAGES, tmp_path / "vm images", symlinks=True)


def test_the_recipes_of_this_project_are_valid() -> None:
    assert {found.image_id for found in gallery.recipes(VM_IMAGES)} == {"debian-12", "debian-12-desktop", "micro"}


def test_the_key_changes_with_every_input_and_with_nothing_else(folder: Path) -> None:
    def key() -> str:
        return builder.key(recipe.load(folder / "micro"))

    first = key()
    assert key() == first
    os.utime(folder / "micro" / "recipe.yaml")
    (folder / "micro" / "customize").chmod(0o775)  # another umask
    (folder / "debian-12" / "customize").write_text("another recipe")
    assert key() == first
    seen = {first}
    (folder / "micro" / "customize").chmod(0o644)
    seen.add(key())
    with (folder / "micro" / "customize").open("a") as file:
        file.write("# more\n")
    seen.add(key())
    (folder / "micro" / "files" / "new").write_text("")
    seen.add(key())
    (folder / "shared" / "initrd-init").write_text("")
    seen.add(key())
    assert len(seen) == 5


def test_one_that_extends_another_is_all_of_it_and_more(folder: Path) -> None:
    base, found = recipe.load(folder / "debian-12"), recipe.load(folder / "debian-12-desktop")
    assert found.settings.packages[: len(base.settings.packages)] == base.settings.packages
    assert "xrdp" in found.settings.packages
    assert found.settings.excluded_paths == base.settings.excluded_paths
    assert (found.settings.suite, found.settings.waits_for_identity) == ("bookworm", True)
    assert (base.settings.has_desktop, found.settings.has_desktop) == (False, True)
    assert [part.image_id for part in found.parts] == ["debian-12", "debian-12-desktop"]
    first = builder.key(found)
    (folder / "debian-12" / "customize").write_text("another base")
    assert builder.key(recipe.load(folder / "debian-12-desktop")) != first


@pytest.mark.parametrize(
    ("name", "said"), [("debian-13", "is not a recipe (did you mean 'debian-12'?)"), ("micro", "extends itself")]
)
def test_what_it_extends_has_to_be_there(folder: Path, name: str, said: str) -> None:
    (folder / "micro" / "recipe.yaml").write_text(f"extends: {name}\ndisplayName: X\n")
    with pytest.raises(ProvisioningError) as caught:
        recipe.load(folder / "micro")
    assert f"extends: {name} {said}" in caught.value.message


def test_every_problem_of_a_recipe_is_named(folder: Path) -> None:
    (folder / "micro" / "recipe.yaml").write_text("displayName: X\nsuite: 12\nflavour: large\n")
    with pytest.raises(ProvisioningError) as caught:
        gallery.build(folder, "micro", print)
    assert caught.value.code is ErrorCode.IMAGE_INVALID
    assert not caught.value.retriable
    for word in ("suite", "flavour", "packages", "commandLine", "diskSizeInMB"):
        assert word in caught.value.message


@pytest.mark.parametrize("name", ["debian", "", "../vm images/micro", "shared"])
def test_an_unknown_recipe_names_those_there_are(folder: Path, name: str) -> None:
    with pytest.raises(ProvisioningError) as caught:
        gallery.find(folder, name)
    assert caught.value.code is ErrorCode.IMAGE_NOT_FOUND
    assert "debian-12, debian-12-desktop, micro" in caught.value.message


def test_missing_programs_are_named_all_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudpc.images.commands.shutil.which", lambda program, path: None if "m" in program else "/x")
    with pytest.raises(ProvisioningError) as caught:
        gallery.build(folder, "micro", print)
    assert "mmdebstrap" in caught.value.message
    assert "mke2fs" in caught.value.message
    assert "sudo apt-get install" in caught.value.hint
    assert "e2fsprogs" in caught.value.hint
    assert not list((gallery.builder.images_folder().folder).glob("micro-*"))


def test_an_unreachable_mirror_is_said_to_be_that(folder: Path) -> None:
    with pytest.raises(ProvisioningError) as caught:
        gallery.build(folder, "micro", print)
    assert caught.value.code is ErrorCode.IMAGE_NOT_FOUND
    assert "http://mirror.invalid/debian" in caught.value.message
    assert "apt-get update" in caught.value.hint
    assert gallery.find(folder, "micro") is None


@pytest.mark.parametrize(
    ("sources", "name", "expected"),
    [
        ("deb [signed-by=/keys/a.gpg arch=amd64] http://m/debian bookworm main\n", "a.list", "/keys/a.gpg"),
        ("deb http://m/debian bookworm main\n", "a.list", ""),
        ("# note\nTypes: deb\nURIs: http://m\nSuites: s\nSigned-By: /keys/b.gpg\n", "a.sources", "/keys/b.gpg"),
        ("Types: deb\nSigned-By:\n -----BEGIN\n .\n KEY\n", "a.sources", "-----BEGIN\n .\n KEY"),
        ("", "a.sources", ""),
    ],
)
def test_the_key_of_a_source_is_found_in_both_formats(tmp_path: Path, sources: str, name: str, expected: str) -> None:
    path = tmp_path / name
    path.write_text(sources)
    assert mirror._signed_by(f"{path}:1") == expected


def test_the_mirror_of_this_machine_serves_the_release() -> None:
    found = mirror.configured("bookworm")
    assert "Suites: bookworm\n" in found.sources
    assert "Components: main" in found.sources


def test_a_release_that_apt_does_not_know_comes_from_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_apt", lambda *argv: "")
    found = mirror.configured("trixie")
    assert "http://deb.debian.org/debian\nSuites: trixie\n" in found.sources
    assert "http://deb.debian.org/debian-security\nSuites: trixie-security\n" in found.sources


def answer(monkeypatch: pytest.MonkeyPatch, *targets: dict[str, str], downloaded: bool = True) -> None:
    """Let apt be configured with these; of what was not downloaded it knows neither origin nor code name."""
    hidden = ("Origin", "Codename")

    def apt(*argv: str) -> str:
        if argv[0] != "apt-get":
            return SETTINGS
        plain = "--no-release-info" in argv
        if not plain and not downloaded:
            return ""
        shown = [{k: v for k, v in target.items() if not (plain and k in hidden)} for target in targets]
        return "\n\n".join("\n".join(f"{k}: {v}" for k, v in target.items()) for target in shown)

    monkeypatch.setattr(mirror, "_apt", apt)


SETTINGS = """\
Acquire::http::Proxy "http://user:secret@proxy:3128";
Acquire::Check-Valid-Until "false";
APT::Architecture "amd64";
"""
OURS = {
    "Origin": "Debian",
    "Codename": "bookworm",
    "Component": "main",
    "Release": "bookworm",
    "Repo-URI": "https://mirror.example/debian/",
    "Sourcesentry": "/none.list:1",
}
DOCKER = OURS | {"Origin": "Docker", "Component": "stable", "Repo-URI": "https://docker.example/debian/"}
OTHER = OURS | {"Origin": "Someone", "Repo-URI": "https://someone.example/debian/"}


def test_debians_own_mirror_is_trusted_by_debians_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Ubuntu apt has neither."""
    monkeypatch.setattr(mirror, "_apt", lambda *_: "")
    monkeypatch.setattr(mirror, "_KEYS", tmp_path / "keys.gpg")
    assert "Signed-By" not in mirror.configured("bookworm").sources
    (tmp_path / "keys.gpg").touch()
    assert mirror.configured("bookworm").sources.count(f"Signed-By: {tmp_path}/keys.gpg") == 3


def test_other_repositories_stay_out(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, DOCKER, OTHER, OURS)
    sources = mirror.configured("bookworm").sources
    assert sources.count("URIs:") == 1
    assert "https://mirror.example/debian/" in sources


def test_a_mirror_under_its_own_name_is_used_where_it_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, DOCKER, OTHER)
    assert "https://someone.example/debian/" in mirror.configured("bookworm").sources


def test_a_release_may_be_configured_by_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, OURS | {"Release": "oldstable"})
    assert "Suites: oldstable\n" in mirror.configured("bookworm").sources


def test_lists_need_not_have_been_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, OURS)
    before = mirror.configured("bookworm")
    answer(monkeypatch, OURS, downloaded=False)
    assert mirror.configured("bookworm") == before


def test_proxies_are_kept_apart_because_of_their_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, OURS)
    found = mirror.configured("bookworm")
    assert found.options == ('Acquire::Check-Valid-Until "false";',)
    assert found.proxies == (("http_proxy", "http://user:secret@proxy:3128"),)


def test_a_project_s_own_recipe_goes_before_the_package_s_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "micro").mkdir()
    (tmp_path / "micro" / "recipe.yaml").write_text("")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "recipe.yaml").write_text("")
    found = recipe.folders(tmp_path)
    assert list(found) == sorted(found)
    assert (found["micro"], found["own"]) == (tmp_path / "micro", tmp_path / "own")
    assert found["debian-12"].parent != tmp_path
