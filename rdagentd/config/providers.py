"""Providers of models: when a breaker opens for all workers that need one."""

from __future__ import annotations

from rdagentd.config.kinds import duration, whole
from rdagentd.config.section import Section, named
from rdagentd.model.provider import Provider

PROVIDER = Section(
    Provider,
    {
        "errors": (whole(1, 100_000), "So many `provider_errors`, of all workers that need it, open the breaker."),
        "window": (duration(zero=False), "How far back they are counted; and how long a try must last without one."),
        "cooldown": (duration(zero=False), "After this long one worker is let through to try."),
    },
)
PROVIDERS = named(PROVIDER)
