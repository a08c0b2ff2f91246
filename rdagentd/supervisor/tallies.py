"""What workers spend together, between the configuration, the database and the core."""

from __future__ import annotations

import logging
import pwd
from collections.abc import Iterator, Mapping

from rdagentd.model.budgets import Flow, SharedBudgets, Tally
from rdagentd.store.codec import decode_tally, encode_tally
from rdagentd.store.errors import Unreadable
from rdagentd.store.writes import SetMeta

log = logging.getLogger(__name__)

_PREFIX = "tally:"


def by_key(shared: SharedBudgets) -> dict[tuple[str, str], Flow]:
    """As the core knows them: owners by number. A user that this host does not know owns no worker; it is logged."""
    budgets: dict[tuple[str, str], Flow] = {("group", name): budget for name, budget in shared.group.items()}
    for name, budget in shared.owner.items():
        try:
            uid = int(name) if name.isdecimal() else pwd.getpwnam(name).pw_uid
        except KeyError:
            log.warning("budgets: user %s is not known on this host; it counts from the next reload after it is", name)
        else:
            budgets["owner", str(uid)] = budget
    if shared.day != Flow():
        budgets["day", ""] = shared.day
    return budgets


def kept(tally: Tally) -> SetMeta:
    """How it is kept."""
    return SetMeta(f"{_PREFIX}{tally.scope}:{tally.name}", encode_tally(tally))


def loaded_tallies(meta: Mapping[str, str]) -> Iterator[Tally]:
    """Those that were kept. One that cannot be read begins anew, which is logged."""
    for key, text in meta.items():
        if key.startswith(_PREFIX):
            try:
                yield decode_tally(text)
            except Unreadable as error:
                log.error("cannot read what was spent of %s: %s; it counts anew", key.removeprefix(_PREFIX), error)
