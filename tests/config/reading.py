"""Reading a spec in a test, and what is told when it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from rdagentd.config.problems import SpecError
from rdagentd.config.spec import decode_spec
from rdagentd.model.spec import Spec

SMALL = {"name": "w", "command": ["true"]}


def decode(**fields: Any) -> Spec:
    return decode_spec({**SMALL, **fields})


def refusal(**fields: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        decode_spec({**SMALL, **fields}, "/etc/w.toml")
    prefix = "cannot read worker 'w' in /etc/w.toml: "
    lines = str(caught.value).splitlines()
    assert all(line.startswith(prefix) for line in lines)
    return [line.removeprefix(prefix) for line in lines]
