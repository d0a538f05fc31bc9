"""The committed JSON Schema is the one the code has."""

from __future__ import annotations

import json

from cloudpc import configuration
from tests.support.project import REPO


def test_the_schema_beside_the_policies_is_current() -> None:
    committed = json.loads((REPO / "stacks" / "schema.json").read_text())
    assert committed == configuration.json_schema(), "run `cloudpc policy schema > stacks/schema.json`"


def test_the_demo_points_editors_at_it() -> None:
    first = (REPO / "stacks" / "Pulumi.demo.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"
