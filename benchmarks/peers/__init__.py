"""The supervisors that are measured, all behind the same few words."""

from __future__ import annotations

from benchmarks.peers.base import Peer
from benchmarks.peers.circus import Circus
from benchmarks.peers.rdagentd import Rdagentd
from benchmarks.peers.supervisor import Supervisor

PEERS: tuple[type[Peer], ...] = (Rdagentd, Supervisor, Circus)
