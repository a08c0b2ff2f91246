"""Limits of containers, and programs that try to exceed them. All that they need is busybox."""

from __future__ import annotations

from tests.limits.row import Row

TITLE = "Containers"

EATER = "{ head -c 96m /dev/zero; echo had 96 MiB >&2; cat /dev/zero; } | tail"
BURNER = """
read begin _ </proc/uptime
for i in 1 2 3; do (ulimit -t 1; while :; do :; done) & done
wait
read end _ </proc/uptime
times >/tmp/times
tail -n 1 /tmp/times | tr ms '  ' | awk -v begin=$begin -v end=$end '{
    used = $1 * 60 + $2 + $3 * 60 + $4
    held = used > 2 && used / (end - begin) < 0.6
    print held ? "had less than 0.6 CPUs together" : used " s of CPUs from " begin " to " end }'
"""
"""The shares of all children, by times(1p)."""

CHOOSER = """
taskset -p fff $$ >/dev/null
echo has CPU $(awk '/^Cpus_allowed_list/ { print $2 }' /proc/self/status)
"""
FORKER = "trap 'echo had $i children' EXIT; i=0; while [ $i -lt 50 ]; do sleep 1000 & i=$((i + 1)); done"
WRITER = """
dd if=/dev/zero of=/tmp/file bs=64k count=64 2>/dev/null
code=$?
echo wrote $(($(stat -c %s /tmp/file) >> 20)) MiB
exit $code
"""
COMPUTER = "while :; do :; done"
OPENER = """
refused=$(tail -q -n 0 $(yes /etc/passwd | head -n 100) 2>&1 | grep -c 'Too many open files')
echo had $((103 - refused)) open files, then open: Too many open files
"""
CRASHER = "(ulimit -c unlimited); echo core file size $(ulimit -c); kill -ABRT $$"
PATIENT = "trap '' TERM; while :; do sleep 1; done"
FILLER = """
dd if=/dev/zero of=/dev/shm/file bs=1M count=32 2>&1 | grep -o 'No .*'
echo has $(($(stat -c %s /dev/shm/file) >> 20)) MiB
"""
CALLER = "nc -w 60 192.0.2.1 443 2>&1 | grep -o '[A-Z][a-z ]*$'"
SERVER = """
nc -ll -p 80 -e echo reached &
until told=$(nc -w 60 127.0.0.1 80 </dev/null 2>/dev/null) && [ "$told" ]; do :; done
echo from inside: $told
gateway=$(ip route | awk '$1 == "default" { print $3 }')
echo at another address of the host: $(nc -w 60 $gateway $RDAGENTD_PORT_80 2>&1 </dev/null | grep -o '[A-Z][a-z ]*$')
"""
TOUCHER = """
for place in "$@"; do
    touch $place/new 2>&1 && echo $place: written
done
exit 0
"""
ROOT = """
mount -t tmpfs none /tmp 2>&1
mknod /tmp/null c 1 3 2>&1
touch /tmp/new; chown 1 /tmp/new 2>&1
grep NoNewPrivs /proc/self/status
"""


def sh(text: str, *words: str) -> tuple[str, ...]:
    """A command; of its output the order is kept."""
    return ("sh", "-c", f"exec 2>&1\n{text.strip()}", "sh", *words)


ROWS = (
    Row("memory", ('limits.memory = "64M"', "limits.swap = 0"), "fills all memory",
        sh("exec tail </dev/zero"), "out_of_memory"),
    Row(
        "memory, of a child", ('limits.memory = "64M"', "limits.swap = 0"), "its child fills all memory",
        sh("sleep 10; tail </dev/zero; sleep 10; echo went on"), "out_of_memory",  # while Docker looks
    ),
    Row(
        "swap", ('limits.memory = "64M"', 'limits.swap = "64M"'), "fills 96 MiB, then all memory",
        sh(EATER), "out_of_memory", needs=("swap",),
    ),
    Row("cpu", ("limits.cpu = 0.5",), "three processes compute, 1 s each", sh(BURNER), "0"),
    Row("cpuset", ('limits.cpuset = "0"',), "asks for all CPUs", sh(CHOOSER), "0"),
    Row("tasks", ("limits.tasks = 16",), "forks 50 children", sh(FORKER), "2"),
    Row("io", ('limits.io_max = [{ path = "/var/tmp", write = "4M" }]',), "-", sh("true"), "refused"),
    Row("fsize", ('limits.fsize = "1M"',), "writes a file of 4 MiB", sh(WRITER), "SIGXFSZ"),
    Row("cpu time", ('limits.cpu_time = "2s:4s"',), "computes", sh(COMPUTER), "SIGXCPU"),
    Row("cpu time, hard", ('limits.cpu_time = "2s"',), "computes", sh(COMPUTER), "SIGKILL"),
    Row("nofile", ("limits.nofile = 64",), "opens 100 files", sh(OPENER), "0"),
    Row("core", ("limits.core = 0",), "lifts the limit, and crashes", sh(CRASHER), "SIGABRT"),
    Row("address space", ('limits.address_space = "512M"',), "-", sh("true"), "refused"),
    Row("time", ('timeout = "10s"', 'kill_after = "1s"'), "ignores SIGTERM", sh(PATIENT), "timed_out"),
    Row("disk quota", ('state.quota = "4M"',), "-", sh("true"), "refused"),
    Row("shm", ('container.shm = "16M"',), "writes 32 MiB to /dev/shm", sh(FILLER), "0"),
    Row("network", ('container.network = "none"',), "connects to an address elsewhere", sh(CALLER), "0"),
    Row("ports", ("container.ports = [80]",), "serves, and asks who reaches it", sh(SERVER), "0"),
    Row("files", ("container.read_only = true",), "writes where everybody may", sh(TOUCHER, "/tmp", "/dev/shm"), "0"),
    Row(
        "directories", ('container.volumes = ["/srv/open:/open", "/srv/own:/own:rw"]',), "writes where everybody may",
        sh(TOUCHER, "/own", "/open"), "0",
    ),
    Row(
        "privileges", ('container.user = "0:0"', "container.no_new_privileges = true"),
        "mounts, makes a device, and gives a file away, as root", sh(ROOT), "0",
    ),
)  # fmt: skip
