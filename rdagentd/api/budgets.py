"""Raising the budgets of workers that are there, without a file of their spec."""

from __future__ import annotations

from typing import Any

from rdagentd.api.commands import decoded, verb
from rdagentd.config.spec import decode_spec, encode_spec
from rdagentd.core import events as ev
from rdagentd.model.spec import Spec
from rdagentd.model.worker import Worker
from rdagentd.protocol.errors import INVALID, ProtocolError


def _raised(worker: Worker, wanted: dict[str, Any]) -> Spec:
    """The worker's spec with these budgets, by measure or `run.` and measure. Raises ProtocolError for what would be less."""
    data = encode_spec(worker.spec)
    for path, value in wanted.items():
        table, name = _table(data["budgets"], path)
        if name not in table or name == "run":
            raise ProtocolError(INVALID, f"cannot raise budgets.{path} of {worker.name}: there is no such budget")
        table[name] = value
    spec: Spec = decoded(lambda: decode_spec(data))
    before, after = encode_spec(worker.spec)["budgets"], encode_spec(spec)["budgets"]
    for path, amount in wanted.items():
        old, new = (table[name] for table, name in (_table(before, path), _table(after, path)))
        if old is None or (new is not None and new < old):
            now = "it has none" if old is None else f"it is {old:g}"
            how = "to bound or to lower it, apply a spec"
            raise ProtocolError(INVALID, f"cannot raise budgets.{path} of {worker.name} to {amount}: {now}; {how}")
    return spec


def _table(budgets: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    first, dot, rest = path.partition(".")
    return (budgets["run"], rest) if dot and first == "run" else (budgets, path)


budget = verb(
    "Raises budgets of the chosen workers, by measure; `unlimited` takes one away. Who rests for lack of it starts again.",
    lambda worker, by, args: ev.SpecChanged(worker.name, _raised(worker, args["raise"]), by),
)
