"""What can go wrong with the store. Every message is a sentence for a person and says what to do."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot read, write or open; nothing that was promised is lost."""


class Damaged(StoreError):  # noqa: N818 (it names what is, not what failed; so below)
    """The database is damaged: it was moved aside, unchanged, and the message names where to. The daemon exits 78."""


class NewerSchema(StoreError):  # noqa: N818
    """The database was written by a newer rdagentd; it was left as it is."""


class Unreadable(StoreError):  # noqa: N818
    """One row cannot be read; the message is the reason. The others can."""
