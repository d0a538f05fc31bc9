"""For all tests, from the environment.

HYPOTHESIS_PROFILE=thorough: hypothesis takes a long look, else it tries the same few examples each time.
CLOUDPC_NO_SKIPS=1: what can't run here has failed. In CI nobody would miss tests that skip themselves; only a rule of
the host contract that a kind of host has nothing for is skipped there, too.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.skips import NOT_OF_THIS_KIND

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.devices.samba import Samba

# Many containers tell Python to write no byte code; each process that a test starts would compile all that it imports
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.filter_too_much]

# A shell that runs the tests in the background has them ignore SIGINT, and all they start: Ctrl-C could not be tested
signal.signal(signal.SIGINT, signal.default_int_handler)

# repeatable, so that a red run of CI is about the change it ran on
settings.register_profile(
    "default", max_examples=60, stateful_step_count=25, deadline=None, derandomize=True,
    suppress_health_check=_SLOW_IS_FINE,
)  # fmt: skip
settings.register_profile(
    "thorough", max_examples=500, stateful_step_count=50, deadline=None, suppress_health_check=_SLOW_IS_FINE
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.hookimpl(optionalhook=True)  # mutmut goes without xdist
def pytest_xdist_auto_num_workers() -> int:
    """Two more than there are cores: one mostly waits for guests, and much of a cloud's tests is waiting, too.

    Without the second, two cores were idle for half of the first five minutes.
    """
    return len(os.sched_getaffinity(0)) + 2


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n`, guests and the domain with its fixed ports are one worker's: two booting at once slow each other.

    So are pages in a browser.
    """
    for item in items:
        if item.get_closest_marker("machine") or "domain_controller" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("guests"))
        elif "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("browser"))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes and long texts name no test: each worker makes new ones, with its time in them; names must be the same."""
    is_long = isinstance(val, str) and len(val) > 100
    return argname if isinstance(val, bytes) or is_long else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    why = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    is_skip = report.skipped and not hasattr(report, "wasxfail") and NOT_OF_THIS_KIND not in why
    if is_skip and os.environ.get("CLOUDPC_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"CLOUDPC_NO_SKIPS is set. {why}"
    return report


@pytest.fixture(scope="session")
def domain_controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    """An Active Directory domain. Here, because there can be one only: its ports can't be moved."""
    from tests.devices.samba import Samba

    if os.geteuid() != 0:
        pytest.skip("only root may run a domain controller: its ports are below 1024")
    running = Samba(tmp_path_factory.mktemp("samba"))
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser; its pages are a test's own, in a context that the test closes.

    Of a module, not of the session: while Playwright runs, its loop is this thread's, and other tests have loops of
    their own.
    """
    from tests.support.browser import chromium

    with chromium() as running:
        yield running
