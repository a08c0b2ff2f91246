"""A virtual machine under software emulation, told what to do through a virtio-serial port."""

import json
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import attrs

from .image import Image

BOOT_LIMIT = 600.0  # seconds; usually 20 to 40, twice that with a shutdown before, and SHARED
SHARED = 4  # times are for a machine with a core of its own: three may share two, and those of a host that is busy
ANSWER_GRACE = 60.0  # seconds beyond a command's own limit: the guest ends it itself and says so
# Nothing of /usr is newer than what systemd has made of it: no catalogues to bring up to date at each boot.
# Emulation has no speculation to guard against, and its guards are dear: without them all takes a tenth less. So is it to
# empty each page of memory once more than Linux needs: without that a fork takes a sixth less.
# On a busy host the start of a unit may take longer than systemd's 90 seconds.
KERNEL_OPTIONS = (
    "root=/dev/vda rw console=ttyS0 quiet systemd.condition-needs-update=no mitigations=off init_on_alloc=0"
    " systemd.default_timeout_start_sec=300"
)
# The newest processor whose instructions are emulated at speed: with AVX (`-cpu max`) all takes a quarter longer.
PROCESSOR = "Nehalem"
# Three machines share two cores: with a second processor each, all takes a sixth longer, for they wait for each other.
PROCESSORS = "1"
_KEPT = "kept"  # what qemu calls the one moment that there is in a disk
TIMED_OUT = 124  # the exit code of timeout(1)


class MachineError(Exception):
    """The machine does not answer, or a command that had to succeed did not."""


@attrs.frozen
class Result:
    """How a command ended: its exit code (124: time limit) and what it printed, stdout and stderr in true order."""

    code: int
    out: str


@attrs.frozen
class Moment:
    """A booted machine as it was: what its disk had more than the image, its memory, the id of that boot."""

    image: Image
    disk: Path
    boot_id: str


