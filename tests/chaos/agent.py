"""An agent: it spends, writes checkpoints, dies in every way, and keeps an account. Arguments: directory, steps, checkpoint.

Its account has a line for each run: where it began, and which checkpoints were whole then, each by its step and its time.
"""

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

place, steps = Path(sys.argv[1]), int(sys.argv[2])
began = Path(sys.argv[3]).name if len(sys.argv) > 3 else None
whole = {}
for path in place.glob("*.json"):
    with contextlib.suppress(ValueError):
        json.loads(path.read_text())
        whole[path.name] = path.stat().st_mtime_ns
with (place / "account").open("a") as account:
    account.write(json.dumps({"run": os.environ["RDAGENTD_RUN"], "began": began, "whole": whole}) + "\n")

step = int(json.loads((place / began).read_text())["step"]) if began else 0
dice = random.Random(f"{os.environ['RDAGENTD_RUN']} {os.environ['CHAOS']}")
if dice.random() < 0.3:
    sys.exit(1)
while step < steps:
    step += 1
    print("spent $0.01", flush=True)
    time.sleep(dice.uniform(0, 0.04))
    newest = place / f"{step:04d}.json"
    newest.with_suffix(".new").write_text(json.dumps({"step": step, "pad": "x" * 1000}))
    newest.with_suffix(".new").replace(newest)
    fate = dice.random()
    if fate < 0.05:
        os.truncate(newest, 500)
    if fate < 0.1:
        os.kill(os.getpid(), signal.SIGKILL)
