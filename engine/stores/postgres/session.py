"""A session: one incarnation of a process, which owns shares of a bot's lanes, and perhaps the right to append.

    join ──▶ alive ──── resume (new stint) ────▶ alive
               │
               └── left; expired; its connections are gone ──▶ its row is deleted, and what it owned is free

Each write checks in its own transaction that session and stint are there (statements.py), and takes a row lock for which
`resume` and `reap` wait. So whoever takes a share finds everything that was committed before, and nothing of the former owner
is committed later. Time decides only when a session may be reaped.
"""

import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

import structlog
from asyncpg import InsufficientPrivilegeError

from engine.errors import StoreError, StoreUnavailable
from engine.sharing import Lack
from engine.stores.moving import moved
from engine.stores.owned.ledger import Granted
from engine.stores.owned.shares import HOLD, SHARES, part_of
from engine.stores.postgres.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

log = structlog.get_logger(__name__)

APPLICATION: Final = "chatlane {}"
"""The application_name of the connections of a session."""

_SILENT_S: Final = 3.0
"""A session that has not renewed for this long and has no connection is dead: its process was killed."""

_AHEAD_S: Final = 60.0
"""A session that ends later than this had its time before the server's clock was set back."""

_STUCK_S: Final = 2.0
"""A session whose connection still locks its row so long after its time is stopped in the middle of a message."""

_ENSURE: Final = (
    "INSERT INTO {0}.bot (id) VALUES ($1) ON CONFLICT DO NOTHING",
    f"INSERT INTO {{0}}.share (no, bot) SELECT no, $1 FROM generate_series(0, {SHARES - 1}) AS no ON CONFLICT DO NOTHING",
)
_MOVED: Final = "SELECT value FROM {0}.meta WHERE name = 'moved ' || $1::text"
_LOCK_JOINS: Final = "SELECT pg_advisory_xact_lock(1128811854)"
_JOIN: Final = """
INSERT INTO {0}.session (id, bot, until, holder, alone, leaving)
SELECT $1, $2, clock_timestamp() + $3 * interval '1 s', $4, $5, $6
WHERE NOT EXISTS (SELECT FROM {0}.session WHERE bot = $2 AND (alone OR $5)) RETURNING stint"""
# After a start of the server every session gets its time to come back. A start in the future: the clock was set back.
_DEAD: Final = """
id <> $2 AND bot = $1
  AND (pg_postmaster_start_time() < clock_timestamp() - $3 * interval '1 s' OR pg_postmaster_start_time() > clock_timestamp())
  AND (until < clock_timestamp() OR until < clock_timestamp() + ($3 - $4::float8) * interval '1 s'
   AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'chatlane ' || id))"""
_REAP: Final = f"""
WITH me AS MATERIALIZED (SELECT WHERE $5::bigint IS NULL OR EXISTS (SELECT FROM {{0}}.session WHERE id = $2 AND stint = $5)),
 dead AS MATERIALIZED (SELECT id FROM {{0}}.session WHERE {_DEAD} ORDER BY id FOR UPDATE SKIP LOCKED)
DELETE FROM {{0}}.session USING dead, me WHERE session.id = dead.id RETURNING holder"""
# None has more than its time from now, except for a while after the server's clock was set back.
_CLAMP: Final = """
UPDATE {0}.session SET until = clock_timestamp() + $3 * interval '1 s' WHERE id IN (
 SELECT id FROM {0}.session WHERE bot = $1 AND id <> $2 AND until > clock_timestamp() + $4 * interval '1 s'
 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)"""
_END_STUCK: Final = """
SELECT pg_terminate_backend(pid) FROM {0}.session JOIN pg_stat_activity ON application_name = 'chatlane ' || id
WHERE bot = $1 AND id <> $2 AND until < clock_timestamp() - $3 * interval '1 s'"""
_LOCK: Final = "SELECT FROM {0}.session WHERE id = $1 FOR UPDATE"
_RESUME: Final = """
UPDATE {0}.session SET stint = stint + 1, until = clock_timestamp() + $2 * interval '1 s'
WHERE id = $1 AND beat >= $3 RETURNING stint"""
_RENEW: Final = """
UPDATE {0}.session SET until = clock_timestamp() + $4 * interval '1 s', beat = beat + 1
WHERE id = $2 AND stint = $3 RETURNING beat, (SELECT nonce FROM {0}.canary),
 (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {0}.mail_n_seq),
 (SELECT array_agg(pid || ' ' || backend_xid) FROM pg_stat_activity
  WHERE application_name LIKE 'chatlane %' AND backend_xid IS NOT NULL),
 (SELECT array_agg(other.id) FROM {0}.session AS other WHERE other.bot = $1 AND NOT leaving),
 (SELECT array_agg(ARRAY[queue, reason]) FROM {0}.parked WHERE bot = $1 AND key = $5),
 (SELECT owner IS NOT NULL FROM {0}.bot WHERE bot.id = $1), extract(epoch FROM clock_timestamp())::float8"""
