"""A host as one may meet it: real workers in every state, for tests that look and for the pictures of the documents."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.harness import Client, eventually

CONFIG = """
[groups.gpu]
slots = 1
[groups.web]
slots = 4
"""

RDAGENT = r"""#!/bin/sh
i=0; loss=900
[ -d "$STATE_DIRECTORY" ] && head -c 42000000 /dev/zero >"$STATE_DIRECTORY/workspace.db"
while :; do
  i=$((i + 1)); loss=$((loss * 97 / 100 + 11))
  printf '\033[2m%s\033[0m \033[32mINFO\033[0m  rdagent.loop - \033[1mLoop %d\033[0m, running evaluation\n' "$(date +%T)" $i
  printf '  hypothesis: momentum over %d days beats the index; validation loss \033[36m0.%03d\033[0m\n' $((5 + i % 30)) $loss
  [ $((i % 9)) = 0 ] && printf '\033[33mWARNING\033[0m feature %d is constant; it is dropped\n' $i
  [ $((i % 13)) = 0 ] && printf '\033[31mERROR\033[0m evaluation %d failed: singular matrix; the next one\n' $i
  [ $i -lt 30 ] && continue
  j=0; while [ $j -lt $((4000 + i % 5 * 9000)) ]; do j=$((j + 1)); done
  sleep 0.4
done
"""

TRAIN = """#!/usr/bin/env python3
import sys, time
kept = []
step, most = map(int, sys.argv[-2:])
while True:
    kept = [*kept, bytearray(step << 20)][-most:] if len(kept) < most else []
    time.sleep(1)
"""

SERVE = """#!/bin/sh
for busy in "$@"; do :; done
while :; do j=0; while [ $j -lt $busy ]; do j=$((j + 1)); done; sleep 0.4; done
"""

TRADE = """#!/bin/sh
case $2 in
  NVDA) echo BUY;;
  TSLA) kill -SEGV $$;;
  *) echo "KeyError: 'close'" >&2; exit 3;;
esac
"""

PROGRAMS = {
    "rdagent": RDAGENT,
    "train": TRAIN,
    "astron": SERVE,
    "tradingagents": TRADE,
    "ralph": '#!/bin/sh\n[ "$3" = api.md ] && exit 1\nexec sleep 3000\n',
}
"""What the workers run: as busy and as talkative as the real ones, and as short-lived as a test."""

HOSTILE = "<img src=x onerror=alert(1)> \x1b[31mred\x1b[0m \u202egnp.exe <script>alert(2)</script>"

_GPU = {"queue": {"group": "gpu"}, "labels": {"team": "research"}}
_WEB = {"queue": {"group": "web"}, "labels": {"team": "platform"}}
_QUANT: dict[str, Any] = {"labels": {"team": "quant"}}
_DOCS: dict[str, Any] = {"labels": {"team": "docs"}}

WORKERS: dict[str, dict[str, Any]] = {
    "rd-agent-kaggle": {
        "command": ["rdagent", "data_science", "--competition", "playground-s4e9", "--loop-n", "200"],
        "state": {"quota": "64M"}, "limits": {"nofile": 4096}, **_QUANT,
    },
    "rd-agent-factors": {"command": ["train", "fin_factor", "4", "12"], "restart": "on-failure", **_QUANT},
    "finetune-llama": {"command": ["train", "--model", "llama", "9", "6"], **_GPU},
    "finetune-qwen": {"command": ["train", "--model", "qwen", "8", "8"], **_GPU},
    "finetune-mistral": {"command": ["train", "--model", "mistral", "8", "8"], **_GPU},
    "astron-api": {"command": ["astron", "serve", "--port", "17870", "9000"], **_WEB},
    "astron-console": {"command": ["astron", "console", "3000"], **_WEB},
    "tradingagents-nvda": {"command": ["tradingagents", "--ticker", "NVDA"], **_QUANT},
    "tradingagents-aapl": {"command": ["tradingagents", "--ticker", "AAPL"], **_QUANT},
    "tradingagents-tsla": {"command": ["tradingagents", "--ticker", "TSLA"], **_QUANT},
    "ralph-docs": {"command": ["ralph", "run", "docs.md"], **_DOCS},
    "ralph-api": {
        "command": ["ralph", "run", "-P", "api.md"], "restart": {"policy": "on-failure", "delay": "20m", "retries": 5}, **_DOCS,
    },
    "ralph-refactor": {"command": ["ralph", "run", "refactor.md"], "timeout": "200ms", **_DOCS},
    "nightly-report": {"command": ["ralph", "run", "report.md"], **_DOCS},
    "indexer": {"command": ["/opt/indexer/bin/run"], **_DOCS},
    "mirror": {"command": ["true", "--from", "eu-1"], "labels": {"note": "<b>bold</b>"}},
}  # fmt: skip

AT_LAST = {
    "rd-agent-kaggle": "running", "rd-agent-factors": "running", "finetune-llama": "running", "finetune-qwen": "queued",
    "finetune-mistral": "queued", "astron-api": "running", "astron-console": "running", "tradingagents-nvda": "completed",
    "tradingagents-aapl": "failed", "tradingagents-tsla": "failed", "ralph-docs": "paused", "ralph-api": "backoff",
    "ralph-refactor": "failed", "nightly-report": "stopped", "indexer": "failed", "mirror": "completed",
}  # fmt: skip
"""The state that each comes to."""


def play(client: Client, directory: Path) -> None:
    """Submits all of them, their programs below `directory`; returns once each is where it is to be."""
    for name, text in PROGRAMS.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    environment = {"PATH": f"{directory}:{os.environ['PATH']}"}
    for name, spec in WORKERS.items():
        client.call("submit", spec={"name": name, "environment": environment, **spec})
    client.wait("ralph-docs", "nightly-report", until="running")
    client.verb("pause", "ralph-docs")
    client.verb("stop", "nightly-report")
    eventually(lambda: {one["name"]: one["state"] for one in client.status()} == AT_LAST, "the scene to be set")
