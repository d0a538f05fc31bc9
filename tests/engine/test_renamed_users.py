"""A user is who the directory's id says, by whatever name."""

from __future__ import annotations

import pytest

from tests.support.project import Project, user

from .life import SMALL, nothing_more_to_do, policy_resource, preview

pytestmark = pytest.mark.engine


def test_a_renamed_user_is_told_and_remembered_under_the_new_name(project: Project) -> None:
    project.policy(gracePeriodInHours=0)
    project.up()
    before = project.state()
    married = user("u001", userPrincipalName="u001.married@contoso.example")
    project.directory([user("u000"), married])
    nothing_more_to_do(project)
    project.directory([user("u000"), married], {"everybody": ["u000"]})
    assert f"u001.married@contoso.example ({SMALL}): grace until" in preview(project)
    project.up()
    assert project.state()["u001"]["userPrincipalName"] == "u001.married@contoso.example"
    project.directory([user("u000")])  # whose name only state knows now
    assert f"u001.married@contoso.example ({SMALL}): ends now" in preview(project)
    project.up()
    project.up()
    [remembered] = policy_resource(project)["ended"]
    assert remembered["userPrincipalName"] == "u001.married@contoso.example"
    assert remembered["deviceName"] == before["u001"]["deviceName"]
