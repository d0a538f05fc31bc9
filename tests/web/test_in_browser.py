"""Pages of a real server in Debian's Chromium: keyboard alone, screen readers' names, light and dark, narrow, live."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.project import REPO, Project
from tests.support.waiting import wait_until
from tests.web.test_serve import address_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.engine
AXE = REPO / "build" / "web-tests" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def server(project: Project) -> Iterator[str]:
    """Its address that signs in an admin, once."""
    process = project.start_cloudpc("serve", "--port", "0")
    yield address_of(process)
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def signed_in(server: str, browser: Browser) -> Iterator[tuple[str, Any]]:
    """The server, and where the browser keeps its cookie."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(server)
    yield server.partition("/?")[0], context.storage_state()
    context.close()


@pytest.fixture
def page(signed_in: tuple[str, Any], browser: Browser) -> Iterator[Page]:
    address, state = signed_in
    context = browser.new_context(base_url=address, storage_state=state)
    context.set_default_timeout(30_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    context.close()
    assert not wrong


def _pages(page: Page) -> list[str]:
    page.goto("/fleet")
    one = page.locator("tbody a").first.get_attribute("href")
    return [
        "/overview",
        "/fleet",
        one or "",
        f"{one}/do/reprovision",
        f"{one}/do/rename",
        "/policies",
        "/policies/demo",
        "/runs",
    ]


def test_a_screen_reader_has_names_in_light_and_dark(page: Page) -> None:
    assert AXE.is_file(), "tools/web/fetch --with-tests"
    addresses = _pages(page)
    context = page.context
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for address in addresses:
            page.goto(address)
            found = _axe(page, context)
            assert not found, (scheme, address, found)


def _axe(page: Page, context: Any) -> list[str]:
    """What axe-core finds wrong, in an isolated world: the page's own policy lets no script of ours in."""
    client = context.new_cdp_session(page)
    frame = client.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
    world = client.send("Page.createIsolatedWorld", {"frameId": frame})["executionContextId"]
    source = AXE.read_text("utf-8") + "\naxe.run().then(r => JSON.stringify(r.violations.map("
    source += "v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 160)).join(' | '))))"
    answer = client.send(
        "Runtime.evaluate",
        {"expression": source, "contextId": world, "awaitPromise": True, "returnByValue": True},
    )
    client.detach()
    assert "exceptionDetails" not in answer, answer
    found: list[str] = json.loads(answer["result"]["value"])
    return found


def test_nothing_is_cut_at_375_pixels(page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 740})
    for address in _pages(page):
        page.goto(address)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 375, (address, wide)


def test_long_names_make_no_wider_table_than_1280_pixels(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 740})
    page.goto("/fleet")
    page.evaluate("""() => document.querySelectorAll(".fleet tbody tr").forEach(row => {
        const names = ["somebody.of.a.long.name@contoso.example", , "engineers-of-contoso-emea", "debian-12-desktop"]
        names.forEach((name, at) => row.children[at].textContent = name)
    })""")
    too_much = page.locator(".wide").evaluate("wide => wide.scrollWidth - wide.clientWidth")
    assert too_much == 0


def test_a_search_answers_as_one_types(page: Page) -> None:
    page.goto("/fleet")
    page.get_by_label("Search").type("u002")
    page.get_by_text("1 of 3 Cloud PCs").wait_for()
    assert "q=u002" in page.url


def test_a_page_that_nobody_sees_keeps_no_connection(page: Page) -> None:
    page.add_init_script(
        "const Real = EventSource; window.opened = [];"
        "window.EventSource = class extends Real { constructor(at) { super(at); opened.push(this); } };"
    )
    page.goto("/fleet")
    _is_open(page, 0)
    turn = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
    turn += " document.dispatchEvent(new Event('visibilitychange')); return opened.map(one => one.readyState); }"
    assert page.evaluate(turn, True) == [2]
    with page.expect_request(re.compile("/fleet$")):
        assert page.evaluate(turn, False) == [2, 0]
    _is_open(page, 1)
    busy = "const old = document.querySelector('[data-live]'), live = old.cloneNode(true);"
    busy += "live.append(document.createElement('input')); old.replaceWith(live); live.lastChild.focus();"
    assert page.evaluate(f"() => {{ {busy} return isBusy(); }}"), "also in what a search has put there"


def _is_open(page: Page, number: int) -> None:
    """Asked from here: Playwright's own waiting evaluates text in the page, which its policy forbids."""
    wait_until(lambda: page.evaluate(f"opened[{number}]?.readyState === 1"), 60, f"no connection {number}")


def test_a_reprovision_by_keyboard_alone_is_seen_on_another_page(page: Page, project: Project) -> None:
    project.host(seconds={"wait_ready": 3})
    page.goto("/fleet?q=u001")
    other = page.context.new_page()
    other.goto(page.locator("tbody a").first.get_attribute("href") or "")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    _tab_to(page, "u001@contoso.example")
    page.keyboard.press("Enter")
    page.wait_for_url("**/cloud-pcs/*")
    name = page.locator("h1").inner_text()
    _tab_to(page, "Reprovision…")
    page.keyboard.press("Enter")
    page.wait_for_url("**/do/reprovision")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "typed":
            break
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.wait_for_url("**/runs/*")
    live = page.context.new_page()
    live.goto("/fleet")
    live.locator("tbody a", has_text="first boot").wait_for()
    page.locator("#said", has_text=re.compile("^done$")).wait_for(timeout=90_000)
    assert "cloudpc reprovision" in page.locator("main").inner_text()
    assert page.locator("#stop").count() == 0
    other.locator("dt:has-text('Generation') + dd", has_text="2").wait_for()
    assert project.state()["u001"]["generation"] == 2
    live.locator("tbody a", has_text="first boot").wait_for(state="detached")
    project.host()


def _tab_to(page: Page, text: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == text:
            return
    raise AssertionError(f"no way to {text}")


def test_without_javascript_all_of_it_works(signed_in: tuple[str, Any], browser: Browser) -> None:
    address, state = signed_in
    context = browser.new_context(base_url=address, storage_state=state, java_script_enabled=False)
    page = context.new_page()
    page.goto("/fleet")
    page.get_by_label("Search").fill("u000")
    page.get_by_role("button", name="Show").click()
    page.get_by_text("1 of 3 Cloud PCs").wait_for()
    page.get_by_role("link", name="u000@contoso.example").click()
    page.get_by_role("link", name="Rename…").click()
    page.get_by_label("Display name").fill("Ada's")
    page.get_by_role("button", name="Rename").click()
    page.wait_for_url("**/runs/*")
    assert "--display-name=Ada" in page.locator("main").inner_text()
    page.get_by_role("link", name="Reload").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.locator("#said", has_text=re.compile("stopped|running|done")).wait_for()
    context.close()


def test_a_page_that_is_open_says_that_its_server_is_gone(project: Project, browser: Browser) -> None:
    process: subprocess.Popen[str] = project.start_cloudpc("serve", "--port", "0", "--as", "u000")
    context = browser.new_context()
    page = context.new_page()
    address = address_of(process)
    page.goto(address)
    page.get_by_role("heading", name="My Cloud PCs").wait_for()
    process.terminate()
    process.wait(30)
    port = address.partition("/?")[0].rpartition(":")[2]
    again = project.start_cloudpc("serve", "--port", port)
    page.get_by_text("The server does not answer").wait_for()
    address_of(again)
    page.get_by_text("has started again since").wait_for(timeout=30_000)
    context.close()
    again.terminate()
    again.wait(30)
