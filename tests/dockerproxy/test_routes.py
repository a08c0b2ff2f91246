"""The policy, row by row, as the engine sees it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rdagentd.dockerproxy.routes import ROUTES, Body, Route
from tests.dockerproxy.conftest import Behind
from tests.dockerproxy.fake import EXEC, LABELS, OTHER, OTHER_EXEC, OWN

OWNED = {"{container}": "mine", "{exec}": EXEC, "{image}": "built", "{volume}": "data"}
FOREIGN = {"{container}": "theirs", "{exec}": OTHER_EXEC, "{volume}": "foreign"}
NEEDED: dict[str, str] = {"/images/create": "fromImage=a", "/images/{image}/tag": "repo=new"}
ROWS = [(method, route) for route in ROUTES for method in route.methods.split()]


def request(method: str, route: Route, names: dict[str, str]) -> tuple[str, str, Any]:
    """A plain request for a row."""
    path = route.pattern
    for placeholder, name in names.items():
        path = path.replace(placeholder, name)
    query = NEEDED.get(route.pattern, "")
    return method, f"/v1.41{path}" + (f"?{query}" if query else ""), {} if route.body is Body.JSON else None


@pytest.mark.parametrize(("method", "route"), ROWS, ids=[f"{method} {route.pattern}" for method, route in ROWS])
def test_each_row_passes_for_what_is_the_runs_own(behind: Behind, method: str, route: Route) -> None:
    got = behind.passed(*request(method, route, OWNED))
    assert got.method == method
    assert urlsplit(got.target).path == "/v1.41" + route.pattern.replace("{container}", OWN).replace(
        "{exec}", EXEC
    ).replace("{image}", "built").replace("{volume}", "data"), (
        "a container goes by its id: a name could be another's a moment later"
    )


ROWS_OF_OTHERS = [(method, route) for method, route in ROWS if re.search(r"\{(container|exec|volume)\}", route.pattern)]


@pytest.mark.parametrize(
    ("method", "route"), ROWS_OF_OTHERS, ids=[f"{method} {route.pattern}" for method, route in ROWS_OF_OTHERS]
)
def test_each_row_is_refused_for_what_is_anothers(behind: Behind, method: str, route: Route) -> None:
    answer = behind.ask(*request(method, route, FOREIGN))
    assert answer.status == 403
    assert behind.engine.got == []


@pytest.mark.parametrize(("method", "route"), ROWS, ids=[f"{method} {route.pattern}" for method, route in ROWS])
def test_each_row_refuses_what_no_row_names(behind: Behind, method: str, route: Route) -> None:
    _, target, body = request(method, route, OWNED)
    assert behind.ask(method, f"{target}{'&' if '?' in target else '?'}surprise=1", body).status == 403
    assert behind.ask("PATCH", target).status == 405
    assert behind.engine.got == []


DOCKER_API = """
POST /auth|GET /system/df|GET /containers/mine/attach/ws|POST /containers/mine/checkpoints|POST /commit|POST /session|POST /grpc
POST /build/prune|POST /build/cancel|GET /images/search|POST /images/prune|POST /images/load|GET /images/get
POST /images/built/push|POST /volumes/prune|PUT /volumes/data|GET /networks|GET /networks/bridge|POST /networks/create
POST /networks/bridge/connect|POST /networks/bridge/disconnect|DELETE /networks/bridge|POST /networks/prune
GET /plugins|POST /plugins/pull|POST /plugins/a/enable|POST /plugins/create|GET /swarm
POST /swarm/init|POST /swarm/join|GET /nodes
GET /services|POST /services/create|GET /tasks|GET /secrets|POST /secrets/create|GET /configs|POST /configs/create
GET /debug/pprof|GET /metrics|POST /containers/mine/start/../../theirs/start|POST /containers|GET /containers/mine
POST /containers/mine/copy|OPTIONS /info|TRACE /info|GET /exec/zz/json|GET /CONTAINERS/json|GET /containers/Json
"""


@pytest.mark.parametrize("line", [one for one in re.split(r"[|\n]", DOCKER_API) if one])
def test_the_rest_of_the_engines_interface_is_refused(behind: Behind, line: str) -> None:
    method, _, path = line.partition(" ")
    answer = behind.ask(method, f"/v1.41{path}")
    assert answer.status in (400, 403, 405)
    assert answer.message.startswith("cannot ")
    assert behind.engine.got == []


def filters(target: str) -> dict[str, dict[str, bool]]:
    """The filters of a request."""
    found: dict[str, dict[str, bool]] = json.loads(parse_qs(urlsplit(target).query)["filters"][0])
    return found


@pytest.mark.parametrize(
    "target", ["/v1.41/containers/json", "/v1.41/events", "/v1.41/volumes", "/v1.41/containers/prune"]
)
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", set()),
        ("%7B%22label%22:%5B%22a=b%22%5D%7D", {"a=b"}),
        ('{"label":{"a=b":true,"x":false}}', {"a=b"}),
        ("{}", set()),
    ],
)
def test_lists_are_filtered_by_the_runs_labels_whatever_else_is_asked(
    behind: Behind, target: str, given: str, kept: set[str]
) -> None:
    method = "POST" if "prune" in target else "GET"
    got = behind.passed(method, f"{target}?filters={given}".replace('"', "%22").replace("{", "%7B").replace("}", "%7D"))
    assert filters(got.target)["label"].keys() == {f"{name}={value}" for name, value in LABELS.items()} | kept


@pytest.mark.parametrize("given", ['{"label":[1]}', "[]", '{"label":"a"}', '{"label":["a"],"label":["b"]}', "x"])
def test_filters_with_two_readings_are_refused(behind: Behind, given: str) -> None:
    encoded = "".join(f"%{ord(letter):02x}" for letter in given)
    assert behind.ask("GET", f"/v1.41/containers/json?filters={encoded}").status == 400


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("fromImage=busybox&tag=1", 200),
        ("fromSrc=-&repo=new&tag=1", 200),
        ("fromSrc=-&repo=built", 200),
        ("fromSrc=-&repo=host", 403),
        ("fromSrc=-&repo=host&tag=latest", 403),
        ("fromSrc=http://127.0.0.1/x.tar&repo=new", 403),
        ("fromSrc=file:///etc&repo=new", 403),
    ],
)
def test_images_are_pulled_and_imported_but_no_host_image_is_replaced(behind: Behind, query: str, status: int) -> None:
    assert behind.ask("POST", f"/v1.41/images/create?{query}", raw=b"").status == status


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/v1.41/images/built/tag?repo=host"),
        ("POST", "/v1.41/images/built/tag?repo=host&tag=latest"),
        ("POST", "/v1.41/images/built/tag?repo=../host"),
        ("DELETE", "/v1.41/images/host"),
        ("POST", "/v1.41/build?t=new&t=host"),
    ],
)
def test_a_host_image_is_neither_renamed_nor_removed(behind: Behind, method: str, target: str) -> None:
    assert behind.ask(method, target).status in (400, 403)
    assert behind.engine.got == []


def test_a_build_is_bound_to_the_runs_cgroup_limits_and_labels(behind: Behind) -> None:
    got = behind.passed(
        "POST", "/v1.41/build?t=new&t=built&rm=0&memory=99999999999&memswap=-1&cpuquota=500000&cpuperiod=100000"
    )
    query = {name: values[0] for name, values in parse_qs(urlsplit(got.target).query).items()}
    assert json.loads(query.pop("labels")) == LABELS
    assert query == {
        "rm": "1", "forcerm": "1", "memory": str(512 << 20), "memswap": str(512 << 20), "cpuquota": "200000", "t": "new",
        "cpuperiod": "100000", "shmsize": str(64 << 20), "cgroupparent": "/rdagentd/run-1", "networkmode": "default",
        "ulimits": "[]",
    }  # fmt: skip
    assert parse_qs(urlsplit(got.target).query)["t"] == ["new", "built"]


@pytest.mark.parametrize(
    "query",
    [
        "networkmode=host", "networkmode=container:theirs", "remote=http://127.0.0.1/", "remote=client-session", "version=2",
        "session=x", "cgroupparent=/", "securityopt=%5B%22seccomp=unconfined%22%5D", "outputs=%5B%7B%7D%5D",
        "isolation=process",
        "labels=%7B%22rdagentd.run%22:%22run-2%22%7D", "ulimits=%5B%7B%22Name%22:%22rtprio%22,%22Hard%22:99%7D%5D",
        "memory=1e9", "memory=0x1", "privileged=1", "entitlements=security.insecure", "memory=1&memory=2", "labels=%5B",
    ],
)  # fmt: skip
def test_a_build_asks_for_no_more_than_a_run_may_have(behind: Behind, query: str) -> None:
    assert behind.ask("POST", f"/v1.41/build?{query}").status in (400, 403)
    assert behind.engine.got == []


@pytest.mark.parametrize(
    ("args", "status"), [("aux", 200), ("-o+pid,comm", 200), ("-ef", 200), ("-C+x", 403), ("--pid+1", 403)]
)
def test_ps_on_the_host_gets_harmless_words(behind: Behind, args: str, status: int) -> None:
    assert behind.ask("GET", f"/v1.41/containers/mine/top?ps_args={args}").status == status


def test_a_link_is_not_removed_in_place_of_a_container(behind: Behind) -> None:
    assert behind.ask("DELETE", "/v1.41/containers/mine?link=1").status == 403
    assert "link" not in behind.passed("DELETE", "/v1.41/containers/mine?link=False&force=1").target


@pytest.mark.parametrize(
    "body",
    [
        {"Name": "x", "DriverOpts": {"type": "none", "o": "bind", "device": "/etc"}},
        {"Name": "x", "Driver": "other"},
        {"Name": "rdagentd-run-2-0"},
        {"Name": "x", "Labels": {"rdagentd.run": "run-2"}},
        {"Name": "x", "ClusterVolumeSpec": {"Group": "a"}},
    ],
)
def test_a_volume_is_a_plain_one(behind: Behind, body: dict[str, Any]) -> None:
    assert behind.ask("POST", "/v1.41/volumes/create", body).status == 403
    assert behind.engine.got == []


def test_a_volume_gets_the_runs_labels(behind: Behind) -> None:
    got = behind.passed("POST", "/v1.41/volumes/create", {"Name": "x", "Labels": {"a": "b"}, "DriverOpts": {}})
    assert got.document == {"Name": "x", "Driver": "local", "Labels": {"a": "b", **LABELS}}


def test_the_proxys_own_volumes_go_with_the_run(behind: Behind, tmp_path: Path) -> None:
    name = behind.served.scope.binds.volume(str(behind.binds))
    assert behind.ask("DELETE", f"/v1.41/volumes/{name}").status in (403, 404)
    assert OTHER not in name
