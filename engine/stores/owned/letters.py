"""The dead letters of a store.

They are in the store; their numbers, by lane, are in memory (engine/embedded/dead.py). Those above the bounds are deleted in
the transaction after the one that added a letter, since that one may fail. After a kill between the two, the next start
deletes them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from engine.bursts import Bursts
from engine.embedded.dead import DeadBook, DeadLane
from engine.embedded.lanes import LaneTable
from engine.model import DeadLetter, Envelope, Queue
from engine.outcome import split_trace
from engine.store import Limits
from engine.stores.owned.group import Group
from engine.stores.owned.ids import Count
from engine.stores.owned.ledger import Source
from engine.stores.owned.reads import Read
from engine.stores.owned.writer import GroupWriter

_BEYOND_ALL: Final = 2**62
BYTES_MAX: Final = 32 << 20
_COUNT_EVERY_S: Final = 60.0
"""Interval of looks how many dead letters all sessions of a store have."""


class Letters:
    """The dead letters of one opening. Created on any thread, then used on the event loop."""

    def __init__(self, source: Source, limits: Limits, lanes: dict[Queue, LaneTable]) -> None:
        self._lanes = lanes
        self._book = DeadBook(
            limits, ((DeadLane(Queue(queue), key), number) for number, queue, key in source.dead())
        )
        self._most = limits.dead_max
        self._counted_at = -_COUNT_EVERY_S
        self._numbers = source.ids("letters")
        self._bursts = Bursts()
        self._writer: GroupWriter

    def take(self, source: Source) -> None:
        """Record the letters of lanes that this session owns from now on."""
        for number, queue, key in source.dead():
            self._drop(self._book.add(DeadLane(Queue(queue), key), number))

    def drop(self, owns: Callable[[str], bool]) -> None:
        """Forget the letters of lanes that this session does not own any more."""
        self._book.drop(owns)

    async def bound_all(self, count: Callable[[], Awaitable[int]], part_of_lanes: float) -> None:
        """Now and then, see to it that all sessions together keep `Limits.dead_max`. `count` returns how many they have.

        Each may have its part of the bound, by the lanes that it owns, and what the others leave of theirs; if there are too
        many, those with more than their part delete some. So new ones find room, whoever came first.
        """
        now = asyncio.get_running_loop().time()
        if now < self._counted_at + _COUNT_EVERY_S:
            return
        self._counted_at = now
        total, most, mine = await count(), self._most, len(self._book)
        room = mine * most // total if total > most else most - max(0, total - mine)
        self._drop(self._book.bound(max(1, int(most * part_of_lanes), room)))

    def start(self, writer: GroupWriter) -> None:
        """Delete the letters above the bounds."""
        self._writer = writer
        self._drop(self._book.trim())

    def close(self) -> None:
        """Log the events that were not logged yet."""
        self._bursts.close()

    def bury(
        self, group: Group, queue: Queue, envelope: Envelope, attempts: int, reason: str, *, at: float
    ) -> int:
        """Add a dead letter to the group; return its number, or 0 if the store gives it one, for `buried` when it is committed."""
        row = (queue.value, *envelope[:4], attempts, reason, at)
        if isinstance(self._numbers, Count):
            group.insert("dead", row)
            return 0
        number = self._numbers.next()
        group.insert("dead", (number, *row))
        return number

    def buried(self, queue: Queue, key: str, number: int) -> None:
        """Record that one more is in the store; delete others above the bounds.

        The number that the store gives is known: outcomes arrive in the order of the transactions.
        """
        self._lanes[queue].dead += 1
        self._drop(self._book.add(DeadLane(queue, key), number or self._numbers.next()))

    def lane_full(self, key: str, number: int) -> None:
        """Record that one more update is in the store as a dead letter, because its lane is full."""
        self._lanes[Queue.INBOX].lane_full += 1
        self._bursts.note("lane full", Queue.INBOX, key)
        self.buried(Queue.INBOX, key, number)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._book)

    def forget(self, number: int) -> None:
        """Record that one is gone, which another session may have deleted."""
        self._book.forget(number)

    def removed(self, letter: DeadLetter) -> None:
        """Record that one was replayed or discarded, and is no longer a dead letter."""
        self._book.remove(DeadLane(letter.queue, letter.envelope.key), letter.number)

    def _drop(self, gone: list[tuple[DeadLane, int]]) -> None:
        if not gone:
            return
        group = self._writer.group()
        for (queue, key), number in gone:
            group.drop_letter(number)
            self._lanes[queue].dropped += 1
            self._bursts.note("dead letters dropped", queue, key)
        self._writer.done(lambda: None).add_done_callback(
            lambda dropping: (
                dropping.cancelled() or dropping.exception()
            )  # after a failure all is read anew, and trimmed then
        )


async def newest_letters(writer: GroupWriter, limit: int, below: int | None = None) -> list[DeadLetter]:
    """Return at most `limit` dead letters, newest first; with `below`, of those with a lower number.

    They are fewer if their bodies are large: up to the one with which these have BYTES_MAX.
    """
    letters: list[DeadLetter] = []
    size = 0
    below = _BEYOND_ALL if below is None else below
    while len(letters) < limit and size < BYTES_MAX:
        row = await writer.read(Read.NEWEST_LETTER, (below,))
        if row is None:
            break
        letters.append(_letter(row))
        below = letters[-1].number
        size += len(letters[-1].envelope.body)
    return letters


async def find_letter(writer: GroupWriter, number: int) -> DeadLetter | None:
    """Return the dead letter of that number, or None."""
    row = await writer.read(Read.LETTER, (number,))
    return None if row is None else _letter(row)


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    number, queue, id_, key, scope, body, attempts, kept, at = row
    reason, trace = split_trace(kept)
    return DeadLetter(number, Queue(queue), Envelope(id_, key, scope, body), attempts, reason, at, trace)
