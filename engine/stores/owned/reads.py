"""What a store reads after its groups: each a question with values, and rows as the answer."""

from enum import Enum
from typing import Final


class Read(Enum):
    """What is read after a group: the values of the question, and the columns of a row."""

    NOTHING = "nothing"
    """() -> no rows: the outcome comes after those of the groups submitted before."""

    INBOX_AT = "inbox at"
    """([places]) -> place, scope, body, at."""

    OUTBOX_AT = "outbox at"
    """As INBOX_AT."""

    TIMER_AT = "timer at"
    """As INBOX_AT."""

    INBOX_THERE = "inbox there"
    """([places]) -> place of the rows that exist."""

    OUTBOX_THERE = "outbox there"
    """As INBOX_THERE."""

    TIMER_THERE = "timer there"
    """As INBOX_THERE."""

    INBOX_OLDEST = "inbox oldest"
    """() -> at of the lowest place."""

    OUTBOX_OLDEST = "outbox oldest"
    """As INBOX_OLDEST."""

    STATE = "state"
    """(key, scope) -> state."""

    DUE = "due"
    """(at, place, at, until, most) -> at, place, key, scope, name of the timers behind this one that are due by then."""

    NEXT_DUE = "next due"
    """(at, place, at) -> at of the next timer behind this one."""

    LETTER = "letter"
    """(number) -> number, queue, id, key, scope, body, attempts, reason, at of this dead letter."""

    NEWEST_LETTER = "newest letter"
    """(number) -> the same of the newest dead letter with a lower number."""

    MAIL = "mail"
    """(most) -> n, kind, key, scope, place, at, body of the oldest mail for this session's lanes (sessions.py)."""

    __hash__ = object.__hash__  # Enum's own is written in Python

    @classmethod
    def at(cls, table: str) -> "Read":
        """Return the reading of the rows of inbox, outbox or timer at given places."""
        return _AT[table]

    @classmethod
    def there(cls, table: str) -> "Read":
        """Return the question which rows of inbox, outbox or timer exist."""
        return cls(f"{table} there")


_AT: Final = {"inbox": Read.INBOX_AT, "outbox": Read.OUTBOX_AT, "timer": Read.TIMER_AT}
