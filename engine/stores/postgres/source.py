"""Reading all that is kept for one bot, at each opening."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from engine.embedded.lane import ParkedLane
from engine.stores.owned.group import Row
from engine.stores.owned.reads import Read
from engine.stores.postgres.connection import Connection
from engine.stores.postgres.statements import LETTERS, QUERIES

_TIME_S: Final = 600.0

_ALL: Final = {
    "inbox": "SELECT place, key FROM {0}.inbox WHERE bot = $1 ORDER BY place",
    "outbox": "SELECT place, key FROM {0}.outbox WHERE bot = $1 ORDER BY place",
    "parked": "SELECT queue, key, place, until, delay_s, attempts, reason FROM {0}.parked WHERE bot = $1",
    "seen": "SELECT segment, bits, touched FROM {0}.seen WHERE bot = $1",
    "states": "SELECT count(*) FROM {0}.state WHERE bot = $1",
    "aliases": "SELECT name, key FROM {0}.alias WHERE bot = $1",
    "dead": "SELECT number, queue, key FROM {0}.dead WHERE bot = $1 ORDER BY number",
    "marks": "SELECT kind, value FROM {0}.mark WHERE bot = $1",
}


class Found:
    """A Source: what `read_all` has read."""

    def __init__(
        self, owner_epoch: int, tables: dict[str, Sequence[Any]], timers: dict[Read, Sequence[Any]]
    ) -> None:
        self.owner_epoch = owner_epoch
        self._tables = tables
        self._timers = timers
        self._marks = dict(tables["marks"])

    def pending(self, queue: str) -> Iterable[tuple[int, str]]:
        """See Source."""
        return self._tables[queue]

    def parked(self, queue: str, now: float) -> list[ParkedLane]:
        """See Source."""
        return [
            ParkedLane(key, place, min(max(0.0, until - now), delay_s), attempts, reason)
            for of, key, place, until, delay_s, attempts, reason in self._tables["parked"]
            if of == queue
        ]

    def seen(self) -> Iterable[tuple[int, bytes, float]]:
        """See Source."""
        return self._tables["seen"]

    def states(self) -> int:
        """See Source."""
        return int(self._tables["states"][0][0])

    def aliases(self) -> Iterable[tuple[str, str]]:
        """See Source."""
        return self._tables["aliases"]

    def dead(self) -> Iterable[tuple[int, str, str]]:
        """See Source."""
        return self._tables["dead"]

    def last_dead(self) -> int:
        """See Source."""
        return int(self._marks.get(LETTERS, 0))

    def last_id(self, kind: str) -> int:
        """See Source."""
        return int(self._marks.get(kind, 0))

    def rows(self, what: Read, values: Row) -> Iterable[Row]:  # noqa: ARG002 - they are read already
        """See Source. The due timers are those of the moment of `read_all`."""
        return self._timers[what]


async def read_all(connection: Connection, schema: str, bot: int, epoch: int, now: float) -> Found:
    """Read all of a bot that this process holds; `now` is Unix time."""
    tables: dict[str, Sequence[Any]] = {}
    await connection.execute("SET statement_timeout = 0")
    for name, query in _ALL.items():
        tables[name] = await connection.fetch(query.format(schema), bot, timeout=_TIME_S)
    before = (float("-inf"), 0)
    due = await connection.fetch(
        QUERIES[Read.DUE].format(schema), bot, *before, before[0], now, None, timeout=_TIME_S
    )
    last = (due[-1][0], due[-1][1]) if due else before
    following = await connection.fetch(QUERIES[Read.NEXT_DUE].format(schema), bot, *last, last[0])
    await connection.execute("RESET statement_timeout")
    return Found(epoch, tables, {Read.DUE: due, Read.NEXT_DUE: following})
