"""The tables of a SQLite store, and the migrations from older formats."""

import sqlite3
import time
from typing import Final

from engine.model import TIMER_IDS
from engine.store import ID_MASK

APPLICATION_ID: Final = 0x43484C4E  # "CHLN"
VERSION: Final = 5
_TIMER: Final = """
CREATE TABLE timer  (place INTEGER PRIMARY KEY, key TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL,
    at REAL NOT NULL, body BLOB NOT NULL, UNIQUE (key, scope, name));
CREATE INDEX timer_at ON timer (at, place);
"""
# Ids of calls and numbers of timers continue from a high-water mark (ids.py). Older formats have none: there it is the
# highest id that is still in the file, pending or dead.
_IDS: Final = f"""
CREATE INDEX dead_key ON dead (key, number);
INSERT INTO meta SELECT 'calls', max(
    (SELECT coalesce(max(place & {ID_MASK}), 0) FROM outbox),
    (SELECT coalesce(max(id), 0) FROM dead WHERE queue = 'outbox'));
INSERT INTO meta SELECT 'timers', max(
    (SELECT coalesce(max(place & {TIMER_IDS - 1}), 0) FROM timer),
    (SELECT coalesce(max(id & {TIMER_IDS - 1}), 0) FROM dead WHERE id >= {TIMER_IDS}));
"""
_MIGRATIONS: Final = {
    1: "ALTER TABLE parked ADD COLUMN delay_s REAL NOT NULL DEFAULT 300",
    2: "CREATE TABLE alias (name TEXT PRIMARY KEY, key TEXT NOT NULL) WITHOUT ROWID",
    3: f"""
ALTER TABLE inbox ADD COLUMN at REAL NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN at REAL NOT NULL DEFAULT 0;
ALTER TABLE parked ADD COLUMN place INTEGER NOT NULL DEFAULT -1;
UPDATE parked SET place = head FROM (SELECT key, min(place) AS head FROM inbox GROUP BY key) AS first
    WHERE queue = 'inbox' AND parked.key = first.key;
UPDATE parked SET place = head FROM (SELECT key, min(place) AS head FROM outbox GROUP BY key) AS first
    WHERE queue = 'outbox' AND parked.key = first.key;
{_TIMER}""",
    4: _IDS,
}
"""The statements that migrate from this version to the next."""

# inbox and outbox are logs: rows are added at the end and deleted near the beginning, and there is no index per chat.
# With 100,000 updates pending that writes 2 KB an update; an index by chat writes 10 KB, clustering by chat 29 KB.
SCHEMA: Final = f"""
CREATE TABLE meta   (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE inbox  (place INTEGER PRIMARY KEY, key TEXT NOT NULL, scope TEXT NOT NULL, body BLOB NOT NULL,
    at REAL NOT NULL);
CREATE TABLE outbox (place INTEGER PRIMARY KEY, key TEXT NOT NULL, scope TEXT NOT NULL, body BLOB NOT NULL,
    at REAL NOT NULL);
CREATE TABLE state  (key TEXT NOT NULL, scope TEXT NOT NULL, state BLOB NOT NULL, PRIMARY KEY (key, scope))
    WITHOUT ROWID;
CREATE TABLE parked (queue TEXT NOT NULL, key TEXT NOT NULL, attempts INTEGER NOT NULL, until REAL NOT NULL,
    reason TEXT NOT NULL, delay_s REAL NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (queue, key)) WITHOUT ROWID;
CREATE TABLE dead   (number INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id INTEGER NOT NULL,
    key TEXT NOT NULL, scope TEXT NOT NULL, body BLOB NOT NULL, attempts INTEGER NOT NULL, reason TEXT NOT NULL,
    at REAL NOT NULL);
CREATE TABLE seen   (segment INTEGER PRIMARY KEY, bits BLOB NOT NULL, touched REAL NOT NULL);
CREATE TABLE alias  (name TEXT PRIMARY KEY, key TEXT NOT NULL) WITHOUT ROWID;
{_TIMER}{_IDS}"""


def create(connection: sqlite3.Connection, bot: str) -> None:
    """Create the tables of an empty file, for one bot."""
    execute_all(connection, SCHEMA)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    rows = [("bot", bot), ("owner_epoch", 0), ("created_at", time.time())]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Migrate a file of an older version to this one."""
    for old in range(version, VERSION):
        execute_all(connection, _MIGRATIONS[old])
    connection.execute(f"PRAGMA user_version = {VERSION}")


def execute_all(connection: sqlite3.Connection, statements: str) -> None:
    """Execute statements one by one, in the open transaction."""
    for statement in statements.split(";\n"):
        connection.execute(statement)
