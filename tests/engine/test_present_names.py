"""Runs call users by the names they have now, whatever state remembers."""

from __future__ import annotations

import pytest

from tests.support.project import UP, Project, user

pytestmark = pytest.mark.engine


def test_who_was_renamed_is_told_by_the_new_name(project: Project) -> None:
    people = [user(f"u{i}") for i in range(5)]
    project.directory(people)
    project.host(faults=[{"call": "start", "user": "u0", "fault": "error", "retriable": False}])
    project.up()
    renamed = [{**person, "userPrincipalName": f"new-{person['id']}@contoso.example"} for person in people]
    project.directory(renamed)
    ran = project.up()
    assert "new-u0@contoso.example (LAB_1C_0.5GB_8GB) stays failed" in ran.output

    project.directory([{**person, "accountEnabled": person["id"] == "u0"} for person in renamed])
    ran = project.pulumi(*UP, "demo")
    assert ran.code != 0, ran
    assert "4 of 4 Cloud PCs of this policy would enter their grace period" in ran.output
    assert "(new-u1@contoso.example, new-u2@contoso.example" in ran.output
