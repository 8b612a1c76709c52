"""The tables of a PostgreSQL store.

Each row has the id of its bot: several bots may share a schema. No index begins with it: with the bot first, and
statistics from a moment when the table was empty, the planner walks all rows of the bot to find one
(tests/stores/test_postgres_plans.py). The index for the order of the timers has `bot + 0`, so that only the question for it
uses it.
"""

from typing import Final

from engine.errors import StoreError
from engine.stores.postgres.address import Address
from engine.stores.postgres.connection import Connection

FORMAT: Final = 1
VERSION_MIN: Final = 140_000
"""PostgreSQL 14."""

_LOCK: Final = 0x43484C4E  # "CHLN"; of the advisory lock for creating the tables
_QUEUE: Final = """
CREATE TABLE {0}.{1} (place bigint, bot bigint, key text NOT NULL, scope text NOT NULL, body bytea NOT NULL,
    at float8 NOT NULL, PRIMARY KEY (place, bot));
ALTER TABLE {0}.{1} ALTER body SET STORAGE EXTERNAL;
ALTER TABLE {0}.{1} SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0);
"""
_CREATE: Final = f"""
CREATE TABLE {{0}}.meta (name text PRIMARY KEY, value text NOT NULL);
INSERT INTO {{0}}.meta VALUES ('format', '{FORMAT}');
CREATE UNLOGGED TABLE {{0}}.canary (one int PRIMARY KEY DEFAULT 1 CHECK (one = 1), nonce bigint NOT NULL);
CREATE TABLE {{0}}.bot (id bigint PRIMARY KEY, owner bigint, epoch bigint NOT NULL DEFAULT 0,
    until timestamptz NOT NULL DEFAULT '-infinity', beat bigint NOT NULL DEFAULT 0, holder text NOT NULL DEFAULT '')
    WITH (fillfactor = 50);
CREATE TABLE {{0}}.mark (bot bigint, kind text, value bigint NOT NULL, PRIMARY KEY (bot, kind)) WITH (fillfactor = 50);
{_QUEUE.format("{0}", "inbox")}{_QUEUE.format("{0}", "outbox")}
CREATE TABLE {{0}}.state (bot bigint, key text, scope text, state bytea NOT NULL, PRIMARY KEY (key, scope, bot))
    WITH (fillfactor = 80);
CREATE TABLE {{0}}.timer (place bigint, bot bigint, key text NOT NULL, scope text NOT NULL, name text NOT NULL,
    at float8 NOT NULL, body bytea NOT NULL, PRIMARY KEY (place, bot), UNIQUE (key, scope, name, bot));
CREATE INDEX timer_at ON {{0}}.timer ((bot + 0), at, place);
CREATE TABLE {{0}}.parked (bot bigint, queue text, key text, attempts int NOT NULL, until float8 NOT NULL,
    reason text NOT NULL, delay_s float8 NOT NULL, place bigint NOT NULL, PRIMARY KEY (key, queue, bot));
CREATE TABLE {{0}}.dead (number bigint, bot bigint, queue text NOT NULL, id bigint NOT NULL, key text NOT NULL,
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
    known = await connection.fetchval(f"SELECT value FROM {schema}.meta WHERE name = 'format'")
    if known != str(FORMAT):
        raise StoreError(
            f"{address.name} comes from another Chatlane (format {known}, this one knows {FORMAT}): "
            "update Chatlane, or use another schema"
        )
