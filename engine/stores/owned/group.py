"""One transaction: the steps of all requests that share it, in the order of the requests.

Steps are combined per table (`combined`), so that a store needs few statements. The result is the same as of the steps one
by one:

* Rows of inbox, outbox and timer are deleted by their place, dead letters by their number, before rows are inserted.
  A caller learns a place or a number only after the transaction that inserted it, so no row is inserted and deleted in
  one transaction.
* Tables with another key keep the last step for each key. Of the marks of one kind the highest counts.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from engine.model import TIMER_IDS, Sql

if TYPE_CHECKING:
    import asyncio

    from engine.stores.owned.reads import Read

Row = tuple[Any, ...]
Steps = list[Any]
"""Alternating: the operation, then its rows, place or values. One flat list costs less than a tuple per step."""

_LOGS: Final = {"inbox", "outbox", "dead", "mail"}
KEYS: Final = {
    "state": slice(2),
    "seen": slice(1),
    "parked": slice(2),
    "timer": slice(1, 4),
    "alias": slice(1),
}
"""The key's columns in a row of the tables that have a key other than a place."""

_DELETE_FROM: Final = {
    "inbox": "-inbox",
    "outbox": "-outbox",
    "timer": "-timer",
    "dead": "-dead",
    "mail": "-mail",
}
_GONE: Final = {step: queue for queue, step in _DELETE_FROM.items()}
DELETED: Final = None

LARGE_BYTES: Final = 1 << 20
"""A caller with more content than this is large: a group of many such would be a statement without a bound."""

TOGETHER_BYTES: Final = 8 << 20
"""Callers with more content than this together are written one by one, too."""


class Combined:
    """The steps of one transaction, as what becomes of each table."""

    __slots__ = ("bounded", "given", "gone", "keyed", "marks", "new", "right", "states")

    def __init__(self) -> None:
        self.gone: dict[str, list[int]] = {}
        """Places or numbers to delete, by table."""

        self.new: dict[str, list[Row]] = {}
        """Rows to insert, by table, in the order of the steps."""

        self.keyed: dict[str, dict[Row, Row | None]] = {}
        """By table and key, the row to insert or replace, or DELETED."""

        self.bounded: dict[str, int] = {}
        """By lane, the number of timers that it may have at the end."""

        self.marks: dict[str, int] = {}
        """By kind of id, the value to which its high-water mark is raised."""

        # Only of a store that several sessions write. The first two must be so, or nothing is changed.
        self.right: int | None = None
        """The epoch of the right to append that the session must have."""

        self.states: dict[tuple[str, str], bytes | None] = {}
        """The states before this transaction, by (key, scope)."""

        self.given: list[int] = []
        """Shares of the lanes that the session owned so far, and gives up."""


