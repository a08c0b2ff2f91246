"""Who may have Docker do what: all that is not granted is refused."""

from __future__ import annotations

from typing import Any

import pytest

from rdagentd.api.containers import may_not
from rdagentd.config.docker import Docker
from rdagentd.model.container import Container, DriverName, Network
from rdagentd.model.spec import Spec

NOBODY = 65534


def refusal(docker: Docker, uid: int = NOBODY, **container: Any) -> str | None:
    return may_not(Spec("w", driver=DriverName.DOCKER, container=Container("image", **container)), docker, uid)


def test_nobody_may_until_they_are_named() -> None:
    assert "only administrators and docker.users" in (refusal(Docker()) or "")
    assert "only administrators" in (refusal(Docker(users=("@no-such-group", "somebody", "@0"))) or "")
    for users in (("nobody",), ("65534",), ("@nogroup",), ("@65534",)):
        assert refusal(Docker(users=users)) is None
    assert refusal(Docker(users=("4000000",)), uid=4_000_000) is None, "a number is enough for who has no name"
    assert may_not(Spec("w", ("true",)), Docker(), NOBODY) is None, "a process is no container"


def test_who_may_not_run_containers_may_have_no_socket() -> None:
    socket = Spec("w", ("true",), docker_socket=True)
    assert "only administrators and docker.users" in (may_not(socket, Docker(), NOBODY) or "")
    assert may_not(socket, Docker(users=("nobody",)), NOBODY) is None


@pytest.mark.parametrize(
    ("container", "word"),
    [
        ({"user": "0:0"}, "container.user"),
        ({"user": "65534"}, "container.user"),
        ({"cap_add": ("SYS_ADMIN",)}, "container.cap_add"),
        ({"no_new_privileges": False}, "no_new_privileges"),
        ({"network": Network.HOST}, "docker.host_network"),
        ({"volumes": ("/:/host:ro",)}, "volume / does not lie below"),
        ({"volumes": ("/data/mine:/a:ro", "/database:/b:rw")}, "volume /database does not"),
        ({"volumes": ("/var/run/docker.sock:/var/run/docker.sock:rw",)}, "docker.sock does not"),
    ],
)
def test_what_leads_to_root_is_for_administrators(container: dict[str, Any], word: str) -> None:
    assert word in (refusal(Docker(users=("nobody",), directories=("/data",)), **container) or "")


def test_what_is_granted_is_allowed() -> None:
    docker = Docker(users=("nobody",), directories=("/data", "/srv/shared"), host_network=True)
    volumes = ("/data:/a:ro", "/srv/shared/deep/er:/b:rw")
    assert refusal(docker, volumes=volumes, network=Network.HOST) is None
