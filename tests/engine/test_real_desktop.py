"""From a policy to a desktop in a browser, on a real guest: what its user does, and what the guest says of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
import yaml

from cloudpc.images import gallery
from tests.engine.conftest import REPO, Project, user
from tests.engine.test_real_machines import HOST, real

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

__all__ = ["real"]

pytestmark = [pytest.mark.engine, pytest.mark.machine, pytest.mark.timeout(1500)]  # the image is built if need be

PLAN = {"id": "DESK", "vCpuCount": 1, "ramInGB": 1, "storageInGB": 8}
SHOWS_SOMETHING = 15_000
"""Bytes of a picture of it; of a black one there are a few thousand."""


@pytest.fixture
def images() -> None:
    gallery.build(REPO / "vm-images", "debian-12-desktop", print)


def test_a_user_opens_the_desktop_in_a_page(real: Project, browser: Browser) -> None:
    real.directory([user("alice", "DESK")])
    people = real.root / "stacks" / "directory.yaml"
    content = yaml.safe_load(people.read_text())
    content["servicePlans"].append(PLAN)
    people.write_text(yaml.safe_dump(content))
    policy = real.policy(imageType="gallery", imageId="debian-12-desktop")
    settings = yaml.safe_load(policy.read_text())
    settings["config"]["cloudpc:hosts"] = [HOST]
    policy.write_text(yaml.safe_dump(settings))
    ran = real.cloudpc("up", "demo")
    assert ran.code == 0, ran

    with _served(real) as address:
        # closed with its browser, which Playwright kills if it must: a page that draws a desktop has kept its context
        # from closing for twenty minutes
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(address)
        began = time.monotonic()
        page.get_by_role("link", name="Open in browser").click()
        page.locator("#desktop[data-connected-after]").wait_for(state="attached", timeout=400_000)
        print(f"\nfrom click to desktop: {time.monotonic() - began:.1f} s")
        _wait(lambda: len(_picture(page.locator("#desktop"))) > SHOWS_SOMETHING)
        print(f"until Xfce has drawn itself: {time.monotonic() - began:.1f} s")
        if os.environ.get("CLOUDPC_UPDATE_GOLDEN"):
            page.screenshot(path=REPO / "docs/screenshots/pages-desktop.png")
        inside = real.cloudpc("connect", "alice", "--", "pgrep -u alice -x xfce4-session; pgrep -u alice -x Xorg")
        assert len(inside.output.split()) == 2, inside
        assert faults == []
        page.get_by_role("button", name="Sign out").click()
    lines = [json.loads(line) for line in (real.root / ".cloudpc/pages/audit.jsonl").read_text().splitlines()]
    said = [(line["did"], line.get("why", "")) for line in lines if "desktop" in line["did"]]
    assert [did for did, _ in said] == ["opened the desktop", "closed the desktop"]


def _picture(shown: Locator) -> bytes:
    return shown.screenshot()


def _wait(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 300  # an emulated guest on a busy machine
    while not is_so():
        assert time.monotonic() < until, "it shows nothing"
        time.sleep(1)


@contextlib.contextmanager
def _served(project: Project) -> Iterator[str]:
    """The address that signs alice in."""
    serving = project.start_cloudpc("serve", "--port", "0", "--as", "alice")
    assert serving.stdout
    try:
        found = next(filter(None, (re.search(r"http://\S+token=\S+", line) for line in serving.stdout)))
        yield found[0]
    finally:
        serving.terminate()
        serving.wait(30)
