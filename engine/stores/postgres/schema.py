"""The tables of a PostgreSQL store.

Each row has the id of its bot: several bots may share a schema. No index begins with it: with the bot first, and
statistics from a moment when the table was empty, the planner walks all rows of the bot to find one
(tests/stores/test_postgres_plans.py). The index for the order of the timers has `bot + 0`, so that only the question for it
uses it.
"""

from typing import Final

from engine.errors import StoreError
from engine.stores.owned.shares import share_of
from engine.stores.postgres.address import Address
from engine.stores.postgres.connection import Connection

FORMAT: Final = 2
VERSION_MIN: Final = 140_000
"""PostgreSQL 14."""

_LOCK: Final = 0x43484C4E  # "CHLN"; of the advisory lock for creating the tables
_QUEUE: Final = """
CREATE TABLE {0}.{1} (place bigint, bot bigint, share int NOT NULL, key text NOT NULL, scope text NOT NULL,
    body bytea NOT NULL, at float8 NOT NULL, PRIMARY KEY (place, bot));
ALTER TABLE {0}.{1} ALTER body SET STORAGE EXTERNAL;
ALTER TABLE {0}.{1} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0);
"""
_SESSIONS: Final = """
CREATE TABLE {0}.session (id bigint PRIMARY KEY, bot bigint NOT NULL, stint bigint NOT NULL DEFAULT 1,
    until timestamptz NOT NULL, beat bigint NOT NULL DEFAULT 0, holder text NOT NULL,
    alone boolean NOT NULL DEFAULT false, leaving boolean NOT NULL DEFAULT false) WITH (fillfactor = 50);
CREATE TABLE {0}.bot (id bigint PRIMARY KEY, owner bigint REFERENCES {0}.session ON DELETE SET NULL,
    epoch bigint NOT NULL DEFAULT 0);
CREATE TABLE {0}.share (no int, bot bigint, owner bigint REFERENCES {0}.session ON DELETE SET NULL, PRIMARY KEY (no, bot))
    WITH (fillfactor = 50);
CREATE INDEX share_owner ON {0}.share (owner);
CREATE TABLE {0}.mail (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, bot bigint NOT NULL, share int NOT NULL,
    kind text NOT NULL, key text NOT NULL, scope text NOT NULL, place bigint NOT NULL, at float8 NOT NULL,
    body bytea NOT NULL);
CREATE INDEX mail_of ON {0}.mail ((bot + 0), n);
"""
_CREATE: Final = f"""
CREATE TABLE {{0}}.meta (name text PRIMARY KEY, value text NOT NULL);
INSERT INTO {{0}}.meta VALUES ('format', '{FORMAT}');
CREATE UNLOGGED TABLE {{0}}.canary (one int PRIMARY KEY DEFAULT 1 CHECK (one = 1), nonce bigint NOT NULL);
{_SESSIONS.format("{0}")}
CREATE TABLE {{0}}.mark (bot bigint, kind text, value bigint NOT NULL, PRIMARY KEY (bot, kind)) WITH (fillfactor = 50);
{_QUEUE.format("{0}", "inbox")}{_QUEUE.format("{0}", "outbox")}
CREATE TABLE {{0}}.state (bot bigint, key text, scope text, state bytea NOT NULL, PRIMARY KEY (key, scope, bot))
    WITH (fillfactor = 80);
CREATE TABLE {{0}}.timer (place bigint, bot bigint, share int NOT NULL, key text NOT NULL, scope text NOT NULL, name text NOT NULL,
    at float8 NOT NULL, body bytea NOT NULL, PRIMARY KEY (place, bot), UNIQUE (key, scope, name, bot));
CREATE INDEX timer_at ON {{0}}.timer ((bot + 0), at, place);
CREATE TABLE {{0}}.parked (bot bigint, share int NOT NULL, queue text, key text, attempts int NOT NULL, until float8 NOT NULL,
    reason text NOT NULL, delay_s float8 NOT NULL, place bigint NOT NULL, PRIMARY KEY (key, queue, bot));
CREATE TABLE {{0}}.dead (number bigint, bot bigint, share int NOT NULL, queue text NOT NULL, id bigint NOT NULL, key text NOT NULL,
    scope text NOT NULL, body bytea NOT NULL, attempts int NOT NULL, reason text NOT NULL, at float8 NOT NULL,
    PRIMARY KEY (number, bot));
CREATE TABLE {{0}}.seen (segment bigint, bot bigint, bits bytea NOT NULL, touched float8 NOT NULL,
    PRIMARY KEY (segment, bot)) WITH (fillfactor = 50);
CREATE TABLE {{0}}.alias (bot bigint, name text, key text NOT NULL, PRIMARY KEY (name, bot));
"""


async def prepare(connection: Connection, address: Address) -> None:
    """Create the tables if there are none; StoreError if this is no database for this version."""
    if int(await connection.fetchval("SHOW server_version_num")) < VERSION_MIN:
        raise StoreError(f"{address.name} is too old: PostgreSQL 14 is needed")
    if (encoding := await connection.fetchval("SHOW server_encoding")) != "UTF8":
        raise StoreError(f"{address.name} has the encoding {encoding}: create the database with UTF8")
    schema = address.schema
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
        if await connection.fetchval("SELECT to_regclass($1)", f"{schema}.meta") is None:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            await connection.execute(_CREATE.format(schema))
        elif await _format(connection, schema) == "1":
            await _from_format_1(connection, address)
    known = await _format(connection, schema)
    if known != str(FORMAT):
        raise StoreError(
            f"{address.name} comes from another Chatlane (format {known}, this one knows {FORMAT}): "
            "update Chatlane, or use another schema"
        )


async def _format(connection: Connection, schema: str) -> str:
    return str(await connection.fetchval(f"SELECT value FROM {schema}.meta WHERE name = 'format'"))


async def _from_format_1(connection: Connection, address: Address) -> None:
    """Divide the lanes into shares. Format 1 had one owner of each bot, who must have ended."""
    schema = address.schema
    running = f"SELECT holder FROM {schema}.bot WHERE owner IS NOT NULL AND until > clock_timestamp() LIMIT 1"
    if (holder := await connection.fetchval(running)) is not None:
        raise StoreError(f"{address.name} is in use by an older Chatlane ({holder}): stop it first")
    for table in ("inbox", "outbox", "timer", "parked", "dead"):
        await connection.execute(f"ALTER TABLE {schema}.{table} ADD share int NOT NULL DEFAULT 0")
        keys = [row[0] for row in await connection.fetch(f"SELECT DISTINCT key FROM {schema}.{table}")]
        await connection.execute(
            f"UPDATE {schema}.{table} t SET share = s.no FROM unnest($1::text[], $2::int[]) AS s(key, no) WHERE t.key = s.key",
            keys,
            [share_of(key) for key in keys],
        )
        await connection.execute(f"ALTER TABLE {schema}.{table} ALTER share DROP DEFAULT")
    await connection.execute(f"DROP TABLE {schema}.bot")
    await connection.execute(_SESSIONS.format(schema))
    await connection.execute(f"UPDATE {schema}.meta SET value = '{FORMAT}' WHERE name = 'format'")
