"""Names of uploaded files, by the rules of RD-Agent 1.0.0 (rdagent/log/server/security.py)."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

_UNSAFE = frozenset((".dill", ".pickle", ".pkl", ".py", ".pyc", ".pyo"))
"""What Python runs, or makes objects of."""

_LONGEST = 255
"""Bytes of a name: NAME_MAX of limits.h."""


def safe_name(given: str) -> str:
    """The name under which an uploaded file is kept. Raises ValueError for one that cannot be, or is of a type that runs."""
    name = secured(given)
    if not any(map(str.isalnum, name)) or len(name) > _LONGEST:
        raise ValueError(f"{given[:100]!r} leaves no name for a file")
    if PurePosixPath(name).suffix.lower() in _UNSAFE:
        raise ValueError(f"{name!r} is of a type that is not accepted")
    return name


def secured(given: str) -> str:
    """As werkzeug.utils.secure_filename: ASCII letters, digits, and _ . - only; no separators; neither . nor _ at the ends."""
    plain = unicodedata.normalize("NFKD", given).encode("ascii", "ignore").decode()
    words = "_".join(plain.replace("/", " ").split())
    return re.sub(r"[^A-Za-z0-9_.-]", "", words).strip("._")
