"""The timers of a store: set and removed with commits, and put into their lanes when they come due.

There may be millions, so those that are not due stay in the store; memory has those that are in their lanes, and when
the next one is due. A timer is in its lane exactly if it is due and in the store: both change where the writer delivers
outcomes, in the order of the transactions, so a timer that was replaced meanwhile is never delivered.
"""

import asyncio
from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Final

from engine.embedded.forward import ForwardClock
from engine.embedded.lanes import LaneTable
from engine.errors import StoreError
from engine.model import POSTED, TIMER_IDS, Post, Timer
from engine.store import WALL_LOOK_S
from engine.stores.owned.group import Group, Row
from engine.stores.owned.ids import Ids
from engine.stores.owned.ledger import Source, damaged
from engine.stores.owned.reads import Read
from engine.stores.owned.shares import Shares
from engine.stores.owned.writer import GroupWriter

Name = tuple[str, str, str]
"""Key, scope and name of a timer."""

Changes = dict[Name, tuple[float, int] | None]
"""Unix time when it is due, and its place; None: it is removed."""

LOOK_ROWS: Final = 1000  # rows per reading, so that other requests do not wait long
_NONE: Final = (-inf, 0)
_WAIT_MIN_S: Final = 2.0**-10
_AFTER_TROUBLE_S: Final = 1.0


