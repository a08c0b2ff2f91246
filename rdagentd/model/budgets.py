"""What workers may spend: each by itself, and several out of one purse."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, frozen

from rdagentd.model.measures import NOTHING_SPENT, Spent


@frozen
class Flow:
    """Most that may be spent; None: no bound. cost_usd: US dollars; run_time: seconds, pauses aside; log_bytes: of all output.

    The first three are what runs report. 0 of one of these: it is to spend none of it, and need not report that.
    """

    cost_usd: float | None = None
    tokens: int | None = None
    iterations: int | None = None
    run_time: float | None = None
    log_bytes: int | None = None


@frozen
class Budget(Flow):
    """disk: bytes that the state and the cache directory may hold together."""

    disk: int | None = None


@frozen
class Budgets(Budget):
    """Of a worker over all its runs. run: of each of them. within: seconds of a run in which it must first report what a
    budget is for.
    """

    run: Flow = Flow()
    within: float = 600.0


UNBOUNDED = Budgets()


@frozen
class SharedBudgets:
    """By group; by owner (name or number of a user); of all workers on one day, which begins at 00:00 UTC.

    Those of groups and owners are for all times: what was spent counts from when there was such a budget.
    """

    group: Mapping[str, Budget] = Factory(dict)
    owner: Mapping[str, Budget] = Factory(dict)
    day: Flow = Flow()


@frozen
class Tally:
    """What was spent of a shared budget. scope: group, owner or day; name: of the group, or number of the user.

    day: that it is about, counted from 1970, 0 for all times. warned: of what it was told that little is left.
    """

    scope: str
    name: str
    spent: Spent = NOTHING_SPENT
    day: int = 0
    warned: tuple[str, ...] = ()
