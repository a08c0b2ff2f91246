"""Disk images of Debian machines, made by mmdebstrap; kept under .cache/system by the hash of what made them."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import attrs

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "system"
GUEST = HERE / "guest"

RELEASES = {"bookworm": "Debian 12, systemd 252", "trixie": "Debian 13, systemd 257"}
KERNEL_RELEASE = "bookworm"  # trixie's 6.12 crashes at random under qemu 7.2 without KVM: both boot Debian 12's 6.1
BASE_PACKAGES = "systemd-sysv,dbus,udev,kmod,iproute2,procps"
# For the local repository, with their closure: what rdagentd's package depends on, and what its scenarios look at it with.
# The bare machine has none of it; the ready one, which saves a minute a boot, has it all, and docker has an engine too.
REPOSITORY_PACKAGES = (
    "python3 python3-attr python3-cattr python3-msgpack python3-psutil python3-sdnotify python3-daemon python3-docker"
    " python3-aiohttp python3-prometheus-client"
    " bubblewrap nftables autopkgtest dpkg-dev bash-completion fish man-db zsh"
)

# On the third machine alone: an engine would start at every boot. It starts nothing without the parser of its AppArmor profile.
DOCKER_PACKAGES = "docker.io apparmor busybox-static"

# Program → Debian package. A person who is not root installs them beforehand.
TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "dpkg-scanpackages": "dpkg-dev",
}


@attrs.frozen
class Image:
    """What qemu boots: a root file system, never written to, and the kernel for it."""

    disk: Path
    kernel: Path
    initrd: Path


def missing_tools() -> list[str]:
    """Name the Debian packages of the programs that the bench needs and this machine lacks."""
    return sorted({package for program, package in TOOLS.items() if shutil.which(program) is None})


def install_tools(packages: list[str], say: Callable[[str], None]) -> None:
    """Install Debian packages on this machine. Raises subprocess.CalledProcessError."""
    say(f"installing {' '.join(packages)}, which the bench of booted machines needs")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", "--quiet=2", *command], check=True, env=environment, timeout=600)


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold back other processes on this checkout that want the same; the releases may be tried at the same time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"lock-{name}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def image(release: str, say: Callable[[str], None], kind: str = "ready") -> Image:
    """Return the image of a release, built if it is not in the cache (two minutes). Raises CalledProcessError.

    kind: "bare", "ready" or "docker".
    """
    kernels = _built(KERNEL_RELEASE, say)
    disk = _built(release, say) / kind
    return Image(disk, kernels / "vmlinuz", kernels / "initrd.img")


def _built(release: str, say: Callable[[str], None]) -> Path:
    directory = CACHE / f"{release}-{_recipe_hash()}"
    with lock(release):
        if directory.exists():
            return directory
        for stale in CACHE.glob(f"{release}-*"):
            shutil.rmtree(stale)
        if release != KERNEL_RELEASE:
            _built(KERNEL_RELEASE, say)
        say(f"building a machine of {RELEASES[release]} (about two minutes)")
        unfinished = CACHE / f"unfinished-{release}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        _build(release, unfinished)
        unfinished.rename(directory)
    return directory


def _recipe_hash() -> str:
    recipe = hashlib.sha256()
    for file in [Path(__file__), *sorted(GUEST.iterdir())]:
        recipe.update(file.read_bytes())
    return recipe.hexdigest()[:12]


def _build(release: str, directory: Path) -> None:
    root = directory / "root"
    own_kernel = release == KERNEL_RELEASE
    with (directory / "log").open("wb") as log:
        _run(
            log,
            "mmdebstrap", "--mode=root", "--variant=minbase", "--aptopt=APT::Install-Recommends false",
            "--include=" + BASE_PACKAGES + (",linux-image-cloud-amd64" if own_kernel else ""),
            f"--essential-hook={GUEST}/initramfs \"$1\"", f"--customize-hook={GUEST}/customize \"$1\"",
            release, str(root),
        )  # fmt: skip
        if own_kernel:
            for name in ("vmlinuz", "initrd.img"):
                shutil.copyfile(root / name, directory / name)
            shutil.copytree(root / "usr/lib/modules", directory / "modules", symlinks=True)
        else:
            modules = _built(KERNEL_RELEASE, lambda _: None) / "modules"
            shutil.copytree(modules, root / "usr/lib/modules", symlinks=True)
        for mount_point in ("dev", "proc", "sys", "run"):
            shutil.rmtree(root / mount_point)
            (root / mount_point).mkdir(mode=0o755)
        _make_disk(log, root, directory / "bare")
        for kind, packages in (("ready", REPOSITORY_PACKAGES), ("docker", DOCKER_PACKAGES)):
            _run(log, "unshare", "--mount", f"{GUEST}/furnish", str(root), *packages.split())
            _make_disk(log, root, directory / kind)
            _run(log, "cp", "--archive", str(root), str(directory / f"{kind}-root"))
    shutil.rmtree(root)


def installed(release: str, say: Callable[[str], None], kind: str, package: Path) -> Image:
    """Return an image() on which the package is installed already: emulated, that takes most of a minute.

    It is made in the package's directory, once. Raises CalledProcessError.
    """
    before = image(release, say, kind)
    disk = package.parent / f"{release}-{kind}"
    root = disk.with_name(f"{disk.name}-root")
    with lock(f"{release}-{kind}"):
        if not disk.exists():
            with disk.with_name(f"{disk.name}-log").open("wb") as log:
                _run(log, "cp", "--archive", f"{before.disk}-root", str(root))
                shutil.copy(package, root / "root")
                _run(log, "unshare", "--mount", f"{GUEST}/furnish", str(root), f"/root/{package.name}")
                _make_disk(log, root, disk)
            shutil.rmtree(root)
    return attrs.evolve(before, disk=disk)


def _make_disk(log: BinaryIO, root: Path, disk: Path) -> None:
    _run(log, "mkfs.ext4", "-q", "-L", "root", "-d", str(root), str(disk), "3G")


def _run(log: BinaryIO, *command: str) -> None:
    environment = os.environ | {"PACKAGES": f"{REPOSITORY_PACKAGES} {DOCKER_PACKAGES}"}
    subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT, env=environment, timeout=900)