class Timers:
    """The due timers of one opening. All methods but `load` are for the event loop."""

    def __init__(self, lanes: LaneTable, clock: ForwardClock, ids: Ids, shares: Shares) -> None:
        self._lanes = lanes
        self._clock = clock
        self._ids = ids
        self._shares = shares
        self._due: dict[int, Name] = {}  # those that are in their lanes, by place
        self._places: dict[Name, int] = {}  # the inverse
        self._last = _NONE  # (Unix time, place): all timers in the store up to here are in their lanes
        self._next_at = inf  # Unix time before which no other comes due
        self._looking = False
        self._is_again = False  # lanes were taken after a question was asked
        self._closed = False
        self._alarm: asyncio.TimerHandle | None = None
        self._writer: GroupWriter

    @property
    def due(self) -> int:
        """Number of timers that are due and not handled."""
        return len(self._due)

    def load(self, source: Source, until: float) -> None:
        """Put timers that are due at Unix time `until` into their lanes, after what is pending."""
        for row in source.rows(Read.DUE, (*self._last, self._last[0], until, -1)):
            self._come_due(row)
        self._note_next(list(source.rows(Read.NEXT_DUE, (*self._last, self._last[0]))))

    def start(self, writer: GroupWriter) -> None:
        """From now on, put timers into their lanes when they come due."""
        self._writer = writer
        self._set_alarm()

    def close(self) -> None:
        """Stop looking for due timers."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()

    def plan(
        self, group: Group, key: str, own_scope: str, timers: Iterable[Timer], most: int | None = None
    ) -> Changes:
        """Add the timers of a commit to the group, and return the changes for `apply`.

        With `most`, the commit fails (TooManyTimers) if the lane would have more timers than that.
        """
        changes: Changes = {}
        rows: dict[Name, Row] = {}
        for name, after_s, body, scope in timers:
            full_name = (key, own_scope if scope is None else scope, name)
            for earlier in (changes, rows):
                earlier.pop(full_name, None)  # the last of several changes to one name counts
            changes[full_name] = None
            if after_s is not None:
                at, place = changes[full_name] = (self._clock() + after_s, TIMER_IDS + self._ids.next())
                rows[full_name] = (place, *full_name, at, body)
        group.insert("timer", *rows.values())
        self._ids.reserve(group)
        for full_name, change in changes.items():
            if change is None:
                group.forget("timer", *full_name)
        if rows and most is not None:
            group.bound_timers(key, most)
        return changes

    def post(self, group: Group, posts: Iterable[Post], most: int) -> Changes:
        """Add posts, as `plan` adds timers, each under a name of its own."""
        changes: Changes = {}
        for key, scope, body, after_s in posts:
            timer = Timer(f"{POSTED}{self._ids.next()}", after_s, body)
            changes |= self.plan(group, key, scope, (timer,), most)
        return changes

    def apply(self, changes: Changes) -> None:
        """Apply committed changes. Timers that are already due go into their lanes at once."""
        now = self._clock()
        for name, change in changes.items():
            if (old := self._places.get(name)) is not None:
                self.gone(old)
                self._lanes.remove(name[0], old)
                self._lanes.appended -= 1
            if change is None:
                continue
            at, place = change
            self._ids.reserved(place & ~TIMER_IDS)
            if not self._shares.owns(name[0]):  # it was given up meanwhile
                continue
            if at <= now:
                self._add(place, name)
                continue
            if at < self._next_at:
                self._next_at = at
                self._set_alarm()

    def take(self, rows: Iterable[Row]) -> None:
        """Put timers of lanes that this session owns from now on into them; these are due. Look for others."""
        for _, place, *name in rows:
            if place not in self._due:
                self._add(place, _checked(name))
        # Of these lanes none was asked for, and some may have come due since `rows` were read.
        self._last, self._next_at = _NONE, -inf
        self._is_again = self._looking
        self._set_alarm()

    def drop(self) -> None:
        """Forget the timers of lanes that this session does not own any more; their places are removed already."""
        for place, name in list(self._due.items()):
            if not self._shares.owns(name[0]):
                self.gone(place)

    def clock_moved(self) -> None:
        """Check whether the next timer is due now: the wall clock was set forward."""
        if not self._closed:
            self._wake()

    def gone(self, place: int) -> None:
        """Remove a due timer that was committed, buried or replaced."""
        del self._places[self._due.pop(place)]

    def _add(self, place: int, name: Name) -> None:
        self._due[place] = name
        self._places[name] = place
        self._lanes.add_timer(name[0], place)
        self._lanes.appended += 1

    def _come_due(self, row: Row) -> None:
        at, place, *name = row
        known = _checked(name)
        self._last = (at, place)
        # Or it was due when it was set; or its share was given up after the question.
        if place not in self._due and self._shares.owns(known[0]):
            self._add(place, known)

    def _note_next(self, rows: list[Row]) -> None:
        self._next_at = rows[0][0] if rows else inf

    # -- reading due timers --------------------------------------------------------------------------------

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        if self._next_at < inf and not self._looking and not self._closed:
            wait_s = max(_WAIT_MIN_S, min(self._next_at - self._clock(), WALL_LOOK_S))
            self._alarm = asyncio.get_running_loop().call_later(wait_s, self._wake)

    def _wake(self) -> None:
        if self._looking:  # a second look would find the same timers again
            return
        if self._next_at > self._clock():
            self._set_alarm()
        else:
            self._look()

    def _look(self) -> None:
        self._looking = True
        self._read(Read.DUE, (*self._last, self._last[0], self._clock(), LOOK_ROWS), self._found)

    def _found(self, rows: list[Row]) -> None:
        for row in rows:
            self._come_due(row)
        if rows:
            self._look()
        else:
            self._read(Read.NEXT_DUE, (*self._last, self._last[0]), self._found_next)

    def _found_next(self, rows: list[Row]) -> None:
        if self._is_again:
            self._is_again, self._last = False, _NONE
            self._look()
            return
        self._note_next(rows)
        self._looking = False
        self._set_alarm()

    def _read(self, what: Read, values: Row, then: Callable[[list[Row]], None]) -> None:
        if not self._closed:
            self._writer.read_rows(what, values, then).add_done_callback(self._told)

    def _told(self, reading: "asyncio.Future[Any]") -> None:
        """After a failed read, retry later; put the store in doubt if it is damaged (a reload closes this object)."""
        error = reading.exception()
        if error is None or self._closed:
            return
        if isinstance(error, StoreError):
            self._writer.doubt(error)
        else:
            self._looking = False  # else lanes that are taken meanwhile would end this alarm, and all looks
            self._alarm = asyncio.get_running_loop().call_later(_AFTER_TROUBLE_S, self._look)


def _checked(name: list[Any]) -> Name:
    if [type(part) for part in name] != [str, str, str]:
        raise StoreError(damaged("a timer has a name that is no text"))
    return name[0], name[1], name[2]
