"""The tables of a PostgreSQL store.

Each row has the id of its bot: several bots may share a schema. No index begins with it: with the bot first, and
statistics from a moment when the table was empty, the planner walks all rows of the bot to find one
(tests/stores/test_postgres_plans.py). The index for the order of the timers has `bot + 0`, so that only the question for it
uses it.
"""

from typing import Final

import asyncpg

from engine.errors import StoreError
from engine.stores.owned.shares import share_of
from engine.stores.postgres.address import Address
from engine.stores.postgres.connection import Connection

FORMAT: Final = 2
OLDEST_READER: Final = 2
"""Versions that know this format, or a later one, may use the tables as this version leaves them."""

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
INSERT INTO {{0}}.meta VALUES ('format', '{FORMAT}'), ('oldest_reader', '{OLDEST_READER}');
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
DESK: Final = """
CREATE TABLE IF NOT EXISTS {0}.desk (process text, bot bigint, seen timestamptz NOT NULL, PRIMARY KEY (process, bot));
CREATE TABLE IF NOT EXISTS {0}.asked (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, bot bigint NOT NULL,
    process text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(), name text NOT NULL, params text NOT NULL,
    who text NOT NULL);
CREATE TABLE IF NOT EXISTS {0}.answered (n bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    status int NOT NULL, body text NOT NULL);
"""
"""What operators ask (desk.py). Created when it is used first, if the role may."""

JOURNAL: Final = """
CREATE TABLE IF NOT EXISTS {0}.journal (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, bot bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(), line text NOT NULL);
"""
"""The audit log (journal.py), in the same way."""

OPERATORS: Final = DESK + JOURNAL
_GRANT: Final = """
GRANT USAGE ON SCHEMA {0} TO {1};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {0} TO {1};
GRANT SELECT ON ALL SEQUENCES IN SCHEMA {0} TO {1};
ALTER DEFAULT PRIVILEGES IN SCHEMA {0} GRANT SELECT ON SEQUENCES TO {1};
ALTER DEFAULT PRIVILEGES IN SCHEMA {0} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {1};
"""
# Not to_regclass: it raises for a schema that the role may not use.
_HAS_SCHEMA: Final = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = trim('\"' FROM $1))"
_IS_THERE: Final = """
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = trim('"' FROM $1) AND c.relname = 'meta')"""
_META: Final = "SELECT value FROM {0}.meta WHERE name = $1"


async def prepare(connection: Connection, address: Address) -> None:
    """Create or migrate the tables if this role may; StoreError if this is no database for this version."""
    await _check_server(connection, address)
    try:
        known = await _known_format(connection, address.schema)
        if known is None or known < FORMAT:
            async with connection.transaction():
                await _create_or_migrate(connection, address)
            known = await _known_format(connection, address.schema)
    except asyncpg.InsufficientPrivilegeError:
        role = await connection.fetchval("SELECT quote_ident(current_user)")
        raise StoreError(
            f"{address.name}: the role {role} may not make or change the tables there: run once, with the STORE_URL of "
            f"a role that may: migrate-schema --for {role}"
        ) from None
    await _check_format(connection, address, known)


async def migrate(connection: Connection, address: Address, role: str | None) -> int:
    """Create or migrate all tables, and let `role` read and write them; return the format. StoreError.

    One transaction: whoever is killed in between leaves what was there, and of two the second finds it done.
    """
    await _check_server(connection, address)
    schema = address.schema
    async with connection.transaction():
        await _create_or_migrate(connection, address)
        await connection.execute(OPERATORS.format(schema))
        if role is not None:
            to = await connection.fetchval("SELECT quote_ident($1)", role)
            await connection.execute(_GRANT.format(schema, to))
    known = await _known_format(connection, schema)
    await _check_format(connection, address, known)
    return known or FORMAT


async def _check_server(connection: Connection, address: Address) -> None:
    if int(await connection.fetchval("SHOW server_version_num")) < VERSION_MIN:
        raise StoreError(f"{address.name} is too old: PostgreSQL 14 is needed")
    if (encoding := await connection.fetchval("SHOW server_encoding")) != "UTF8":
        raise StoreError(f"{address.name} has the encoding {encoding}: create the database with UTF8")


async def _create_or_migrate(connection: Connection, address: Address) -> None:
    """Do it in the open transaction, one process after another."""
    schema = address.schema
    await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
    known = await _known_format(connection, schema)
    if known is None:
        if not await connection.fetchval(_HAS_SCHEMA, schema):
            await connection.execute(f"CREATE SCHEMA {schema}")
        await connection.execute(_CREATE.format(schema))
    elif known == 1:
        await _from_format_1(connection, address)


async def _known_format(connection: Connection, schema: str) -> int | None:
    """Return the format of the tables; None: there are none, or 0: it is unknown."""
    if not await connection.fetchval(_IS_THERE, schema):
        return None
    value = str(await connection.fetchval(_META.format(schema), "format"))
    return int(value) if value.isdecimal() else 0


async def _check_format(connection: Connection, address: Address, known: int | None) -> None:
    """Raise StoreError unless this version may use tables of this format: a newer one names the oldest reader."""
    oldest = str(await connection.fetchval(_META.format(address.schema), "oldest_reader"))
    oldest_reader = int(oldest) if oldest.isdecimal() else known
    if known != FORMAT and not (known and known > FORMAT and oldest_reader and oldest_reader <= FORMAT):
        raise StoreError(
            f"{address.name} comes from another Chatlane (format {known}, this one knows {FORMAT}): "
            "update Chatlane, or use another schema"
        )


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
    oldest = f"INSERT INTO {schema}.meta VALUES ('oldest_reader', '{OLDEST_READER}')"
    await connection.execute(f"{oldest} ON CONFLICT (name) DO UPDATE SET value = excluded.value")
