"""How hard the stateful test works: HYPOTHESIS_PROFILE=thorough for a long run."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("core", max_examples=200, stateful_step_count=50, **_COMMON)
settings.register_profile("thorough", max_examples=5000, stateful_step_count=80, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "core"))
