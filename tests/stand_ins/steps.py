"""TradingAgents as measured: it keeps each step in SQLite, goes on at its last one, removes the database when it is done.

steps.py TICKER DATE STEPS [CRASH_AFTER]: its directories are those of TRADINGAGENTS_CACHE_DIR and _RESULTS_DIR.
"""

import os
import sqlite3
import sys
from pathlib import Path

ticker, date, steps, crash = sys.argv[1], sys.argv[2], int(sys.argv[3]), [int(word) for word in sys.argv[4:]]
checkpoints = Path(os.environ["TRADINGAGENTS_CACHE_DIR"]) / "checkpoints"
checkpoints.mkdir(parents=True, exist_ok=True)
path = checkpoints / f"{ticker}.db"
with sqlite3.connect(path) as database:
    database.execute("CREATE TABLE IF NOT EXISTS steps (thread TEXT, step INTEGER)")
done = database.execute("SELECT coalesce(max(step), 0) FROM steps").fetchone()[0]
if done:
    print(f"Resuming from step {done} for {ticker} on {date}", flush=True)
for step in range(done + 1, steps + 1):
    with database:
        database.execute("INSERT INTO steps VALUES (?, ?)", (date, step))
    print(f"step {step}", flush=True)
    if crash and step == crash[0] and not done:
        os.kill(os.getpid(), 9)
database.close()
path.unlink()
results = Path(os.environ["TRADINGAGENTS_RESULTS_DIR"])
results.mkdir(parents=True, exist_ok=True)
(results / f"{date}.json").write_text('{"decision": "HOLD"}')
