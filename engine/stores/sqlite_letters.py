"""The dead letters of a SQLite store."""

from typing import Any, Final

from engine.model import DeadLetter, Envelope, Queue
from engine.stores.sqlite_group import Group
from engine.stores.sqlite_writer import Writer

_SELECT: Final = "SELECT number, queue, id, key, scope, body, attempts, reason, at FROM dead"
_BOUND: Final = (
    "DELETE FROM dead WHERE number <= (SELECT number FROM dead ORDER BY number DESC LIMIT 1 OFFSET ?)"
)
_BEYOND_ALL: Final = 2**62


def bury(
    group: Group, queue: Queue, envelope: Envelope, attempts: int, reason: str, *, at: float, dead_max: int
) -> None:
    """Put one more dead letter into the group; beyond `dead_max` the oldest go."""
    group.insert("dead", (queue.value, *envelope[:4], attempts, reason, at))
    group.run(_BOUND, dead_max)


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