class Machine:
    """A booted Debian; nothing that is done to it outlives it. A context manager: powered off at the end."""

    def __init__(self, begin: Image | Moment, memory: int = 1536) -> None:
        """Power on, or go on from a moment; memory in MiB. Raises MachineError if it has not booted in time."""
        self._image = begin if isinstance(begin, Image) else begin.image
        self._directory = tempfile.TemporaryDirectory(prefix="rdagentd-bench-")
        directory = Path(self._directory.name)
        self._console = directory / "console"
        self._disk = directory / "disk"
        self.clock = 0.0  # its own, seconds since the epoch, when it last answered
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(directory / "port"))
        listener.listen(1)
        if isinstance(begin, Moment):
            subprocess.run(["cp", "--sparse=always", begin.disk, self._disk], check=True)
        else:
            backed = ["-b", str(begin.disk), "-F", "raw"]
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backed, str(self._disk)], check=True)
        more = ["-loadvm", _KEPT] if isinstance(begin, Moment) else []
        self._qemu = subprocess.Popen(
            [*_command_line(self._image, memory, directory), *more],
            stdin=subprocess.PIPE,  # the monitor's
            stdout=subprocess.PIPE,
            cwd=directory,
            env={"TMPDIR": str(directory)},
        )
        try:
            listener.settimeout(120)
            self._port, _ = listener.accept()
            self._reader = self._port.makefile("rb")
            self.boot_id = begin.boot_id if isinstance(begin, Moment) else self._await_boot()
        except BaseException:
            self.close()
            raise
        finally:
            listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, script: str, timeout: float = 60) -> Result:
        """Run a bash script as root, at most timeout seconds (by SHARED longer). Raises MachineError if the machine is gone."""
        code, out = self._ask("run", script.encode(), SHARED * timeout)
        return Result(code, out.decode(errors="replace"))

    def check(self, script: str, timeout: float = 60) -> str:
        """Run a script that must succeed and return what it printed. Raises MachineError."""
        result = self.run(script, timeout)
        if result.code:
            raise MachineError(f"cannot run {script!r}: exit code {result.code}\n{result.out}")
        return result.out

    def rows(self, *names: str) -> list[dict[str, Any]]:
        """What `rdagentctl status` says of these workers; code 3 only says that one does not run. Raises MachineError."""
        found: list[dict[str, Any]] = json.loads(
            self.check(f"rdagentctl status --json {' '.join(names)} || test $? = 3")
        )
        return found

    def wait(self, *names: str, until: str = "rest") -> list[dict[str, Any]]:
        """Rows of these workers once all are so: `wait` tells them itself, which saves a question. Raises MachineError."""
        asked = f"rdagentctl wait --json --until {until} --timeout 6m {shlex.join(names)}"
        result = self.run(asked, timeout=150)
        try:
            found: list[dict[str, Any]] = json.loads(result.out.splitlines()[-1])
        except (IndexError, ValueError):
            found = []
        if not found or (until != "rest" and result.code):  # at rest, the code is the workers' own
            raise MachineError(f"cannot run {asked!r}: exit code {result.code}\n{result.out}")
        return found

    def output(self, *names: str) -> dict[str, str]:
        """What each of these workers wrote, in lines; one question for all, as each costs seconds here. Raises MachineError."""
        found = dict.fromkeys(names, "")
        for line in self.check(f"rdagentctl logs --json {' '.join(names)}", timeout=120).splitlines():
            said = json.loads(line)
            found[said["worker"]] += said["text"] + "\n"
        return found

    def put(self, path: str, content: bytes) -> None:
        """Write a file, its directories too. Raises MachineError."""
        code, out = self._ask("put", content, SHARED * 60, path)
        if code:
            raise MachineError(f"cannot write {path}: {out.decode(errors='replace')}")

    def reboot(self, *, crash: bool = False) -> None:
        """Reboot in order, or as by a power cut, and wait until the machine is up again. Raises MachineError."""
        script = "echo b >/proc/sysrq-trigger" if crash else "systemctl reboot"
        self._send("reboot", script.encode(), 0)
        before, self.boot_id = self.boot_id, self._await_boot()
        if self.boot_id == before:
            raise MachineError("cannot reboot: the machine answered, but with the same boot id")

    def keep(self, path: Path) -> Moment:
        """Keep this moment in a file, so that others begin with it. It is the machine's last. Raises MachineError."""
        said, _ = self._qemu.communicate(f"stop\nsavevm {_KEPT}\nquit\n".encode(), BOOT_LIMIT)
        if self._qemu.returncode or b"Error" in said:
            raise MachineError(f"cannot keep the machine: qemu said {said.decode(errors='replace')}")
        shutil.move(self._disk, path)
        return Moment(self._image, path, self.boot_id)

    def journal(self, unit: str = "", since: float = 0, lines: int = 200) -> str:
        """Return the last lines of the journal, of one unit and since a time of its clock if given."""
        only = (f" --unit={unit}" if unit else "") + (f" --since=@{since:.6f}" if since else "")
        shown = f"journalctl --no-pager --output=short-precise --lines={lines}{only}"
        return self.run(f"timeout 120 journalctl --sync &>/dev/null; {shown}").out  # what was written is there then

    def console(self) -> str:
        """Return the end of what kernel and init wrote to the console."""
        return self._console.read_text(errors="replace")[-4000:] if self._console.exists() else ""

    def close(self) -> None:
        """Cut the power and remove all that the machine left on the host."""
        self._qemu.kill()
        self._qemu.wait()
        for pipe in (self._qemu.stdin, self._qemu.stdout):
            if pipe is not None:
                pipe.close()
        if hasattr(self, "_port"):
            self._reader.close()
            self._port.close()
        self._directory.cleanup()

    def _ask(self, kind: str, payload: bytes, timeout: float, argument: str = "-") -> tuple[int, bytes]:
        self._send(kind, payload, timeout, argument)
        answered, code, content = self._receive(timeout + ANSWER_GRACE)
        if answered != kind:
            raise MachineError(f"cannot {kind}: the machine rebooted meanwhile\n{self.console()}")
        return code, content

    def _await_boot(self) -> str:
        kind, _, boot_id = self._receive(BOOT_LIMIT)
        if kind != "ready":
            raise MachineError(f"cannot boot: expected ready, got {kind}")
        return boot_id.decode().strip()

    def _send(self, kind: str, payload: bytes, timeout: float, argument: str = "-") -> None:
        self._port.settimeout(SHARED * 60)
        self._port.sendall(f"{kind} {timeout:g} {len(payload)} {argument}\n".encode() + payload)

    def _receive(self, limit: float) -> tuple[str, int, bytes]:
        deadline = time.monotonic() + limit
        self._port.settimeout(limit)
        try:
            kind, code, clock, length = self._reader.readline().decode().split()
            self.clock = float(clock)
            self._port.settimeout(max(1.0, deadline - time.monotonic()))
            return kind, int(code), self._reader.read(int(length))
        except (OSError, ValueError) as error:
            state = self._qemu.poll()
            fate = f"no answer in {limit:g} s" if state is None else f"qemu ended with {state}"
            raise MachineError(f"cannot talk to the machine: {fate} ({error})\n{self.console()}") from error


def _command_line(image: Image, memory: int, directory: Path) -> list[str]:
    return [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", PROCESSOR, "-smp", PROCESSORS,
        "-m", str(memory), "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none", "-device", "virtio-rng-pci",
        "-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", KERNEL_OPTIONS,
        "-drive", f"file={directory}/disk,format=qcow2,if=virtio,cache=unsafe", "-monitor", "stdio",
        "-serial", f"file:{directory}/console",
        "-device", "virtio-serial-pci", "-chardev", f"socket,id=bench,path={directory}/port",
        "-device", "virtserialport,chardev=bench,name=bench",
    ]  # fmt: skip
