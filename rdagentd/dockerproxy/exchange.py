"""One connection of an agent: one request, decided on, and its reply."""

from __future__ import annotations

import logging
import select
import socket
import threading

from rdagentd.dockerproxy import document, heads, routes
from rdagentd.dockerproxy.ask import Ask, Scope
from rdagentd.dockerproxy.refusal import RefusedError, error_reply, invalid, reply
from rdagentd.dockerproxy.routes import Body, Route, Stream
from rdagentd.dockerproxy.streams import Incoming, set_patience, shut
from rdagentd.dockerproxy.target import parse_target, write_target

log = logging.getLogger(__name__)

HEAD_PATIENCE = 30.0
"""Seconds that a head, or a document that is decided on, may take to arrive."""

_PASSED = ("user-agent", "accept", "x-registry-auth", "x-registry-config")
"""Headers that the engine gets as they were sent; all others are ours or left out."""

_TYPES = {Body.JSON: "application/json", Body.TAR: "application/x-tar"}
"""A form as a body would be a second query: Go reads both into one. So the type is never the client's."""

_RAW = ("application/vnd.docker.raw-stream", "application/vnd.docker.multiplexed-stream")


class Exchange:
    """A request on its way. cut() ends it from another thread."""

    def __init__(self, client: socket.socket, scope: Scope) -> None:
        self._client = client
        self._scope = scope
        self._incoming = Incoming(client)
        self._engine: socket.socket | None = None
        self._raw = threading.Event()
        self._over = False
        self._fault: RefusedError | None = None  # in the body of the request

    def cut(self) -> None:
        """Ends the connections on both sides; a request that is answered in whole is done first."""
        self._over = True
        shut(self._client)
        if self._engine is not None:
            shut(self._engine)

    def run(self) -> None:
        """The whole of it; never raises for what client or engine do."""
        head_only = False
        try:
            set_patience(self._client, HEAD_PATIENCE)
            head = self._incoming.head()
            if head is None:
                return
            head_only = head.startswith(b"HEAD ")
            self._handle(heads.parse_request(head))
        except RefusedError as refused:
            log.info("run %s: %s", self._scope.run, refused.text)
            self._say(error_reply(refused, head_only))
        except OSError as error:
            log.debug("run %s: connection lost: %s", self._scope.run, error)
        finally:
            shut(self._client)
            self._client.close()

    def _handle(self, request: heads.Request) -> None:
        target = parse_target(request.target)
        route, found = routes.find(request.method, target.path)
        upgrades = request.upgrades
        if upgrades and route.stream is not Stream.BOTH_WAYS:
            raise invalid(f"cannot upgrade {route.pattern}: it has no stream")
        if route.body is Body.NONE and request.length != 0:
            raise invalid(f"cannot {request.method} {route.pattern} with a body")
        body = None
        asked = None
        if route.body is Body.JSON:
            body = self._incoming.whole(request.length, document.MAX_DOCUMENT)
            asked = document.parse_object(body) if body else {}
        query, tags = routes.check_query(route, dict(target.query))
        ask = Ask(self._scope, target.version, target.path, found, query, tags, asked)
        routes.own(route, ask)
        if route.stream is Stream.WHOLE:
            with self._scope.lock:  # the volumes that a decision makes are used before another one sweeps
                self._answer_whole(request, route, ask)
            return
        _decide(route, ask)
        if route.body is Body.JSON:
            body = document.write(ask.document)
        set_patience(self._client, 0)
        self._pass(route, request, ask, body, upgrades)

    def _answer_whole(self, request: heads.Request, route: Route, ask: Ask) -> None:
        _decide(route, ask)
        passed = {name: request.headers[name] for name in _PASSED if name in request.headers}
        status, answer = self._scope.engine.request(request.method, _target(ask), document.write(ask.document), passed)
        self._client.sendall(reply(status, answer))

    def _pass(self, route: Route, request: heads.Request, ask: Ask, body: bytes | None, upgrades: bool) -> None:
        with self._scope.engine.connect() as engine:
            self._engine = engine
            if self._over:
                return  # cut meanwhile
            length = request.length if body is None else len(body)
            engine.sendall(_head(request, ask, route, length, upgrades) + (body or b""))
            reader = threading.Thread(
                target=self._read, args=(route, engine, 0 if body is not None else length), daemon=True
            )
            reader.start()
            try:
                self._reply(route, request, engine, reader)
            finally:
                shut(self._client, socket.SHUT_RD)  # wakes the reader; a refusal can still be told
                shut(engine)  # before the reader may go on: without a raw stream it has nothing more to send
                self._raw.set()
                reader.join()

    def _read(self, route: Route, engine: socket.socket, length: int | None) -> None:
        """The client's side: the rest of the request, then either the raw stream or nothing but its end."""
        try:
            self._incoming.pass_body(length, engine)
            if route.stream is Stream.BOTH_WAYS:
                self._raw.wait()  # nothing more before the engine has agreed: it would be read as a request
                self._incoming.pass_rest(engine)
                shut(engine, socket.SHUT_WR)
                return
            self._incoming.await_end()
        except RefusedError as refused:
            self._fault = refused
        except OSError:
            pass  # the reply is what tells
        shut(engine)

    def _reply(self, route: Route, request: heads.Request, engine: socket.socket, reader: threading.Thread) -> None:
        from_engine = Incoming(engine)
        try:
            head = from_engine.head()
            response = None if head is None else heads.parse_response(head)
        except RefusedError as refused:
            raise RefusedError(502, f"cannot understand the Docker engine: {refused.text}") from None
        if response is None:
            raise self._fault or RefusedError(502, "cannot get an answer: the Docker engine closed the connection")
        raw = route.stream is Stream.BOTH_WAYS and (
            response.status == 101 or response.headers.get("content-type", "").startswith(_RAW)
        )
        if response.status < 200 and not raw:
            raise RefusedError(502, f"cannot understand the Docker engine: status {response.status}")
        self._client.sendall(_reply_head(response, raw))
        if raw:
            self._raw.set()
        if request.method != "HEAD":
            from_engine.pass_rest(self._client)
        if raw:
            shut(self._client, socket.SHUT_WR)
            if not _closed(engine):
                reader.join()

    def _say(self, data: bytes) -> None:
        """A refusal. The client may still be sending: it is let finish, or it would not read what it is told."""
        try:
            self._client.sendall(data)
            shut(self._client, socket.SHUT_WR)
            set_patience(self._client, HEAD_PATIENCE)
            self._incoming.await_end()
        except OSError:
            pass


