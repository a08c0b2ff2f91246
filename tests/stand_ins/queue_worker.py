"""TradingAgents-CN's worker as it was measured: on SIGTERM it finishes the task that it is at, however long that takes.

queue_worker.py FIFO: the task is done when something is written to the FIFO.
"""

import os
import select
import signal
import socket
import sys

asked = []
wake, woken = socket.socketpair()
woken.setblocking(False)


def ask(number: int, frame: object) -> None:
    asked.append(number)
    print("asked to stop", flush=True)


signal.set_wakeup_fd(woken.fileno())
signal.signal(signal.SIGTERM, ask)
fifo = os.open(sys.argv[1], os.O_RDWR)
print("task taken", flush=True)
while fifo not in select.select([fifo, wake], [], [])[0]:  # open() may miss a signal that came just before
    wake.recv(1)
print("task done", flush=True)
sys.exit(0 if asked else 3)
