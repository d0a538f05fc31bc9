"""Debian's Chromium, driven by Playwright. One for all tests: each costs a few hundred MB and a second of a core."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """One that has no window. In a container it can't make its own sandbox; it opens nothing but our own pages."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium: tools/packages test")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
