"""The providers that workers need, each with its breaker; followed as workers change."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from attrs import evolve

from rdagentd.core import circuits, restarts
from rdagentd.core.circuits import CLOSED
from rdagentd.model.provider import Circuit, Phase, Provider
from rdagentd.model.worker import LIVE, Reason, State, Worker

_DEFAULT = Provider()


class Providers:
    """settings: those that the configuration names. circuits: breakers that are not closed or have counted errors, by name."""

    def __init__(self, settings: Mapping[str, Provider] | None = None) -> None:
        self.settings: Mapping[str, Provider] = dict(settings or {})
        self.circuits: dict[str, Circuit] = {}
        self._users: dict[str, dict[str, None]] = {}

    # --- following ----------------------------------------------------------------------------------------------------

    def follow(self, before: Worker | None, after: Worker | None) -> None:
        """Notes that a worker changed, came (before None) or went (after None)."""
        old = before.spec.providers if before else ()
        new = after.spec.providers if after else ()
        if old == new:
            return
        for name in old:
            del self._users[name][before.name]  # type: ignore[union-attr]
            if not self._users[name]:
                del self._users[name]
                if name not in self.settings:
                    self.circuits.pop(name, None)
        for name in new:
            self._users.setdefault(name, {})[after.name] = None  # type: ignore[union-attr]

    def news(self, before: Worker, after: Worker | None, now: float) -> Iterator[tuple[str, Circuit]]:
        """What the change of a worker makes of the breakers of its providers, as far as they change."""
        for name in before.spec.providers:
            old = self.of(name)
            new = self._after(name, old, before, after, now)
            if new is not old:
                yield name, new

    def _after(self, name: str, circuit: Circuit, before: Worker, after: Worker | None, now: float) -> Circuit:
        who, provider = before.name, self.setting(name)
        if after is None or after.state not in LIVE or name not in after.spec.providers:
            return self._at_end(circuit, before, after) if before.state in LIVE else circuit
        if before.state not in LIVE:
            return circuits.tried(circuit, who)
        assert before.run is not None
        assert after.run is not None
        if before.run.measures is not after.run.measures:
            count = circuits.errors_of(name, before.run.measures, after.run.measures)
            if count:
                return circuits.failed(circuit, provider, count, who, now)
            if circuits.is_further(before.run.measures, after.run.measures):
                return circuits.got_on(circuit, who)
        if after.state is not before.state:
            return (
                circuits.runs(circuit, provider, who, now)
                if after.state is State.RUNNING
                else circuits.rests(circuit, who)
            )
        return circuit

    def _at_end(self, circuit: Circuit, before: Worker, after: Worker | None) -> Circuit:
        run = after.run if after else None
        well = run is not None and run.exit is not None and restarts.succeeded(before.spec.restart, run.exit)
        return circuits.got_on(circuit, before.name) if well else circuits.ended(circuit, before.name)

    # --- telling ------------------------------------------------------------------------------------------------------

    def of(self, name: str) -> Circuit:
        """The breaker of a provider."""
        return self.circuits.get(name, CLOSED)

    def setting(self, name: str) -> Provider:
        """When it opens."""
        return self.settings.get(name, _DEFAULT)

    def users(self, name: str) -> Collection[str]:
        """Workers that need it."""
        return self._users.get(name, {}).keys()

    def names(self) -> list[str]:
        """Those that are configured, needed, or in trouble."""
        return sorted({*self.settings, *self._users, *self.circuits})

    def barred(self, worker: Worker) -> Reason | None:
        """Why a worker cannot start: the first of its providers whose breaker lets nobody through."""
        for name in worker.spec.providers:
            circuit = self.of(name)
            if circuit.phase is Phase.OPEN:
                cooldown = f"the cool-down of {self.setting(name).cooldown:g} s"
                return Reason(
                    "provider", f"waits for provider {name}: {circuit.why}; one worker tries it after {cooldown}"
                )
            if circuit.probe not in (None, worker.name):
                return Reason("provider", f"waits for provider {name}: {circuit.probe} tries whether it answers again")
        return None

    def outage(self, worker: Worker) -> str:
        """Which of its providers is out, "" if none is: its failures are not its own then."""
        return next((name for name in worker.spec.providers if self.of(name).phase is not Phase.CLOSED), "")

    # --- taking up ----------------------------------------------------------------------------------------------------

    def set(self, name: str, circuit: Circuit) -> None:
        """Changes a breaker."""
        if circuit == CLOSED:
            self.circuits.pop(name, None)
        else:
            self.circuits[name] = circuit

    def restore(self, kept: Mapping[str, Circuit], workers: Mapping[str, Worker], now: float, rebooted: bool) -> None:
        """Takes breakers up as they were kept. rebooted: the monotonic clock began anew since."""
        for name, circuit in kept.items():
            if circuit.probe is not None and (circuit.probe not in workers or workers[circuit.probe].state not in LIVE):
                circuit = circuits.ended(circuit, circuit.probe)  # noqa: PLW2901
            if rebooted:
                due = None if circuit.due is None else now + self.setting(name).cooldown
                circuit = evolve(circuit, errors=(), due=due)  # noqa: PLW2901
            self.set(name, circuit)
