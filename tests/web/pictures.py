"""The pictures of pages in docs/: `make page-screenshots`. A fleet on the fake hypervisor, a real server, Chromium."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.support.browser import chromium
from tests.support.project import REPO, Project, user
from tests.web.test_serve import address_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FOLDER = REPO / "docs" / "screenshots"
SMALL, MIDDLE = "CPC_E_2C_8GB_128GB", "CPC_E_4C_16GB_128GB"
_NAMES = "alice bob carol dave erin frank grace heidi ivan judy mallory niaj olivia peggy".split()


def _directory(project: Project, members: list[str]) -> None:
    users = [user(name, MIDDLE if number % 4 == 0 else SMALL) for number, name in enumerate(_NAMES)]
    groups = [{"id": "engineering", "displayName": "Engineering", "members": members}]
    (project.root / "stacks" / "directory.yaml").write_text(yaml.safe_dump({"users": users, "groups": groups}))


def fleet(root: Path) -> Project:
    """One with something of each."""
    image = root / "tiny.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "1M"], check=True)
    project = Project(root / "contoso", image)
    project.env["LOGNAME"] = "dana"
    project.policy("engineering", hosts=["kvm1", "kvm2"], assignments=[{"target": {"groupId": "engineering"}}])
    fault = {"call": "wait_ready", "user": "dave", "fault": "timeout", "retriable": False}
    for host in ("kvm1", "kvm2"):
        project.host(host, cores=24, memory_mib=96 * 1024, disk_gib=2048, faults=[fault])
    _directory(project, _NAMES)
    project.init("engineering")
    project.up("engineering")
    _directory(project, [name for name in _NAMES if name != "bob"])
    project.policy(
        "engineering", hosts=["kvm1", "kvm2"], assignments=[{"target": {"groupId": "engineering"}}],
        timeZone="Europe/Berlin", resetEnabled=True,
    )  # fmt: skip
    project.up("engineering")
    project.cloudpc("power-off", "erin", "--yes")
    return project


def _take(browser: Browser, project: Project, *who: str, pictures: dict[str, str], width: int, scheme: str) -> None:
    server = project.start_cloudpc("serve", "--port", "0", *who)
    try:
        address = address_of(server)
        context = browser.new_context(viewport={"width": width, "height": 720}, color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(address)
        for name, link in pictures.items():
            if link.startswith("/"):
                page.goto(address.partition("/?")[0] + link)
            else:
                page.get_by_role("link", name=link, exact=True).click()
            page.wait_for_timeout(1500)
            page.screenshot(path=FOLDER / f"pages-{name}.png", full_page=True)
        context.close()
    finally:
        server.terminate()
        server.wait(30)


def main() -> None:
    """Take all of them."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        project = fleet(Path(folder))
        try:
            first = {"overview": "/overview", "fleet": "/fleet", "policies": "/policies"}
            one = {"start": "/fleet?q=alice", "cloud-pc": "alice@contoso.example", "reprovision": "Reprovision…"}
            _take(browser, project, pictures=first, width=1280, scheme="light")
            _take(browser, project, pictures={**one, "fleet-dark": "/fleet"}, width=1280, scheme="dark")
            _take(browser, project, "--as", "alice", pictures={"mine": "/mine"}, width=375, scheme="light")
            (FOLDER / "pages-start.png").unlink()
        finally:
            project.stop()


if __name__ == "__main__":
    main()
