"""The rules for runs that may connect to few ports, as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from rdagentd import egress
from rdagentd.protocol.egress import class_of, ports_of

RULES = """\
table inet rdagentd_egress
delete table inet rdagentd_egress
table inet rdagentd_egress {
  chain egress_22_443 {
    ct state established,related accept
    meta l4proto { tcp, udp } th dport 53 accept
    tcp dport { 22, 443 } accept
    reject with icmpx admin-prohibited
  }
  chain output {
    type filter hook output priority filter; policy accept;
    socket cgroupv2 level 3 "system.slice/x.service/egress-22-443" goto egress_22_443
  }
}
"""


def test_a_class_has_one_name_in_whatever_order_its_ports_are_said() -> None:
    assert class_of([443, 22, 443]) == "egress-22-443"
    assert ports_of("egress-22-443") == [22, 443]


def test_the_rules_are_these() -> None:
    assert egress.ruleset("system.slice/x.service", ["egress-22-443"]) == RULES


def test_a_line_is_a_set_of_ports(tmp_path: Path) -> None:
    (tmp_path / "egress").write_text("# ports\n443\n\n443 22 # git\n22 443\n")
    assert egress.read_classes(tmp_path / "egress") == ["egress-22-443", "egress-443"]


@pytest.mark.parametrize(
    "line", ["https", "0", "65536", "22,443", "443; flush ruleset", " ".join(map(str, range(1, 18)))]
)
def test_what_is_no_port_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "egress").write_text(f"443\n{line}\n")
    with pytest.raises(ValueError, match=r"egress, line 2: .* is not a list of at most 16 ports"):
        egress.read_classes(tmp_path / "egress")


@pytest.mark.parametrize(
    ("program", "reason"), [("/no/such/nft", "install the package nftables"), ("/bin/false", "^$")]
)
def test_a_class_whose_rules_are_not_loaded_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    home = tmp_path / "x.service"
    (home / "egress-443").mkdir(parents=True, mode=0o755)
    (home / "cgroup.subtree_control").write_text("memory pids")
    monkeypatch.setattr(egress, "NFT", program)
    with pytest.raises(ValueError, match=reason):
        egress.load(tmp_path, "x.service", ["egress-22", "egress-443"])
    assert {path.name: path.stat().st_mode & 0o777 for path in home.glob("egress-*")} == {
        "egress-22": 0o700, "egress-443": 0o700,
    }  # fmt: skip
    assert (home / "egress-22" / "cgroup.subtree_control").read_text() == "+memory +pids"
    monkeypatch.setattr(egress, "NFT", "/bin/true")
    egress.load(tmp_path, "x.service", ["egress-22"])
    assert [(home / name).stat().st_mode & 0o777 for name in ("egress-22", "egress-443")] == [0o755, 0o700]
