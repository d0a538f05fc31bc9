"""Text of a pattern: editors read the expression, people read words."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from cloudpc.model.policy import ProvisioningPolicy
from cloudpc.model.problems import from_validation
from cloudpc.model.written import Written

from . import make


class _Model(BaseModel):
    code: Annotated[str, Written("[a-z]{2}", "two letters")] = "aa"


def test_the_words_are_reported_and_the_expression_is_not() -> None:
    with pytest.raises(ValidationError) as refused:
        _Model(code="ab\n")
    [problem] = from_validation("f.yaml", "x", _Model, refused.value)
    assert (problem.field, problem.message, problem.found) == ("x.code", "must be two letters", "ab\n")
    assert _Model.model_json_schema()["properties"]["code"]["pattern"] == "^[a-z]{2}$"


@pytest.mark.parametrize("name", ["g++", "libgtk-3-0", "xz", "python3.11"])
def test_names_of_packages(name: str) -> None:
    assert ProvisioningPolicy(**make.policy_values(packages=[name])).packages == [name]


@pytest.mark.parametrize("name", ["htop-", "x", "htop=1.0", "python3:i386", "-y", "HTOP", "htop/stable", "a b", ""])
def test_what_apt_would_take_for_something_else_is_no_package(name: str) -> None:
    """`apt-get install htop-` removes it."""
    with pytest.raises(ValidationError, match="must be a Debian package's name"):
        ProvisioningPolicy(**make.policy_values(packages=[name]))
