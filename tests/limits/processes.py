"""Limits of processes, and programs that try to exceed them."""

from __future__ import annotations

from tests.limits.row import Row, Story

TITLE = "Processes"
MIB = 1 << 20

EATER = """
import mmap, sys
for size in map(int, sys.argv[1:]):
    memory = mmap.mmap(-1, size << 20)
    for page in range(0, len(memory), 4096): memory[page] = 1
    print("had", size, "MiB", flush=True)
    memory.close()
"""
BURNER = """
import os, time
for _ in range(3):
    if not os.fork():
        while time.process_time() < 1: pass
        os._exit(0)
for _ in range(3): os.wait()
"""
FORKER = """
import os, time
children = []
try:
    while len(children) < 50:
        pid = os.fork()
        if not pid: time.sleep(1000)
        children.append(pid)
except OSError as error:
    print("had", len(children), "children, then fork:", error.strerror)
for pid in children: os.kill(pid, 9)
"""
WRITER = """
import os, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
file, size = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), 0
while size < 4 << 20:
    size += os.write(file, bytes(1 << 16))
    if size % (1 << 20) == 0: print("wrote", size >> 20, "MiB", flush=True)
"""
COMPUTER = """
import signal, sys
if "ignore" in sys.argv: signal.signal(signal.SIGXCPU, signal.SIG_IGN)
while True: pass
"""
OPENER = """
import os, sys
last = 0
try:
    while last < 1000: last = os.open("/dev/null", os.O_RDONLY)
except OSError as error:
    sys.exit(print("had", last + 1, "open files, then open:", error.strerror) or 1)
"""
CRASHER = """
import os, resource
try:
    resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))
except ValueError as error:
    print(error, flush=True)
os.abort()
"""
MAPPER = """
import mmap, sys
try:
    mmap.mmap(-1, 1 << 30)
except OSError as error:
    sys.exit(print("mmap:", error.strerror) or 1)
"""
CHOOSER = """
import os
os.sched_setaffinity(0, range(os.cpu_count()))
print("has CPU", *os.sched_getaffinity(0))
"""
CALLER = """
import socket, sys
for port in sys.argv[1:]:
    try:
        socket.create_connection(("127.0.0.1", int(port)), 60).close()
        print("port", port + ": connected")
    except OSError as error:
        print("port", port + ":", error.strerror)
"""
TOUCHER = """
import sys
for path in sys.argv[1:]:
    try:
        open(path + "/new", "w").close()
        print(path + ": written")
    except OSError as error:
        print(path + ":", error.strerror)
"""
BECOMER = """
import os, subprocess, sys
became = int(subprocess.check_output([sys.argv[1], "-u"]))
print("became", "root" if became == 0 else "nobody else" if became == os.getuid() else became)
"""


def python(text: str, *words: str) -> tuple[str, ...]:
    """A command."""
    return ("/usr/bin/python3", "-I", "-S", "-c", text.strip(), *words)


def to_its_limit(story: Story) -> str:
    """The kernel kept count."""
    peak = story.run["usage"]["memory_peak"]
    assert peak == 64 * MIB, story
    return f"never more than {peak // MIB} MiB in memory"


def share(story: Story) -> str:
    """Of a CPU."""
    used = story.cpu / story.took
    print(f"limits.cpu = 0.5: share measured {used:.2f}, held up for {story.run['usage']['throttled']:.1f} s")
    assert story.cpu > 2.5 and used < 0.6
    return "less than 0.6 CPUs together"


def rate(story: Story) -> str:
    """12 MiB at 4 MiB a second."""
    print(f"limits.io_max write = 4M: 12 MiB took {story.took:.1f} s")
    assert story.took > 2 and story.run["usage"]["written"] >= 12 * MIB
    return "took more than 2 s"


def no_core(story: Story) -> str:
    """By what wait(2) says."""
    assert not story.run["exit"]["core"]
    return "no core dump"


def used_up(story: Story) -> str:
    """No earlier; the kernel counts in two ways, which differ, and more so in an emulation."""
    assert story.cpu > 1.5, story
    return ""


