"""The measured worker where there is no C compiler; see worker.c. Its start costs about ten milliseconds more."""

import os
import signal
import sys
import time

begin = time.monotonic_ns()
mode, fifo, *numbers = sys.argv[1:]
told = f"{os.getpid()} {begin}\n"
if mode == "write":
    size, total = map(int, numbers)
    block = (b"x" * 99 + b"\n") * (size // 100 + 1)
    done = 0
    while done < total:
        done += os.write(1, block[:size])
    told = f"{begin} {time.monotonic_ns()}\n"
descriptor = os.open(fifo, os.O_WRONLY)
os.write(descriptor, told.encode())
os.close(descriptor)
if mode == "hold":
    while True:
        signal.pause()