_STEP_BACK: Final = "UPDATE {0}.session SET leaving = true WHERE id = $1"
_LEAVE: Final = "DELETE FROM {0}.session WHERE id = $1"
_LOOK: Final = """
SELECT (SELECT array_agg(id) FROM {0}.session WHERE bot = $1 AND NOT leaving),
 (SELECT array_agg(ARRAY[queue, reason]) FROM {0}.parked WHERE bot = $1 AND key = $2),
 (SELECT owner IS NOT NULL FROM {0}.bot WHERE bot.id = $1)"""
_OTHER: Final = "SELECT min(holder) FROM {0}.session WHERE bot = $1 AND id <> $2"
_POLLER: Final = "SELECT holder FROM {0}.session JOIN {0}.bot ON owner = session.id WHERE bot.id = $1"
# The session cannot be reaped while it gets the right.
_GRANT: Final = """
WITH me AS MATERIALIZED (SELECT FROM {0}.session WHERE id = $2 AND stint = $3 FOR KEY SHARE)
UPDATE {0}.bot SET owner = $2, epoch = epoch + 1 FROM me WHERE id = $1 AND (owner IS NULL OR owner = $2) RETURNING epoch"""
_ALIVE: Final = "SELECT FROM {0}.session WHERE id = $1 AND stint = $2"
_GRANTED: Final = "SELECT epoch FROM {0}.bot WHERE id = $1 AND owner = $2"
_RESIGN: Final = "UPDATE {0}.bot SET owner = NULL WHERE id = $1 AND owner = $2 AND epoch = $3"
_LAST: Final = "SELECT coalesce(max(place), 0) FROM {0}.inbox WHERE bot + 0 = $1"
_SEEN: Final = "SELECT segment, bits, touched FROM {0}.seen WHERE bot = $1"
_NEW_NONCE: Final = "INSERT INTO {0}.canary (nonce) VALUES ($1) ON CONFLICT DO NOTHING"
_NONCE: Final = "SELECT nonce FROM {0}.canary"


def channel_of(schema: str, bot: int) -> str:
    """Return the channel of the bells of a bot's sessions."""
    return f"chatlane {crc32(schema.encode())} {bot}"


class Held(NamedTuple):
    """What each write compares.

    `nonce` is in an unlogged table: PostgreSQL empties it after a crash and on a promoted standby (documentation, CREATE
    TABLE, UNLOGGED), where commits of before may be lost.
    """

    session: int
    stint: int
    nonce: int