ROWS = (
    Row(
        "memory", ('limits.memory = "64M"', "limits.swap = 0"), "fills 256 MiB",
        python(EATER, "256"), "out_of_memory", to_its_limit, ("memory.max",),
    ),
    Row(
        "memory, of a child", ('limits.memory = "64M"', "limits.swap = 0"), "its child fills 256 MiB",
        ("sh", "-c", '"$@"; echo went on', "sh", *python(EATER, "256")), "out_of_memory", to_its_limit, ("memory.max",),
    ),
    Row(
        "swap", ('limits.memory = "64M"', 'limits.swap = "64M"'), "fills 96 MiB, then 256 MiB",
        python(EATER, "96", "256"), "out_of_memory", to_its_limit, ("memory.swap.max", "swap"),
    ),
    Row(
        "cpu", ("limits.cpu = 0.5",), "three processes compute, 1 s each",
        python(BURNER), "0", share, ("cpu.max",), alone=True,
    ),
    Row("cpuset", ('limits.cpuset = "0"',), "asks for all CPUs", python(CHOOSER), "0", needs=("cpuset.cpus",)),
    Row("tasks", ("limits.tasks = 16",), "forks 50 children", python(FORKER), "0", needs=("pids.max",)),
    Row(
        "io", ('limits.io_max = [{ path = "/var/tmp", write = "4M" }]',), "writes 12 MiB, past the cache",
        ("dd", "if=/dev/zero", "of=/var/tmp/io", "bs=1M", "count=12", "oflag=direct", "status=none"), "0", rate,
        ("io.max", "disk"),
    ),
    Row("fsize", ('limits.fsize = "1M"',), "writes a file of 4 MiB", python(WRITER, "/srv/own/fsize"), "SIGXFSZ"),
    Row(
        "fsize, of a child", ('limits.fsize = "1M"',), "a shell's child writes a file of 4 MiB",
        ("sh", "-c", '"$@"; exit $?', "sh", *python(WRITER, "/srv/own/child")), "153",
    ),
    Row("cpu time", ('limits.cpu_time = "2s:4s"',), "computes", python(COMPUTER), "SIGXCPU", used_up),
    Row("cpu time, hard", ('limits.cpu_time = "2s"',), "computes", python(COMPUTER), "SIGKILL", used_up),
    Row("nofile", ("limits.nofile = 64",), "opens 1000 files", python(OPENER), "1"),
    Row("core", ("limits.core = 0",), "lifts the limit, and crashes", python(CRASHER), "SIGABRT", no_core),
    Row("address space", ('limits.address_space = "512M"',), "maps 1 GiB", python(MAPPER), "1"),
    Row(
        "time", ('timeout = "10s"', 'kill_after = "1s"'), "ignores SIGTERM",
        ("sh", "-c", "trap '' TERM; exec sleep 1000"), "timed_out", alone=True,
    ),
    Row(
        "disk quota", ('state.quota = "4M"',), "writes 8 MiB there",
        ("sh", "-c", 'dd if=/dev/zero of="$STATE_DIRECTORY/file" bs=1M count=8 status=none; exec sleep 1000'), "over_quota",
    ),
    Row(
        "shm", ('limits.memory = "64M"', "limits.swap = 0", "isolation.private_tmp = true"), "writes 256 MiB to /dev/shm",
        ("dd", "if=/dev/zero", "of=/dev/shm/file", "bs=1M", "count=256", "status=none"), "out_of_memory", to_its_limit,
        ("memory.max", "bwrap"),
    ),
    Row(
        "network", ("isolation.network = false",), "connects to a server on this host", python(CALLER, "7777"), "0",
        needs=("bwrap",),
    ),
    Row(
        "ports", ('isolation.preset = "strict"', "isolation.network = true", "isolation.egress = [443]"),
        "connects to two servers", python(CALLER, "443", "7777"), "0", needs=("egress", "bwrap"),
    ),
    Row(
        "files", ("isolation.read_only_system = true",), "writes where everybody may",
        python(TOUCHER, "/opt/open", "/etc", "/srv/open"), "0", needs=("bwrap",),
    ),
    Row(
        "directories",
        ('isolation.preset = "strict"', 'isolation.read_only = ["/srv/open"]', 'isolation.read_write = ["/srv/own"]'),
        "writes where everybody may", python(TOUCHER, "/srv/own", "/srv/open", "/opt/open"), "0", needs=("bwrap",),
    ),
    Row(
        "privileges", ("isolation.no_new_privileges = true",), "runs a set-user-ID program of root",
        python(BECOMER, "/opt/open/id"), "0", needs=("bwrap",),
    ),
)  # fmt: skip
