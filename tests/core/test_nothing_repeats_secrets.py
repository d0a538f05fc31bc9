"""What holds credentials, or may by a slip of somebody's pen, never repeats them in an error or a representation."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

import cloudpc
from cloudpc.cli.ssh import Target
from cloudpc.connections import files
from cloudpc.directory import opening
from cloudpc.guests.linux.system import Linux
from cloudpc.images.custom import CustomImage
from cloudpc.machines.libvirt.configuration import LibvirtHostConfig
from cloudpc.model import drivers
from cloudpc.model.cloud_pc import DesiredCloudPC, RecordedCloudPC
from cloudpc.model.credentials import Credentials, RecordedCredentials, RecordedPass
from cloudpc.model.devices import ComputerAccount, Controller, Join, TemporaryAccessPass

CONNECTION = files.model(drivers.installed())
SECRET = "S3cretPw"
_ACCOUNT = ComputerAccount(connection="hq", name="a", object_guid="", distinguished_name="")


def _models(base: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    for module in pkgutil.walk_packages(cloudpc.__path__, "cloudpc."):
        importlib.import_module(module.name)
    for model in base.__subclasses__():
        if model.__module__.startswith("cloudpc."):
            yield model
            yield from _models(model)


def test_no_model_of_ours_repeats_its_input() -> None:
    assert {model.__name__ for model in _models() if not model.model_config.get("hide_input_in_errors")} == set()


@pytest.mark.parametrize("model", [RecordedCloudPC, DesiredCloudPC, LibvirtHostConfig, CustomImage, CONNECTION])
def test_wrong_input_is_not_told_with_what_was_in_it(model: type[BaseModel]) -> None:
    wrong: list[Any] = [{"credentials": {"password": SECRET}, "uri": SECRET, "url": SECRET, "sha256": SECRET}, SECRET]
    for value in (*wrong, {name: {"password": SECRET} for name in model.model_fields}):
        with pytest.raises(ValidationError) as caught:
            model.model_validate(value)
        assert SECRET not in str(caught.value) + repr(caught.value)


def test_what_was_read_of_a_directory_is_not_told() -> None:
    with pytest.raises(ValidationError) as caught:
        opening._Answers.validate_python({"a": SECRET})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "held",
    [
        Credentials("alice", SECRET, TemporaryAccessPass("1", SECRET)),
        Target("CPC", "127.0.0.1", 1, "alice", SECRET, ""),
        RecordedCredentials(user="alice", password=SecretStr(SECRET)),
        RecordedPass(value=SecretStr(SECRET)),
        Join(_ACCOUNT, "corp.test", SECRET, Controller("dc")),
        Linux().join(Join(_ACCOUNT, "corp.test", SECRET, Controller("dc"))),
    ],
)
def test_credentials_have_no_representation(held: object) -> None:
    assert SECRET not in repr(held)
