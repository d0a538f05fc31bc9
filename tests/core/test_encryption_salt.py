"""Stacks of a project share one salt, and files stay as people wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cloudpc.iac import encryption_salt

_SALT = "v1:c2FsdHNhbHQ=:v1:bm9uY2U=:Y2lwaGVydGV4dA=="


@pytest.fixture
def sibling(tmp_path: Path) -> Path:
    file = tmp_path / "Pulumi.first.yaml"
    file.write_text(f"config: {{}}\nencryptionsalt: {_SALT}\n")
    return file


@pytest.mark.parametrize("text", ["# mine\nconfig:\n  a:b: c  # d\n", "# mine\nconfig:\n  a:b: c  # d"])
def test_a_new_stack_takes_its_siblings_salt(tmp_path: Path, sibling: Path, text: str) -> None:
    file, bare = tmp_path / "Pulumi.new.yaml", tmp_path / "Pulumi.bare.yaml"
    file.write_text(text)
    bare.write_text("config: {}\n")
    encryption_salt.share(file, [bare, sibling])
    assert file.read_text().startswith(text), "with the comments"
    assert yaml.safe_load(file.read_text()) == {"config": {"a:b": "c"}, "encryptionsalt": _SALT}


@pytest.mark.parametrize("line", ["encryptionsalt: v1:x", "secretsprovider: awskms://key", "encryptedkey: x"])
def test_a_file_that_says_how_its_secrets_are_kept_stays(tmp_path: Path, sibling: Path, line: str) -> None:
    file = tmp_path / "Pulumi.new.yaml"
    file.write_text(f"{line}\nconfig: {{}}\n")
    before = file.read_text()
    encryption_salt.share(file, [sibling])
    assert file.read_text() == before


def test_what_is_sealed_elsewhere_has_no_salt_to_share(tmp_path: Path, sibling: Path) -> None:
    file = tmp_path / "Pulumi.new.yaml"
    file.write_text("config: {}\n")
    sibling.write_text(f"secretsprovider: awskms://key\nencryptionsalt: {_SALT}\n")
    encryption_salt.share(file, [sibling])
    assert file.read_text() == "config: {}\n"


def test_the_salt_of_a_stack_that_is_gone_goes_unless_values_are_sealed_with_it(tmp_path: Path, sibling: Path) -> None:
    encryption_salt.forget(sibling)
    assert sibling.read_text() == "config: {}\n"
    sealed = tmp_path / "Pulumi.sealed.yaml"
    sealed.write_text(f"config:\n  cloudpc:graph: {{clientSecret: {{secure: v1:x}}}}\nencryptionsalt: {_SALT}\n")
    before = sealed.read_text()
    encryption_salt.forget(sealed)
    assert sealed.read_text() == before