def _decide(route: Route, ask: Ask) -> None:
    if route.decide is not None:
        route.decide(ask)


def _target(ask: Ask) -> str:
    query = {name: [value] for name, value in ask.query.items()}
    return write_target(ask.version, ask.path, {**query, "t": ask.tags} if ask.tags else query)


def _head(request: heads.Request, ask: Ask, route: Route, length: int | None, upgrades: bool) -> bytes:
    headers = {"Host": "docker"}
    headers.update((name, request.headers[name]) for name in _PASSED if name in request.headers)
    if length is None:
        headers["Transfer-Encoding"] = "chunked"
    elif length or request.method in ("POST", "PUT"):
        headers["Content-Length"] = str(length)
    if length != 0:
        headers["Content-Type"] = _TYPES[route.body]
    headers.update({"Connection": "Upgrade", "Upgrade": "tcp"} if upgrades else {"Connection": "close"})
    return heads.write_head(f"{request.method} {_target(ask)} HTTP/1.1", headers)


def _reply_head(response: heads.Response, raw: bool) -> bytes:
    headers = {name.title(): value for name, value in response.headers.items() if name not in ("connection", "upgrade")}
    if response.status == 101:
        headers.update({"Connection": "Upgrade", "Upgrade": "tcp"})
    elif not raw:
        headers["Connection"] = "close"
    if "Builder-Version" in headers:
        headers["Builder-Version"] = "1"  # the classic builder: BuildKit's sessions are not passed
    return heads.write_head(f"HTTP/1.1 {response.status} {response.reason}", headers)


def _closed(connection: socket.socket) -> bool:
    """Whether the peer has closed, and not only said that it sends no more."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return any(events & select.POLLHUP for _, events in poll.poll(0))
