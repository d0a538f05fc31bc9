"""The committed JSON Schema is the one the code has."""

from __future__ import annotations

import json

import pytest

from cloudpc.configuration import schemas
from cloudpc.machines.azure.driver import DRIVER as AZURE
from cloudpc.machines.libvirt.driver import DRIVER as LIBVIRT
from tests.support.project import REPO


@pytest.mark.parametrize("kind", ["policy", "directory", "connection"])
def test_the_schemas_beside_the_policies_are_current(kind: str) -> None:
    name = f"stacks/schemas/{kind}.json"
    committed = json.loads((REPO / name).read_text())
    assert committed == schemas.json_schemas({"azure": AZURE, "qemu": LIBVIRT})[kind], (
        f"run `cloudpc policy schema --of {kind} > {name}`"
    )


@pytest.mark.parametrize(("file", "kind"), [("Pulumi.demo.yaml", "policy"), ("directory.yaml", "directory")])
def test_the_demo_points_editors_at_them(file: str, kind: str) -> None:
    first = (REPO / "stacks" / file).read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema=schemas/{kind}.json"