class Session:
    """One session of one bot in one schema. `holder` names this process for the people at others; `owns`: it takes shares."""

    def __init__(
        self,
        schema: str,
        bot: int,
        *,
        ttl_s: float,
        holder: str,
        owns: bool = True,
        may_be_moved: bool = False,
    ) -> None:
        """`may_be_moved`: join also if the bot's work was copied to another store."""
        self.id = secrets.randbits(62)
        self.ttl_s = ttl_s
        self.bot = bot
        self.all: frozenset[int] = frozenset()
        """The sessions of this bot that should have shares, as of the last look: not those that are about to end."""

        self.renewed_at = 0.0
        """Unix time of the last renewal, by the server's clock."""

        self.held: dict[str, str] = {}
        """The queues of which an operator holds all lanes, and why, as of the last look."""

        self._owns = owns
        self._is_appended = True  # a session has the right to append, as of the last look
        self._schema = schema
        self._holder = holder
        self._may_be_moved = may_be_moved
        self._beat = 0  # the last one confirmed
        self._is_warned = False

    @property
    def application(self) -> str:
        """The application_name of this process's connections."""
        return APPLICATION.format(self.id)

    @property
    def channel(self) -> str:
        """The channel of the bells of this bot's sessions."""
        return channel_of(self._schema, self.bot)

    async def join(self, connection: Connection, *, alone: bool = False) -> Held | None:
        """Begin the session; None: another process has the bot alone, or `alone` and another one has it.

        StoreError if the bot's work was copied to another store.
        """
        await connection.execute("SELECT set_config('application_name', $1, false)", self.application)
        for each in _ENSURE:
            await connection.execute(self._sql(each), self.bot)
        await self.reap(connection, None)
        async with connection.transaction():
            await connection.execute(_LOCK_JOINS)
            to = await connection.fetchval(self._sql(_MOVED), str(self.bot))
            if to is not None and not self._may_be_moved:
                raise StoreError(moved(f"schema {self._schema}", to))
            stint = await connection.fetchval(
                self._sql(_JOIN), self.id, self.bot, self.ttl_s, self._holder, alone, not self._owns
            )
        self._beat = 0
        await self.look(connection)
        return None if stint is None else await self._held(connection, stint)

    async def resume(self, connection: Connection) -> Held | None:
        """Continue after this process had lost its connection; None if it was reaped.

        Waits for a group of the old connection that is under way; one that arrives later changes nothing.
        """
        async with connection.transaction():
            await connection.execute(self._sql(_LOCK), self.id)
            stint = await connection.fetchval(self._sql(_RESUME), self.id, self.ttl_s, self._beat)
        return None if stint is None else await self._held(connection, stint)

    async def renew(self, connection: Connection, held: Held) -> tuple[int, frozenset[str]]:
        """Renew, and return the latest number of mail that was given, and the transactions of all processes that run now.

        StoreUnavailable if the session was reaped, or commits may be lost.
        """
        row = await connection.fetchrow(
            self._sql(_RENEW), self.bot, held.session, held.stint, self.ttl_s, HOLD
        )
        if row is None:
            raise StoreUnavailable("other processes have taken over")
        if row[1] != held.nonce:
            raise StoreUnavailable("the server has crashed, or another one has taken its place")
        self._beat = row[0]
        self._note(*row[4:7])
        self.renewed_at = row[7]
        return int(row[2]), frozenset(row[3] or ())

    async def look(self, connection: Connection) -> None:
        """Look which sessions there are, and what is held."""
        self._note(*(await connection.fetchrow(self._sql(_LOOK), self.bot, HOLD) or (None, None, None)))

    def _note(
        self, sessions: list[int] | None, held: list[tuple[str, str]] | None, is_appended: bool | None
    ) -> None:
        self.all = frozenset(sessions or ())
        self.held = dict(held or ())
        self._is_appended = bool(is_appended)

    @property
    def part(self) -> frozenset[int]:
        """The shares that it should have, as of the last look."""
        return part_of(self.id, self.all) if self._owns else frozenset()

    @property
    def lacks(self) -> frozenset[Lack]:
        """What no session does, as of the last look."""
        lacks = {Lack.OWNER: not self.all, Lack.APPENDER: not self._is_appended}
        return frozenset(lack for lack, is_missing in lacks.items() if is_missing)

    async def reap(self, connection: Connection, held: Held | None) -> list[str]:
        """Delete the sessions of processes that are dead, if this one is in force (None: it has not joined); return their names."""
        await connection.execute(self._sql(_CLAMP), self.bot, self.id, self.ttl_s, _AHEAD_S)
        try:
            await connection.execute(self._sql(_END_STUCK), self.bot, self.id, _STUCK_S)
        except InsufficientPrivilegeError as error:  # one that locks its row keeps its shares
            if not self._is_warned:
                log.warning(
                    "the connections of a process that stands still cannot be ended", reason=str(error)
                )
            self._is_warned = True
        rows = await connection.fetch(
            self._sql(_REAP), self.bot, self.id, self.ttl_s, _SILENT_S, held and held.stint
        )
        return [row[0] for row in rows]

    async def step_back(self, connection: Connection) -> None:
        """Let the others have the shares from now on."""
        await connection.execute(self._sql(_STEP_BACK), self.id)

    async def leave(self, connection: Connection) -> None:
        """End the session: what it owns is free."""
        await connection.execute(self._sql(_LEAVE), self.id)

    async def another(self, connection: Connection) -> str:
        """Return the name of another process that has the bot."""
        return str(await connection.fetchval(self._sql(_OTHER), self.bot, self.id) or "another process")

    async def poller(self, connection: Connection) -> str:
        """Return the name of the process that has the right to append."""
        return str(await connection.fetchval(self._sql(_POLLER), self.bot) or "another process")

    async def grant(self, connection: Connection, held: Held) -> Granted | None:
        """Take the right to append, if no other session has it; waits for an append that is under way."""
        epoch = await connection.fetchval(self._sql(_GRANT), self.bot, held.session, held.stint)
        return None if epoch is None else await self._with_ids(connection, epoch)

    async def is_alive(self, connection: Connection, held: Held) -> bool:
        """Return whether the session is in force."""
        return await connection.fetchrow(self._sql(_ALIVE), held.session, held.stint) is not None

    async def granted(self, connection: Connection) -> Granted | None:
        """Return the right to append that this session has; None: it has none."""
        epoch = await connection.fetchval(self._sql(_GRANTED), self.bot, self.id)
        return None if epoch is None else await self._with_ids(connection, epoch)

    async def resign(self, connection: Connection, epoch: int) -> None:
        """Give the right of this epoch up."""
        await connection.execute(self._sql(_RESIGN), self.bot, self.id, epoch)

    async def seen(self, connection: Connection) -> "Sequence[Any]":
        """Return the segments of ids that were appended, by any session."""
        return await connection.fetch(self._sql(_SEEN), self.bot)

    async def _with_ids(self, connection: Connection, epoch: int) -> Granted:
        seen = await self.seen(connection)
        return Granted(epoch, await connection.fetchval(self._sql(_LAST), self.bot), seen)

    async def _held(self, connection: Connection, stint: int) -> Held:
        await connection.execute(self._sql(_NEW_NONCE), secrets.randbits(62))
        return Held(self.id, stint, await connection.fetchval(self._sql(_NONCE)))

    def _sql(self, text: str) -> str:
        return text.format(self._schema)
