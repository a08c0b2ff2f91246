"""One request that is being decided on, and what the decision needs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from rdagentd.dockerproxy.belongings import Belongings
from rdagentd.dockerproxy.binds import Binds
from rdagentd.dockerproxy.engine import Engine
from rdagentd.dockerproxy.rules import Rules


@dataclass
class Scope:
    """A run as its requests see it. lock: held while a request is decided on."""

    run: str
    rules: Rules
    engine: Engine
    belongings: Belongings
    binds: Binds
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def labels(self) -> dict[str, str]:
        """What all that the run makes is marked with."""
        return self.rules.labels(self.run)


@dataclass
class Ask:
    """A request whose row was found. A decision changes path, query and document; what stands there then goes to the engine.

    found: what the placeholders of the row's pattern matched. query: one value for each name, `t` as a list of its own.
    """

    scope: Scope
    version: str
    path: str
    found: dict[str, str]
    query: dict[str, str]
    tags: list[str] = field(default_factory=list)
    document: dict[str, Any] | None = None
