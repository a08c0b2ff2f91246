"""TradingAgents-CN's worker as it was measured: on SIGTERM it finishes the task that it is at, however long that takes.

queue_worker.py FIFO: the task is done when something is written to the FIFO.
"""

import signal
import sys

asked = []


def ask(number: int, frame: object) -> None:
    asked.append(number)
    print("asked to stop", flush=True)


signal.signal(signal.SIGTERM, ask)
print("task taken", flush=True)
with open(sys.argv[1]) as fifo:
    fifo.readline()
print("task done", flush=True)
sys.exit(0 if asked else 3)
