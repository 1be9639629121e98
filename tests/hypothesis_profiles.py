"""Profiles of hypothesis: "short" by default, "long" with ``--hypothesis-profile long``."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "short",
    deadline=None,  # a slow machine is not an error
    derandomize=True,  # a test must not fail because of new input; `make fuzz` tries new input
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("long", settings.get_profile("short"), derandomize=False, max_examples=2_000)
if settings.get_current_profile_name() in {"default", "ci"}:  # hypothesis chooses "ci" where the variable CI is set
    settings.load_profile("short")
