"""Sizes in a sentence."""

from __future__ import annotations

UNLIMITED = "unlimited"
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def format_size(size: int | None) -> str:
    """A size for a sentence: "512 bytes", "1.5 GiB", "unlimited"."""
    if size is None:
        return UNLIMITED
    for unit, factor in reversed(UNITS.items()):
        if size >= factor:
            return f"{round(size / factor, 1):g} {unit}iB" if size < factor << 19 else f"{size // factor} {unit}iB"
    return f"{size} byte{'' if size == 1 else 's'}"
