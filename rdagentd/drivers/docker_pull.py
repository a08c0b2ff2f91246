"""How far the fetching of an image is, in a few sentences: its beginning, one each five seconds, its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

_INTERVAL = 5.0
"""Least seconds between two sentences: the engine tells a thousand times as much."""


class Progress:
    """tell: gets the sentences."""

    def __init__(self, image: str, tell: Callable[[str], None]) -> None:
        self._image = image
        self._tell = tell
        self._layers: dict[str, tuple[int, int]] = {}
        self._began = self._told = time.monotonic()

    def begin(self) -> None:
        """It is about to be fetched."""
        self._tell(f"pulling image {self._image}")

    def heard(self, progress: Mapping[str, Any]) -> None:
        """One line of the engine: {status, id, progressDetail: {current, total}}."""
        detail, layer = progress.get("progressDetail") or {}, progress.get("id")
        if layer and progress.get("status") == "Downloading" and "total" in detail:
            self._layers[layer] = (detail.get("current", 0), detail["total"])
        elif layer in self._layers and progress.get("status") in ("Download complete", "Pull complete"):
            self._layers[layer] = (self._layers[layer][1],) * 2
        now = time.monotonic()
        if now - self._told >= _INTERVAL:
            self._told = now
            done, total = (
                (sum(sizes) / 1e6 for sizes in zip(*self._layers.values(), strict=True)) if self._layers else (0, 0)
            )
            amount = (
                f"{done:.0f} of {total:.0f} MB of {len(self._layers)} layers" if total else progress.get("status", "")
            )
            self._tell(f"pulling image {self._image}: {amount}")

    def done(self) -> None:
        """It is here."""
        self._tell(f"pulled image {self._image} in {time.monotonic() - self._began:.0f} s")
