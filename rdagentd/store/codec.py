"""Model values to bytes and back: cattrs makes plain data of them, msgpack makes bytes of that.

Every field is written, defaults too: a default that changes in a later version must not change what was asked for. A field
that a row lacks gets its default, so a new optional field needs no migration. An unknown key in a spec or a worker makes the
row unreadable, because to ignore it could drop a limit; in a run, which is history, it is ignored.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from weakref import WeakValueDictionary
from zlib import crc32

import msgpack
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn

from rdagentd.model.budgets import Budgets, Flow, Tally
from rdagentd.model.checkpoints import Checkpoint, Checkpoints, Snapshot
from rdagentd.model.health import HealthCheck, Probe
from rdagentd.model.isolation import Isolation
from rdagentd.model.measures import Measures
from rdagentd.model.provider import Circuit
from rdagentd.model.reporters import Reporter
from rdagentd.model.requests import Requests
from rdagentd.model.run import Exit, Reading, Run, Usage
from rdagentd.model.spec import Breaker, DeviceRate, Limits, Log, Queue, Restart, Rlimit, Spec, Stop
from rdagentd.model.stall import Stall
from rdagentd.model.worker import Worker
from rdagentd.store.errors import Unreadable

T = TypeVar("T")

SHARED = (
    Checkpoints, Snapshot, Rlimit, DeviceRate, Breaker, Restart, Stop, Queue, Requests, Limits, Isolation, Log, Reporter,
    Probe, HealthCheck, Flow, Budgets, Stall,
)  # fmt: skip
"""Parts of a spec of which equal ones are one object in memory. Inner ones first."""

HISTORY = (Checkpoint, Exit, Usage, Measures, Reading, Run)
"""Classes whose unknown keys are ignored."""

_shared: WeakValueDictionary[Any, Any] = WeakValueDictionary()


def _share(build: Callable[[Any, Any], T]) -> Callable[[Any, Any], T]:
    def structure(value: Any, kind: Any) -> T:
        made = build(value, kind)
        found: T = _shared.setdefault(made, made)
        return found

    return structure


def _strings(value: Mapping[str, str], _: Any) -> dict[str, str]:
    """A map of strings, each kept once: a thousand workers often have the same environment."""
    return {sys.intern(key): sys.intern(text) for key, text in value.items()}


def _count_or_names(value: Any, _: Any) -> int | tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else int(value)


def _make_values() -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=False)
    converter.register_structure_hook_func(lambda kind: bool(kind == Mapping[str, str]), _strings)
    converter.register_structure_hook_func(lambda kind: bool(kind == int | tuple[str, ...]), _count_or_names)
    for part in SHARED:
        build: Any = make_dict_structure_fn(
            part, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=False
        )
        converter.register_structure_hook(part, _share(build))
    for past in HISTORY:
        read: Any = make_dict_structure_fn(
            past, converter, _cattrs_forbid_extra_keys=False, _cattrs_detailed_validation=False
        )
        converter.register_structure_hook(past, read)
    return converter


def _make_rows() -> Converter:
    """Workers as rows: the spec is elsewhere, of the run there is the id; read back, both are put in ready-made."""
    converter = Converter(forbid_extra_keys=True, detailed_validation=False)
    converter.register_unstructure_hook(Spec, lambda spec: None)
    converter.register_unstructure_hook(Run, lambda run: run.id)
    converter.register_structure_hook(Spec, lambda spec, _: spec)
    converter.register_structure_hook(Run, lambda run, _: run)
    return converter


_values = _make_values()
_rows = _make_rows()


def pack(data: Any) -> bytes:
    """Plain data as msgpack. Strings that are not Unicode (surrogates from file names) pass through."""
    packed: bytes = msgpack.packb(data, unicode_errors="surrogatepass")
    return packed


def unpack(blob: bytes) -> Any:
    """Plain data again. Raises Unreadable."""
    try:
        return msgpack.unpackb(blob, unicode_errors="surrogatepass")
    except Exception as error:  # msgpack raises half a dozen unrelated kinds
        raise Unreadable(f"it is not msgpack: {type(error).__name__}") from error


def encode(value: Spec | Run) -> bytes:
    """A spec or a run as bytes."""
    return pack(_values.unstructure(value))


def encode_worker(worker: Worker) -> bytes:
    """A worker as bytes, without its spec, and with the id of its run in the place of the run."""
    return pack(_rows.unstructure(worker))


def encode_tally(tally: Tally) -> str:
    """A tally as text."""
    return json.dumps(_values.unstructure(tally))


def decode_tally(text: str) -> Tally:
    """A tally again. Raises Unreadable."""
    try:
        row = json.loads(text)
    except ValueError as error:
        raise Unreadable(f"it is not JSON: {error}") from error
    return _structure(_values, row, Tally)


def decode(blob: bytes, checksum: int, kind: type[T]) -> T:
    """A spec or a run. Raises Unreadable."""
    return _structure(_values, _checked(blob, checksum), kind)


def decode_worker(blob: bytes, checksum: int, spec: Spec, run: Run | None) -> Worker:
    """A worker, put together with its spec and its run. Raises Unreadable, also if they are not those that it names."""
    row = _checked(blob, checksum)
    wanted = row.get("run")
    if wanted != (run.id if run else None):
        raise Unreadable(f"its run {wanted} is missing")
    worker = _structure(_rows, {**row, "spec": spec, "run": run}, Worker)
    if worker.name != spec.name:
        raise Unreadable(f"it says that its name is {worker.name!r}, and its spec says {spec.name!r}")
    return worker


def encode_circuits(circuits: Mapping[str, Circuit]) -> str:
    """The breakers of providers as text."""
    return json.dumps(_values.unstructure(circuits, dict[str, Circuit]))


def decode_circuits(text: str) -> dict[str, Circuit]:
    """Breakers of providers. Raises Unreadable."""
    try:
        row = json.loads(text)
    except ValueError as error:
        raise Unreadable(f"it is not JSON: {error}") from error
    return _structure(_values, row, dict[str, Circuit])


def _checked(blob: bytes, checksum: int) -> dict[str, Any]:
    if crc32(blob) != checksum:
        raise Unreadable("its checksum is wrong: the disk or a person changed it")
    row = unpack(blob)
    if not isinstance(row, dict):
        raise Unreadable("it is not a map")
    return row


def _structure(converter: Converter, row: dict[str, Any], kind: type[T]) -> T:
    try:
        return converter.structure(row, kind)
    except Exception as error:  # cattrs lets through whatever a constructor raises
        raise Unreadable(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"the field {error} is missing"
    return str(error) or type(error).__name__
