"""Reading what is kept of a bot's lanes: of the shares that a session owns, at its start, and of those that it takes."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from asyncpg import SerializationError

from engine.embedded.lane import ParkedLane
from engine.errors import StoreUnavailable
from engine.stores.owned.group import Row
from engine.stores.owned.ids import Ids, Kind, Span
from engine.stores.owned.reads import Read
from engine.stores.owned.shares import Shares
from engine.stores.postgres.connection import Connection
from engine.stores.postgres.session import Held, Session
from engine.stores.postgres.statements import QUERIES

if TYPE_CHECKING:
    from engine.stores.owned.ledger import Granted

_TIME_S: Final = 600.0
_MANY: Final = 1 << 60

_ALIVE: Final = "SELECT FROM {0}.session WHERE id = $1 AND stint = $2 FOR KEY SHARE"
_OWNED: Final = "SELECT no FROM {0}.share WHERE owner = $1"
_TAKE: Final = """
WITH free AS MATERIALIZED (
 SELECT no FROM {0}.share WHERE bot = $1 AND owner IS NULL AND no = ANY($3::int[]) ORDER BY no FOR UPDATE SKIP LOCKED)
UPDATE {0}.share SET owner = $2 FROM free WHERE share.bot = $1 AND share.no = free.no RETURNING share.no"""
# Their updates are in the inbox, which is read in the same snapshot.
_ARRIVED: Final = "DELETE FROM {0}.mail WHERE bot = $1 AND share = ANY($2::int[]) AND kind = 'arrived'"
_LANES: Final = {
    "inbox": "SELECT place, key FROM {0}.inbox WHERE bot = $1 AND share = ANY($2::int[]) ORDER BY place",
    "outbox": "SELECT place, key FROM {0}.outbox WHERE bot = $1 AND share = ANY($2::int[]) ORDER BY place",
    "parked": "SELECT queue, key, place, until, delay_s, attempts, reason FROM {0}.parked"
    " WHERE bot = $1 AND share = ANY($2::int[])",
    "dead": "SELECT number, queue, key FROM {0}.dead WHERE bot = $1 AND share = ANY($2::int[]) ORDER BY number",
}
_ALIASES: Final = "SELECT name, key FROM {0}.alias WHERE bot = $1"


class Found:
    """A Source: what was read."""

    def __init__(self, shares: Sequence[int], tables: dict[str, Sequence[Any]]) -> None:
        self.owner_epoch = 0  # from here to `blocks`: set at an opening
        self.shares: Collection[int] | None = shares
        self.granted: Granted | None = None
        self.all_seen: Sequence[Row] = ()
        self.blocks: dict[Kind, Span] = {}
        self._tables = tables

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
        """See Source. Only who may append knows them."""
        return [] if self.granted is None else [(row[0], row[1], row[2]) for row in self.granted.seen]

    def appended(self) -> Iterable[tuple[int, bytes]]:
        """Return the segments of ids that any session has appended: (number, bits)."""
        return [(row[0], row[1]) for row in self.all_seen]

    def states(self) -> int:
        """See Source. Never none: other sessions write some, too."""
        return _MANY

    def aliases(self) -> Iterable[tuple[str, str]]:
        """See Source."""
        return self._tables["aliases"]

    def dead(self) -> Iterable[tuple[int, str, str]]:
        """See Source."""
        return self._tables["dead"]

    def ids(self, kind: Kind) -> Ids:
        """See Source."""
        return self.blocks[kind]

    def rows(self, what: Read, values: Row) -> Iterable[Row]:  # noqa: ARG002 - they are read already
        """See Source. The due timers are those of the moment of the reading."""
        return self._tables[what.value]


async def read_first(connection: Connection, schema: str, session: Session, held: Held, now: float) -> Found:
    """Read what the session owns; a new one takes its part first, as far as it is free."""
    found = await read_owned(connection, schema, session.bot, held, now)
    if found.shares:
        return found
    return await take_free(connection, schema, session.bot, held, session.part, now) or found


async def read_owned(connection: Connection, schema: str, bot: int, held: Held, now: float) -> Found:
    """Read all of the shares that the session owns; `now` is Unix time."""
    async with connection.transaction(isolation="repeatable_read"):
        await _begin(connection, schema, held)
        shares = [row[0] for row in await connection.fetch(_OWNED.format(schema), held.session)]
        return await _read(connection, schema, bot, shares, now)


async def take_free(
    connection: Connection, schema: str, bot: int, held: Held, wanted: Collection[int], now: float
) -> Found | None:
    """Take these shares, as far as they are free, and read what is in them, in one snapshot.

    None: none is free, or others have changed some at the same time; then all is as before.
    """
    try:
        async with connection.transaction(isolation="repeatable_read"):
            await _begin(connection, schema, held)
            rows = await connection.fetch(_TAKE.format(schema), bot, held.session, list(wanted))
            if not rows:
                return None
            return await _read(connection, schema, bot, [row[0] for row in rows], now)
    except SerializationError:
        return None


async def _begin(connection: Connection, schema: str, held: Held) -> None:
    await connection.execute("SET LOCAL statement_timeout = 0")
    if await connection.fetchrow(_ALIVE.format(schema), held.session, held.stint) is None:
        raise StoreUnavailable("other processes have taken over")


async def _read(connection: Connection, schema: str, bot: int, shares: Sequence[int], now: float) -> Found:
    await connection.execute(_ARRIVED.format(schema), bot, shares)
    tables: dict[str, Sequence[Any]] = {}
    for name, query in _LANES.items():
        tables[name] = await connection.fetch(query.format(schema), bot, shares, timeout=_TIME_S)
    tables["aliases"] = await connection.fetch(_ALIASES.format(schema), bot, timeout=_TIME_S)
    bits, before = Shares(shares).bits, (float("-inf"), 0, float("-inf"))
    due = await connection.fetch(
        QUERIES[Read.DUE].format(schema), bot, *before, now, None, bits, timeout=_TIME_S
    )
    last = (due[-1][0], due[-1][1], due[-1][0]) if due else before
    tables[Read.DUE.value] = due
    tables[Read.NEXT_DUE.value] = await connection.fetch(
        QUERIES[Read.NEXT_DUE].format(schema), bot, *last, bits
    )
    return Found(shares, tables)
