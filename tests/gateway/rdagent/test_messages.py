"""Many send and many read at once: what was answered for is there once, in the order of each sender."""

from __future__ import annotations

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from tests.gateway.rdagent.site import Site

SENDERS, EACH, READERS = 12, 60, 4


def test_messages_of_many_senders_come_to_each_reader_once(site: Site) -> None:
    called = site.launched("waits")
    site.began(called)
    path, sent = site.path(called), threading.Event()

    def send(sender: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(site.url).netloc, timeout=60)
        for number in range(EACH):
            message = {"tag": "said", "timestamp": "", "content": [sender, number, "x" * (number * 97 % 3000)]}
            body = json.dumps({"id": path, "msg": message})
            connection.request("POST", "/receive", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())) == (200, {"status": "success"})
        connection.close()

    def read(reader: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        while True:
            last = sent.is_set()
            answer = site.post("/trace", {"id": called, "all": reader % 2 == 0 or last, "client": str(reader)})
            found += [tuple(m["content"][:2]) for m in answer.json if m["tag"] == "said"]
            if last:
                return found

    with ThreadPoolExecutor(SENDERS + READERS) as pool:
        readers = [pool.submit(read, reader) for reader in range(READERS)]
        for sender in [pool.submit(send, sender) for sender in range(SENDERS)]:
            sender.result()
        sent.set()
        for reader in readers:
            found = reader.result()
            for number in range(SENDERS):
                assert [n for sender, n in found if sender == number] == list(range(EACH))
    site.control(called, "stop")


def test_a_trace_larger_than_what_is_read_at_a_time_comes_whole(site: Site) -> None:
    called = site.launched("waits")
    site.began(called)
    for number in range(9):
        message = {"tag": "said", "timestamp": "", "content": [number, "é\n,]" * 100_000]}
        assert site.post("/receive", {"id": site.path(called), "msg": message}).status == 200
    messages = site.trace(called)[1:]
    assert [message["content"][0] for message in messages] == list(range(9))
    assert {message["content"][1] for message in messages} == {"é\n,]" * 100_000}
    site.control(called, "stop")


def test_what_only_python_takes_for_json_is_null(site: Site) -> None:
    called = site.launched("waits")
    site.began(called)
    body = json.dumps({"id": site.path(called), "msg": {"tag": "said", "content": float("nan")}}).encode()
    assert site.post("/receive", body, {"Content-Type": "application/json"}).status == 200
    assert site.trace(called)[-1]["content"] is None
    deep = b'{"id": "x", "msg": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert site.post("/receive", deep, {"Content-Type": "application/json"}).status == 500
    site.control(called, "stop")


def test_an_answer_of_a_person_is_a_message(site: Site) -> None:
    called = site.launched("waits")
    site.began(called)
    assert site.post("/user_interaction/submit", {"id": called, "payload": {"go": "on"}}).status == 200
    last = site.trace(called)[-1]
    assert (last["tag"], last["content"]) == ("user_interaction.response", {"go": "on"})
    site.control(called, "stop")
    assert site.post("/user_interaction/submit", {"id": called, "payload": 1}).status == 400
