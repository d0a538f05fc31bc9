"""How much hypothesis tries: HYPOTHESIS_PROFILE=thorough for a long look, else the same few examples each time."""

import os
import signal

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