class Group:
    """The steps of one transaction, the callers that wait for it, and queries to run after it."""

    __slots__ = (
        "_together",
        "durable",
        "finished",
        "large",
        "looks",
        "reads",
        "sql",
        "states",
        "steps",
        "waiting",
        "whole",
        "within",
    )

    def __init__(self) -> None:
        self.durable = False
        """Sync before it counts as committed: its updates will be confirmed to Telegram."""

        self.steps: Steps = []
        self.whole = 0
        """Number of `steps` that were submitted; the rest are of a caller that failed before `done`."""

        self.waiting: list[tuple[asyncio.Future[Any], Callable[[], Any], int]] = []
        """Future, callback on the event loop after the commit, and end of the caller's steps in `steps`."""

        self.reads: list[tuple[asyncio.Future[Any], Read, Row, Callable[[list[Row]], Any]]] = []
        """Future, question and values to read after the transaction, and callback on the event loop for its rows."""

        self.states: set[tuple[str, str]] = set()
        """(key, scope) of the states that it writes."""

        self.sql: dict[int, tuple[Sql, ...]] = {}
        """The author's own SQL, by index of the caller in `waiting`."""

        self.within: dict[int, Any] = {}
        """Transactions of handlers, by index of the caller, whose commit is that of the caller's steps."""

        self.large: dict[int, int] = {}
        """Bytes of content by index of the caller, of those with much: a store may write each in a transaction of its own."""

        self._together = 0

        self.looks = False
        """Whether to check that what the store keeps is still there, even if nothing is written."""

        self.finished = False
        """Committed or failed, with the outcome delivered on the event loop."""

    def insert(self, table: str, *rows: Row) -> None:
        """Insert rows; in a table with a key other than its place, replace rows of the same key."""
        self.steps += (table, rows)

    def delete(self, queue: str, place: int) -> None:
        """Delete the row at a place of a queue, or the timer at that place."""
        self.steps += ("-timer" if place & TIMER_IDS else _DELETE_FROM[queue], place)

    def drop_letter(self, number: int) -> None:
        """Delete a dead letter."""
        self.steps += ("-dead", number)

    def forget(self, table: str, *key: Any) -> None:
        """Delete the row of this key from state, seen, parked, timer or alias."""
        self.steps += (f"~{table}", key)

    def bound_timers(self, key: str, most: int) -> None:
        """Fail the transaction (TooManyTimers) if the lane has more than `most` timers at its end."""
        self.steps += ("#timer", (key, most))

    def raise_mark(self, kind: str, last: int) -> None:
        """Raise the high-water mark of the ids of this kind to `last`, unless it is higher."""
        self.steps += ("#mark", (kind, last))

    def expect_right(self, epoch: int) -> None:
        """Fail the transaction (RightLost) if the session has no right to append of this epoch."""
        self.steps += ("=right", epoch)

    def expect_state(self, key: str, scope: str, was: bytes | None) -> None:
        """Fail the transaction (StateChanged) if this state is another one before it."""
        self.steps += ("=state", (key, scope, was))

    def give(self, shares: Iterable[int]) -> None:
        """Give up shares of the lanes: another session may own them from now on."""
        self.steps += ("=given", list(shares))

    def see(self, segments: Mapping[int, bytearray], now: float) -> None:
        """Store segments of seen ids; `now` is Unix time."""
        self.insert("seen", *((number, bytes(bits), now) for number, bits in segments.items()))

    def set_state(self, key: str, scope: str, state: bytes | None) -> None:
        """Set or delete a conversation state."""
        self.states.add((key, scope))
        if state is None:
            self.forget("state", key, scope)
        else:
            self.insert("state", (key, scope, state))

    def note_size(self, content: Iterable[bytes]) -> None:
        """Note all the content that the next caller inserts."""
        size = sum(map(len, content))
        if size > LARGE_BYTES or self._together + size > TOGETHER_BYTES:
            self.large[len(self.waiting)] = size
        else:
            self._together += size

    @property
    def apart(self) -> AbstractSet[int]:
        """Indexes of callers whose steps may be written after those of the others, in a transaction each."""
        return self.sql.keys() | self.within.keys() | self.large.keys()

    def parts(self) -> list[Steps]:
        """Return the steps of each waiting caller."""
        ends = [0, *(end for _, _, end in self.waiting)]
        return [self.steps[start:end] for start, end in pairwise(ends)]


def only_deletes(steps: Steps) -> bool:
    """Return whether these steps only delete, so need no more space in the file."""
    return all(what[:1] in {"-", "~"} for what in steps[::2])


def combined(steps: Steps) -> Combined:
    """Combine the steps."""
    parts = Combined()
    gone, new, keyed = parts.gone, parts.new, parts.keyed
    last = ""
    add: Callable[[Any], None]
    by_turns = iter(steps)
    for what, value in zip(by_turns, by_turns, strict=True):
        if what != last:
            if what in _GONE:
                add = gone.setdefault(_GONE[what], []).append
            elif what in _LOGS:
                add = new.setdefault(what, []).extend
            elif what in KEYS:
                add = partial(_replace, keyed.setdefault(what, {}), KEYS[what])
            elif what == "#timer":
                add = partial(_bound, parts.bounded)
            elif what == "#mark":
                add = partial(_raise, parts.marks)
            elif what[0] == "=":
                add = partial(_between_sessions, parts, what)
            else:
                add = partial(_forget, keyed.setdefault(what[1:], {}))
            last = what
        add(value)
    return parts


def _forget(rows: dict[Row, Row | None], key: Row) -> None:
    rows.pop(key, None)
    rows[key] = DELETED


def _replace(rows: dict[Row, Row | None], key: slice, by: Iterable[Row]) -> None:
    for row in by:
        rows.pop(row[key], None)
        rows[row[key]] = row


def _bound(bounded: dict[str, int], bound: tuple[str, int]) -> None:
    bounded[bound[0]] = bound[1]


def _between_sessions(parts: Combined, what: str, value: Any) -> None:
    match what:
        case "=right":
            parts.right = value
        case "=state":
            parts.states.setdefault(value[:2], value[2])
        case _:
            parts.given += value


def _raise(marks: dict[str, int], mark: tuple[str, int]) -> None:
    kind, last = mark
    marks[kind] = max(last, marks.get(kind, last))
