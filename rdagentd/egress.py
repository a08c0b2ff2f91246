"""`rdagentd egress`: loads rules of nftables for runs that may connect to certain ports only.

Such a run is in a cgroup below one for its ports, `<cgroup of the executor>/egress-22-443`, which this program makes: a rule
names a cgroup that exists, and the kernel keeps its number. The directory opens (others may pass) once the rules are in
force; the executor starts nobody in one that is closed. One that is named no longer is closed, its rules stay.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rdagentd.protocol.egress import CLASS, class_of, ports_of

ROOT = Path("/sys/fs/cgroup")
"""Where nft(8) looks for cgroups."""

TABLE = "rdagentd_egress"
NFT = "/usr/sbin/nft"

_CHAIN = """\
  chain {name} {{
    ct state established,related accept
    meta l4proto {{ tcp, udp }} th dport 53 accept
    tcp dport {{ {ports} }} accept
    reject with icmpx admin-prohibited
  }}
"""

_RULESET = """\
table inet {table}
delete table inet {table}
table inet {table} {{
{chains}  chain output {{
    type filter hook output priority filter; policy accept;
{jumps}  }}
}}
"""


def main(arguments: Sequence[str]) -> int:
    """Makes the cgroups, loads the rules, opens them. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        classes = read_classes(options.file)
        load(ROOT, options.cgroup.strip("/"), classes)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot load the rules for egress: {error}\n")
        return 1
    sys.stdout.write(f"in force: {', '.join(classes) or 'no rules'}\n")
    return 0


def read_classes(path: Path) -> list[str]:
    """The classes of a file: ports in each line, `#` begins a comment. Raises OSError, ValueError with the line."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if not all(word.isdecimal() and 0 < int(word) < 65536 for word in words) or len(set(words)) > 16:
            raise ValueError(
                f"{path}, line {number}: {line.strip()!r} is not a list of at most 16 ports, such as 22 443"
            )
        found.append(class_of(map(int, words)))
    return sorted(set(found))


def ruleset(cgroup: str, classes: Iterable[str]) -> str:
    """For nft(8). cgroup: path of the directory of all classes, below ROOT."""
    level = len(cgroup.split("/")) + 1
    names = [(name, name.replace("-", "_")) for name in classes]
    chains = (_CHAIN.format(name=chain, ports=", ".join(map(str, ports_of(name)))) for name, chain in names)
    jumps = (f'    socket cgroupv2 level {level} "{cgroup}/{name}" goto {chain}\n' for name, chain in names)
    return _RULESET.format(table=TABLE, chains="".join(chains), jumps="".join(jumps))


def load(root: Path, cgroup: str, classes: Sequence[str]) -> None:
    """Closed first, then the rules, then open: never is a class open that has none. Raises OSError, ValueError."""
    home = root / cgroup
    there = [name for name in (path.name for path in home.iterdir()) if CLASS.fullmatch(name)]
    for name in {*there, *classes}:
        place = home / name
        place.mkdir(exist_ok=True)
        place.chmod(0o700)
        controllers = (home / "cgroup.subtree_control").read_text().split()
        (place / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in controllers))
    try:
        text = ruleset(cgroup, sorted({*there, *classes}))
        done = subprocess.run(  # noqa: S603
            [NFT, "--file", "-"], input=text, text=True, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise ValueError("nft is not there; install the package nftables") from None
    if done.returncode:
        raise ValueError(done.stderr.strip())
    for name in classes:
        (home / name).chmod(0o755)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rdagentd egress", description="Rules for runs with few ports to connect to.")
    parser.add_argument("file", type=Path, help="lines of ports, each a set that a worker may ask for: 22 443")
    parser.add_argument("--cgroup", required=True, help="of the executor, as systemctl show -P ControlGroup tells it")
    return parser
