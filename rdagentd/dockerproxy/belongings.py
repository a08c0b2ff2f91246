"""What belongs to a run: its containers, execs, volumes, images, told by the labels and the cgroup parent that it was given."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from rdagentd.dockerproxy.engine import Engine
from rdagentd.dockerproxy.refusal import RefusedError, forbidden
from rdagentd.dockerproxy.rules import Rules
from rdagentd.protocol import labels


class Belongings:
    """Looks with the engine. An id or name is resolved once; the full id is what is used afterwards."""

    def __init__(self, engine: Engine, run: str, rules: Rules) -> None:
        self._engine = engine
        self._rules = rules
        self._labels = rules.labels(run)

    def container(self, name: str) -> dict[str, Any]:
        """The run's own container of that id or name, inspected. Raises RefusedError: 404, or 403 for another's."""
        found = self._engine.find(f"/containers/{quote(name, safe='')}/json")
        if found is None:
            raise RefusedError(404, f"cannot find container {name}: No such container")
        if not self.owns(found):
            raise forbidden(f"cannot use container {name}: it does not belong to this run")
        return found

    def owns(self, container: dict[str, Any]) -> bool:
        """Whether this container, inspected, is the run's own. An image can bring labels, but no cgroup parent."""
        inside = container["HostConfig"].get("CgroupParent") == self._rules.cgroup_parent
        return inside and self._marked(container["Config"].get("Labels"))

    def exec(self, number: str) -> str:
        """The exec instance of that id, if it is in one of the run's own containers."""
        found = self._engine.find(f"/exec/{number}/json")
        if found is None:
            raise RefusedError(404, f"cannot find exec instance {number}: No such exec instance")
        self.container(found["ContainerID"])
        return number

    def volume(self, name: str) -> dict[str, Any]:
        """The run's own volume of that name. Raises RefusedError."""
        found = self._engine.find(f"/volumes/{name}")
        if found is None:
            raise RefusedError(404, f"cannot find volume {name}: no such volume")
        if not self._marked(found.get("Labels")):
            raise forbidden(f"cannot use volume {name}: it does not belong to this run")
        return found

    def image_may_change(self, name: str) -> None:
        """Whether a name is free or an agent's. Raises RefusedError: nobody's image is replaced behind his back."""
        found = self._engine.find(f"/images/{quote(name, safe=':@')}/json")
        if found is not None and ((found.get("Config") or {}).get("Labels") or {}).get(labels.ORIGIN) != labels.AGENT:
            raise forbidden(f"cannot change image {name}: it was not made by an agent; choose another name")

    def _marked(self, given: dict[str, str] | None) -> bool:
        return self._labels.items() <= (given or {}).items()
