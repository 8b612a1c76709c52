"""The hold of one process on one bot: taken when no other process has it, renewed, given up or lost.

    free ──── take (new epoch) ────▶ held ──── resume (new epoch) ────▶ held
     ▲                                │
     └── given up; expired; the holder's connections are gone ◀┘

Each write checks in its own transaction that owner and epoch are those of its hold (statements.py), and takes a row lock
that `take` and `resume` wait for. So whoever takes the bot finds everything that was committed before, and nothing is
committed later. Time decides only when a hold may be taken over.
"""

import secrets
from typing import Final, NamedTuple

from engine.errors import StoreUnavailable
from engine.stores.postgres.connection import Connection

APPLICATION: Final = "chatlane {}"
"""The application_name of the connections of an owner."""

_SILENT_S: Final = 3.0
"""A holder that has not renewed for this long and has no connection is dead: its process was killed."""

_STUCK_S: Final = 2.0
"""A holder whose connection still locks the row so long after its time is stopped in the middle of a message."""

_ENSURE: Final = "INSERT INTO {0}.bot (id) VALUES ($1) ON CONFLICT DO NOTHING"
# After a start of the server every holder gets its time to come back.
_TAKE: Final = """
WITH free AS MATERIALIZED (
 SELECT id FROM {0}.bot WHERE id = $1 AND (owner IS NULL OR pg_postmaster_start_time() < clock_timestamp() - $3 * interval '1 s'
  AND (until < clock_timestamp() OR until < clock_timestamp() + ($3 - $5::float8) * interval '1 s'
   AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'chatlane ' || owner)))
 FOR UPDATE SKIP LOCKED)
UPDATE {0}.bot SET owner = $2, epoch = epoch + 1, until = clock_timestamp() + $3 * interval '1 s', beat = 0, holder = $4
FROM free WHERE bot.id = free.id RETURNING epoch"""
_END_STUCK: Final = """
SELECT pg_terminate_backend(pid) FROM {0}.bot JOIN pg_stat_activity ON application_name = 'chatlane ' || owner
WHERE bot.id = $1 AND owner <> $2 AND until < clock_timestamp() - $3 * interval '1 s'"""
_LOCK: Final = "SELECT FROM {0}.bot WHERE id = $1 FOR UPDATE"
_RESUME: Final = """
UPDATE {0}.bot SET epoch = epoch + 1, until = clock_timestamp() + $3 * interval '1 s'
WHERE id = $1 AND owner = $2 AND beat >= $4 RETURNING epoch"""
_RENEW: Final = """
UPDATE {0}.bot SET until = clock_timestamp() + $4 * interval '1 s', beat = beat + 1
WHERE id = $1 AND owner = $2 AND epoch = $3 RETURNING beat, (SELECT nonce FROM {0}.canary)"""
_GIVE_UP: Final = "UPDATE {0}.bot SET owner = NULL, holder = '' WHERE id = $1 AND owner = $2"
_HOLDER: Final = "SELECT holder FROM {0}.bot WHERE id = $1"
_NEW_NONCE: Final = "INSERT INTO {0}.canary (nonce) VALUES ($1) ON CONFLICT DO NOTHING"
_NONCE: Final = "SELECT nonce FROM {0}.canary"


class Held(NamedTuple):
    """What each write compares.

    `nonce` is in an unlogged table: PostgreSQL empties it after a crash and on a promoted standby (documentation, CREATE
    TABLE, UNLOGGED), where commits of before may be lost.
    """

    owner: int
    epoch: int
    nonce: int


class Hold:
    """One bot in one schema. `holder` names this process for the people at others."""

    def __init__(self, schema: str, bot: int, *, ttl_s: float, holder: str) -> None:
        self.owner = secrets.randbits(62)
        self.ttl_s = ttl_s
        self.bot = bot
        self._schema = schema
        self._holder = holder
        self._beat = 0  # the last one confirmed

    @property
    def application(self) -> str:
        """The application_name of this process's connections."""
        return APPLICATION.format(self.owner)

    async def name(self, connection: Connection) -> None:
        """Name a connection that was made under another owner."""
        await connection.execute("SELECT set_config('application_name', $1, false)", self.application)

    async def take(self, connection: Connection) -> Held | None:
        """Take the bot, if it is free or its holder is dead; None if not."""
        await connection.execute(self._sql(_ENSURE), self.bot)
        await connection.execute(self._sql(_END_STUCK), self.bot, self.owner, _STUCK_S)
        epoch = await connection.fetchval(
            self._sql(_TAKE), self.bot, self.owner, self.ttl_s, self._holder, _SILENT_S
        )
        self._beat = 0
        return None if epoch is None else await self._held(connection, epoch)

    async def resume(self, connection: Connection) -> Held | None:
        """Continue after this process had lost its connection; None if the hold is lost.

        Waits for a group of the old connection that is under way; one that arrives later changes nothing.
        """
        async with connection.transaction():
            await connection.execute(self._sql(_LOCK), self.bot)
            epoch = await connection.fetchval(
                self._sql(_RESUME), self.bot, self.owner, self.ttl_s, self._beat
            )
        return None if epoch is None else await self._held(connection, epoch)

    async def renew(self, connection: Connection, held: Held) -> None:
        """Renew; StoreUnavailable if the hold is lost, or commits may be."""
        row = await connection.fetchrow(self._sql(_RENEW), self.bot, held.owner, held.epoch, self.ttl_s)
        if row is None:
            raise StoreUnavailable("another process has taken over")
        if row[1] != held.nonce:
            raise StoreUnavailable("the server has crashed, or another one has taken its place")
        self._beat = row[0]

    async def give_up(self, connection: Connection) -> None:
        """Let another process take the bot at once."""
        await connection.execute(self._sql(_GIVE_UP), self.bot, self.owner)

    async def who(self, connection: Connection) -> str:
        """Return who holds the bot."""
        return str(await connection.fetchval(self._sql(_HOLDER), self.bot) or "another process")

    async def _held(self, connection: Connection, epoch: int) -> Held:
        await connection.execute(self._sql(_NEW_NONCE), secrets.randbits(62))
        return Held(self.owner, epoch, await connection.fetchval(self._sql(_NONCE)))

    def _sql(self, text: str) -> str:
        return text.format(self._schema)
