"""What becomes of a provider's breaker: each step makes a new one. Pure.

The try is over when the worker that makes it gets on (progress, iteration, step, tokens or money), ends well, or has run a
whole window without an error. An error of it opens the breaker again; an end that tells neither lets the next one try.
"""

from __future__ import annotations

from attrs import evolve

from rdagentd.model.measures import Measures
from rdagentd.model.provider import Circuit, Phase, Provider

CLOSED = Circuit()

_PIECES = 64
"""Errors are counted by so many pieces of the window: that bounds what is remembered of them."""


def failed(circuit: Circuit, provider: Provider, count: float, who: str, now: float) -> Circuit:
    """The worker `who` tells of so many more errors."""
    if circuit.phase is Phase.HALF_OPEN and circuit.probe == who:
        return _opened(provider, f"{who} tried it and met errors", now)
    if circuit.phase is not Phase.CLOSED:
        return circuit
    errors = recent(circuit, provider, now)
    if errors and now - errors[-1][0] < provider.window / _PIECES:
        errors = (*errors[:-1], (errors[-1][0], errors[-1][1] + count))
    else:
        errors = (*errors, (now, count))
    total = sum(many for _, many in errors)
    if total >= provider.errors:
        return _opened(provider, f"{total:g} errors within {provider.window:g} s", now)
    return evolve(circuit, errors=errors)


def _opened(provider: Provider, why: str, now: float) -> Circuit:
    return Circuit(Phase.OPEN, due=now + provider.cooldown, why=why)


def recent(circuit: Circuit, provider: Provider, now: float) -> tuple[tuple[float, float], ...]:
    """The errors that still count."""
    return tuple(error for error in circuit.errors if now - error[0] < provider.window)


def came_due(circuit: Circuit) -> Circuit:
    """Its time is over: that of the cool-down, or that of the try."""
    return evolve(circuit, phase=Phase.HALF_OPEN, due=None) if circuit.phase is Phase.OPEN else CLOSED


def tried(circuit: Circuit, who: str) -> Circuit:
    """A worker that needs it is started."""
    if circuit.phase is Phase.HALF_OPEN and circuit.probe is None:
        return evolve(circuit, probe=who)
    return circuit


def runs(circuit: Circuit, provider: Provider, who: str, now: float) -> Circuit:
    """The program of that worker runs, or goes on after a pause."""
    return evolve(circuit, due=now + provider.window) if circuit.probe == who else circuit


def rests(circuit: Circuit, who: str) -> Circuit:
    """It is paused, or asked to end: that nothing happens proves nothing."""
    return evolve(circuit, due=None) if circuit.probe == who else circuit


def got_on(circuit: Circuit, who: str) -> Circuit:
    """The worker got on, or ended well."""
    return CLOSED if circuit.probe == who else circuit


def ended(circuit: Circuit, who: str) -> Circuit:
    """It ended, and nobody knows whether the provider was to blame."""
    return evolve(circuit, probe=None, due=None) if circuit.probe == who else circuit


def story(name: str, provider: Provider, before: Circuit, after: Circuit) -> tuple[str, str]:
    """The kind and the words of such a step."""
    if after.phase is Phase.OPEN:
        cooldown = f"one worker tries it in {provider.cooldown:g} s"
        return "provider_open", f"provider {name} is out: {after.why}; starts that need it wait, {cooldown}"
    if after.phase is Phase.CLOSED:
        return "provider_closed", f"provider {name} answers again: {before.probe} tried it; starts go on"
    if after.probe is not None:
        return "provider_tried", f"provider {name}: {after.probe} tries whether it answers again"
    tried = f"{before.probe} has ended, and it is not known to answer" if before.probe else "the cool-down is over"
    return "provider_half_open", f"provider {name}: {tried}; the next worker that needs it tries it"


# --- what a run tells of them -----------------------------------------------------------------------------------------

ERRORS = "provider_errors"
"""The measure; with a dot and a name behind it, that of one provider."""


def errors_of(name: str, before: Measures, after: Measures) -> float:
    """How many more errors of this provider were told. Plain ones count for each that the worker needs: nobody knows which."""
    key = f"{ERRORS}.{name}"
    own = after.custom.get(key, 0.0) - before.custom.get(key, 0.0)
    return max(0.0, own) + ((after.provider_errors or 0) - (before.provider_errors or 0))


def is_further(before: Measures, after: Measures) -> bool:
    """Whether a run got on."""
    return any(getattr(before, name) != getattr(after, name) for name in _SIGNS)


_SIGNS = ("progress", "iteration", "step", "tokens", "cost_usd")
