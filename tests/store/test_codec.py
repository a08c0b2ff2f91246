"""Bytes and back: what goes in comes out, and nothing else comes out."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import msgpack
import pytest
from attrs import evolve
from hypothesis import given

from rdagentd.model.provider import Circuit, Phase
from rdagentd.model.run import Run
from rdagentd.model.spec import Limits, Rlimit, Spec
from rdagentd.model.worker import Worker
from rdagentd.store.codec import (
    decode,
    decode_circuits,
    decode_worker,
    encode,
    encode_circuits,
    encode_worker,
    pack,
    unpack,
)
from rdagentd.store.errors import Unreadable

from .values import a_run, a_spec, a_worker, runs, specs, workers


def read(blob: bytes, kind: type[Any]) -> Any:
    return decode(blob, crc32(blob), kind)


def changed(value: Spec | Run, change: dict[str, Any], without: str | None = None) -> bytes:
    row = {**msgpack.unpackb(encode(value)), **change}
    row.pop(without, None)
    return bytes(msgpack.packb(row))


@given(specs)
def test_any_spec_comes_back(spec: Spec) -> None:
    assert read(encode(spec), Spec) == spec


@given(runs)
def test_any_run_comes_back(run: Run) -> None:
    assert read(encode(run), Run) == run


@given(workers)
def test_any_worker_comes_back_with_its_spec_and_run(worker: Worker) -> None:
    blob = encode_worker(worker)
    assert decode_worker(blob, crc32(blob), worker.spec, worker.run) == worker


def test_a_worker_row_holds_neither_spec_nor_run() -> None:
    row = msgpack.unpackb(encode_worker(a_worker(run=a_run(7))))
    assert row["spec"] is None
    assert row["run"] == a_run(7).id
    assert b"secret" not in encode_worker(a_worker())


@pytest.mark.parametrize("field", ["labels", "restart", "log", "timeout", "requests"])
def test_a_field_that_an_old_row_lacks_has_its_default(field: str) -> None:
    assert read(changed(a_spec(), {}, without=field), Spec) == a_spec()


def test_rows_from_before_there_were_measures_are_read() -> None:
    """As a version wrote them that knew neither measures nor what was spent."""
    row = msgpack.unpackb(encode(a_run()))
    assert {"measures", "reading"} <= set(row)
    old = msgpack.packb({key: value for key, value in row.items() if key not in ("measures", "reading")})
    assert read(old, Run) == a_run()
    worker = msgpack.unpackb(encode_worker(a_worker()))
    assert {"spent", "paused_at"} <= set(worker)
    old = msgpack.packb({key: value for key, value in worker.items() if key not in ("spent", "paused_at")})
    assert decode_worker(old, crc32(old), a_spec(), None) == a_worker()


def test_defaults_are_written() -> None:
    """Or a default that changes later would change what was asked for."""
    assert msgpack.unpackb(encode(a_spec()))["stop"]["grace"] == a_spec().stop.grace


def test_an_unknown_field_of_a_spec_is_not_ignored() -> None:
    with pytest.raises(Unreadable, match="memory"):
        read(changed(a_spec(), {"memory": 1}), Spec)
    with pytest.raises(Unreadable, match="energy"):
        read(changed(a_spec(), {"limits": {"energy": 1}}), Spec)


def test_an_unknown_field_of_a_run_is_ignored() -> None:
    assert read(changed(a_run(), {"energy": 1}), Run) == a_run()


def test_a_missing_field_is_named() -> None:
    with pytest.raises(Unreadable, match="field 'name' is missing"):
        read(changed(a_spec(), {}, without="name"), Spec)


@pytest.mark.parametrize(
    "blob", [b"", b"\xc1", b"\x92\x01", b"\x81\xa1", b"\x01", b"\x90", b"\xa1\xff", b"\x81\x90\x01"]
)
def test_garbage_is_unreadable(blob: bytes) -> None:
    with pytest.raises(Unreadable):
        read(blob, Spec)
    with pytest.raises(Unreadable):
        decode_worker(blob, crc32(blob), a_spec(), None)


def test_every_flipped_bit_is_seen() -> None:
    blob = encode(a_spec())
    for bit in range(len(blob) * 8):
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unreadable, match="checksum"):
            decode(bytes(flipped), crc32(blob), Spec)


def test_another_run_or_spec_than_the_worker_names_is_refused() -> None:
    blob = encode_worker(a_worker(run=a_run(1)))
    for run in (a_run(2), None):
        with pytest.raises(Unreadable, match="run 000000000001 is missing"):
            decode_worker(blob, crc32(blob), a_spec(), run)
    with pytest.raises(Unreadable, match="its name is 'w'"):
        decode_worker(blob, crc32(blob), a_spec("other"), a_run(1))


def test_equal_parts_are_one_object() -> None:
    spec = a_spec(limits=Limits(nofile=Rlimit(64, 64)))
    first, second = read(encode(spec), Spec), read(encode(evolve(spec, name="v")), Spec)
    for part in ("restart", "stop", "queue", "limits", "log"):
        assert getattr(first, part) is getattr(second, part)
    assert first.environment["KEY"] is second.environment["KEY"]


def test_reasons_do_not_tell_the_environment() -> None:
    blob = changed(a_spec(), {"umask": "0o9"})
    with pytest.raises(Unreadable) as caught:
        read(blob, Spec)
    assert "secret" not in str(caught.value)


def test_plain_data_comes_back() -> None:
    data = {"pid": 1, "path": "/tmp/\udcff", "list": [1.5, None, True, b"\xff"]}
    assert unpack(pack(data)) == data


def test_breakers_of_providers_come_back_as_they_were() -> None:
    kept = {
        "openai": Circuit(Phase.OPEN, due=12.5, why="20 errors within 60 s"),
        "local": Circuit(errors=((1.5, 2.0), (3.0, 1.0))),
        "x": Circuit(Phase.HALF_OPEN, probe="w"),
    }
    assert decode_circuits(encode_circuits(kept)) == kept
    assert decode_circuits("{}") == {}
    for damaged in ("{", "[1]", '{"x": {"phase": "ajar"}}'):
        with pytest.raises(Unreadable):
            decode_circuits(damaged)
