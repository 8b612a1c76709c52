"""The dead letters of a SQLite store.

They are in the file; in memory are their numbers, by lane (engine/embedded/dead.py). What goes for the bounds is deleted in the
transaction behind the one that buried: what was planned for a transaction that fails would have gone for nothing.
After a kill between the two the next start deletes it.
"""

from typing import Any, Final

from engine.bursts import Bursts
from engine.embedded.dead import DeadBook, DeadLane
from engine.embedded.lanes import LaneTable
from engine.model import DeadLetter, Envelope, Queue
from engine.store import Limits
from engine.stores.sqlite.file import StoreFile
from engine.stores.sqlite.group import Group
from engine.stores.sqlite.writer import Writer

_SELECT: Final = "SELECT number, queue, id, key, scope, body, attempts, reason, at FROM dead"
_BEYOND_ALL: Final = 2**62


class Letters:
    """The dead letters of one opening of the file. Made on the store's thread; the rest is for the event loop."""

    def __init__(self, file: StoreFile, limits: Limits, lanes: dict[Queue, LaneTable]) -> None:
        self._lanes = lanes
        self._book = DeadBook(
            limits, ((DeadLane(Queue(queue), key), number) for number, queue, key in file.dead())
        )
        self._number = file.last_dead()  # of the one buried last
        self._bursts = Bursts()
        self._writer: Writer

    def start(self, writer: Writer) -> None:
        """Drop what the file has beyond the bounds."""
        self._writer = writer
        self._drop(self._book.trim())

    def close(self) -> None:
        """Log what is left to be logged."""
        self._bursts.close()

    def buried(self, queue: Queue, key: str) -> None:
        """Note that one more is in the file; beyond the bounds others go.

        Outcomes come in the order in which the file changed, and SQLite numbers without a gap: so its number is known.
        """
        self._number += 1
        self._lanes[queue].dead += 1
        self._drop(self._book.add(DeadLane(queue, key), self._number))

    def lane_full(self, key: str) -> None:
        """Note that one more update is in the file as a dead letter, since its lane has no room."""
        self._lanes[Queue.INBOX].lane_full += 1
        self._bursts.note("lane full", Queue.INBOX, key)
        self.buried(Queue.INBOX, key)

    def replayed(self, letter: DeadLetter) -> None:
        """Note that one is pending again, and no dead letter any more."""
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
            )  # the file is read anew, and trimmed
        )


def bury(group: Group, queue: Queue, envelope: Envelope, attempts: int, reason: str, *, at: float) -> None:
    """Put one more dead letter into the group; `Letters.buried` is for when it is committed."""
    group.insert("dead", (queue.value, *envelope[:4], attempts, reason, at))


async def newest_letters(writer: Writer, limit: int) -> list[DeadLetter]:
    """Return at most `limit` dead letters, newest first."""
    letters: list[DeadLetter] = []
    below = _BEYOND_ALL
    while len(letters) < limit:
        row = await writer.read(f"{_SELECT} WHERE number < ? ORDER BY number DESC LIMIT 1", (below,))
        if row is None:
            break
        letters.append(_letter(row))
        below = letters[-1].number
    return letters


async def find_letter(writer: Writer, number: int) -> DeadLetter | None:
    """Return the dead letter of that number, if there is one."""
    row = await writer.read(f"{_SELECT} WHERE number = ?", (number,))
    return None if row is None else _letter(row)


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    number, queue, id_, key, scope, body, attempts, reason, at = row
    return DeadLetter(number, Queue(queue), Envelope(id_, key, scope, body), attempts, reason, at)
