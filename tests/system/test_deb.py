"""The package as a file: what it needs, the same bytes from the same files, nothing that lintian would say. No machine."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from . import image

BUILD = Path(__file__).parents[2] / "packaging" / "deb" / "build"

# Each import that pyproject.toml names, under Debian's name for it.
NEEDED = {
    *(
        "python3-aiohttp",
        "python3-attr",
        "python3-cattr",
        "python3-daemon",
        "python3-msgpack",
        "python3-prometheus-client",
    ),
    *("python3-psutil", "python3-sdnotify"),
}


@pytest.fixture
def lintian(bench_tools: None, say: Callable[[str], None]) -> str:
    """The program, installed if it is not there."""
    with image.lock("tools"):
        if shutil.which("lintian") is None:
            image.install_tools(["lintian"], say)
    return "lintian"


def test_the_package_depends_on_what_the_programs_import(package: Path) -> None:
    field = subprocess.check_output(["dpkg-deb", "--field", package, "Depends"], text=True)
    assert {part.split()[0] for part in field.split(",")} >= NEEDED
    # At purge debconf may be gone: only the scripts say so.
    assert "debconf (>= 0.5) | debconf-2.0" in field


def test_another_directory_umask_time_zone_and_language_give_the_same_bytes(package: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "a" / "deeper" / "directory"
    elsewhere.mkdir(parents=True)  # without a space: pybuild cannot live with one
    odd = {"TMPDIR": str(elsewhere), "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANGUAGE": "de", "HOME": str(tmp_path)}
    subprocess.run(
        ["sh", "-c", f"umask 077; exec {BUILD} '{tmp_path}/out'"],
        check=True,
        env=os.environ | odd,
        stdout=subprocess.PIPE,
    )
    assert (tmp_path / "out" / package.name).read_bytes() == package.read_bytes()


def test_lintian_has_nothing_to_say(package: Path, lintian: str) -> None:
    said = subprocess.run(
        [lintian, "--allow-root", "--pedantic", "--display-info", package],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    # "Masked": lintian itself knows better, as with the directories of Python's metadata.
    lines = [line for line in said.stdout.splitlines() if not line.startswith(("N:", "M:"))]
    assert lines == []


def test_every_override_of_lintian_says_why() -> None:
    lines = (BUILD.parent / "debian" / "rdagentd.lintian-overrides").read_text().splitlines()
    overrides = [number for number, line in enumerate(lines) if not line.startswith("#")]
    assert overrides
    assert all(lines[number - 1].startswith("#") for number in overrides)
