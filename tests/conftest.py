"""For all tests, from the environment.

HYPOTHESIS_PROFILE=thorough: hypothesis takes a long look, else it tries the same few examples each time.
CLOUDPC_NO_SKIPS=1: what can't run here has failed. In CI nobody would miss tests that skip themselves.
"""

import os
import signal
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CLOUDPC_NO_SKIPS"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"CLOUDPC_NO_SKIPS is set. {why}"
    return report
