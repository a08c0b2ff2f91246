"""Words of sentences."""

from __future__ import annotations

from collections.abc import Sequence

_NAMED = 5
"""Most names in a sentence."""


def listed(names: Sequence[str]) -> str:
    """The first of these names, and how many more there are."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
