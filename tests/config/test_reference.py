"""docs/worker-spec.md is what the code says."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from rdagentd.config.spec import decode_spec

DOCS = Path(__file__).parents[2] / "docs"


def test_the_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "run: make docs"


def test_the_example_in_the_reference_can_be_used() -> None:
    example = (DOCS / "worker-spec.md").read_text().split("```")[1].removeprefix("toml")
    assert decode_spec({"name": "w", **tomllib.loads(example)}).limits.nofile is not None
