"""A machine with agents at work, as one might see it: programs that are called as the agents are, and use what such do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.harness import Client

AGENT = """\
#!/usr/bin/env python3
import os, sys, time
share, memory, lines, written = map(float, os.environ["USES"].split())
held = bytearray(os.urandom(1 << 20) * int(memory))
step, out = 0.1, open("/dev/null", "wb")
sink = open(os.environ["SINK"], "wb", buffering=0)
owed = 0.0
while True:
    begin = time.monotonic()
    while time.monotonic() - begin < share * step:
        sum(range(200))
    owed += lines * step
    while owed >= 1:
        print(f"{time.strftime('%H:%M:%S')} loop step: evaluating hypothesis, score {time.monotonic() % 1:.3f}", flush=True)
        owed -= 1
    if written:
        sink.seek(0)
        sink.truncate()
        sink.write(bytes(int(written * step * 1024)))
    time.sleep(max(0.0, step - (time.monotonic() - begin)))
"""

FAILS = "#!/bin/sh\nsleep 0.2\nexit {code}\n"

RUNNING = (
    ("rd-agent-factor", "rdagent fin_factor", (0.62, 180, 9, 340)),
    ("rd-agent-kaggle", "rdagent data_science --competition aerial-cactus", (0.35, 260, 4, 2100)),
    ("rd-agent-model", "rdagent fin_model", (0.21, 140, 6, 0)),
    ("ralph-api", "ralph run -c ralph.yml -P PROMPT.md -i 100", (0.08, 52, 2, 12)),
    ("ralph-web", "ralph run -c ralph.yml -P PROMPT.md -i 40", (0.04, 48, 1, 0)),
    ("trading-nvda", "tradingagents --ticker NVDA", (0.12, 95, 3, 0)),
    ("trading-tsla", "tradingagents --ticker TSLA", (0.0, 88, 0, 0)),
)
"""Name, command, and what it uses: CPUs, MiB, lines and KiB written a second."""

CONFIG = "[groups.batch]\nslots = 1\n"


def begin(client: Client, directory: Path) -> None:
    """All of them, in the states that they come to."""
    place = directory / "bin"
    place.mkdir()
    for name, text in {
        **dict.fromkeys(("rdagent", "ralph", "tradingagents", "astron"), AGENT), "papers": FAILS.format(code=2),
        "backup": FAILS.format(code=0),
    }.items():  # fmt: skip
        (place / name).write_text(text)
        (place / name).chmod(0o755)

    def submit(name: str, command: str, uses: tuple[float, ...] = (0.0, 20, 0, 0), **spec: Any) -> None:
        words = command.split()
        environment = {
            "PATH": f"{place}:/usr/local/bin:/usr/bin:/bin", "USES": " ".join(map(str, uses)), "SINK": str(directory / name),
        }  # fmt: skip
        client.submit(name, *words, environment=environment, **spec)

    for name, command, uses in RUNNING:
        submit(name, command, uses)
    submit("astron-workflow", "astron serve --workflow")
    submit("nightly-backup", "backup --all")
    submit("papers-index", "papers index --since 2024")
    submit("papers-scrape", "papers scrape arxiv", restart={"policy": "always", "delay": 3600})
    for name in ("sweep-lr-01", "sweep-lr-02", "sweep-lr-03"):
        submit(name, "rdagent sweep", (0.1, 60, 1, 0), queue={"group": "batch"})
    names = [name for name, *_ in RUNNING]
    client.wait(*names, "astron-workflow", "sweep-lr-01", until="running")
    client.verb("pause", "astron-workflow")
    client.wait("nightly-backup", "papers-index")
