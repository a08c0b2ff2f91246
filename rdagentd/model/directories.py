"""Directories that a worker has of its own, kept from run to run."""

from __future__ import annotations

from attrs import frozen


@frozen
class StateDirectory:
    """What is the worker's to keep. quota: bytes on disk, beyond which its run is stopped; None: no limit."""

    quota: int | None = None


@frozen
class CacheDirectory:
    """What can be made again. Files not used for `age` seconds go, and the longest unused ones beyond `size` bytes on disk."""

    size: int | None = 100 * 1000**3
    age: float | None = 86400.0
