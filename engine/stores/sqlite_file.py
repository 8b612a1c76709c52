"""One SQLite file as a store keeps it: opening, the lock, the schema, and reading it back at start."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from engine.errors import StoreError, StoreUnavailable
from engine.lanes import ParkedLane

Connect = Callable[[Path], sqlite3.Connection]
Renew = Callable[[Path], None]

APPLICATION_ID: Final = 0x43484C4E  # "CHLN"
VERSION: Final = 4
_TIMER: Final = """
CREATE TABLE timer  (place INTEGER PRIMARY KEY, key TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL,
    at REAL NOT NULL, body BLOB NOT NULL, UNIQUE (key, scope, name));
CREATE INDEX timer_at ON timer (at, place);
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
}
"""What makes of a version the next one."""

# inbox and outbox are logs: rows come at the end and go at the beginning, and there is no index per chat. With
# 100,000 updates pending that writes 2 KB an update; an index by chat writes 10 KB, clustering by chat 29 KB.
_SCHEMA: Final = f"""
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
{_TIMER}"""


class StoreFile:
    """An owned, opened file. Every method but `open` and `close` is for one thread at a time.

    `owner_epoch` grows with each opening; it is part of every fence, so that no lease outlives its process.
    """

    def __init__(self, path: Path, bot: str, connect: Connect, renew: Renew) -> None:
        self.path = path
        self._connect = connect
        self._renew = renew
        self._log = path.with_name(path.name + "-wal")
        self._bot = bot
        self._lock = _lock(path)
        try:
            renew(self._log)  # whoever had it before may have left it after a failed sync
            self.connection, self.owner_epoch = self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def reopen(self) -> None:
        """Open the file anew after an error that leaves its contents in doubt; StoreUnavailable if it fails."""
        try:
            self._renew(self._log)  # before the closing, which folds it into the file
            self.connection.close()
            self.connection, self.owner_epoch = self._open()
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"cannot reopen {self.path}: {error}") from None

    def close(self) -> None:
        """Let the file go; SQLite folds the log into it, or leaves it for the next start if it cannot."""
        try:
            self.connection.close()
        finally:
            os.close(self._lock)

    def pending(self, queue: str) -> Iterator[tuple[int, str]]:
        """Yield (place, key) of all that is pending, in order."""
        yield from self.connection.execute(f"SELECT place, key FROM {queue} ORDER BY place")

    def parked(self, queue: str, now: float) -> list[ParkedLane]:
        """Return the lanes that were parked or had failed; `now` is Unix time.

        A clock that was set back meanwhile must not keep a lane parked for hours: the delay is the most it can be.
        """
        query = "SELECT key, place, min(max(0.0, until - ?), delay_s), attempts, reason FROM parked WHERE queue = ?"
        return [ParkedLane(*row) for row in self.connection.execute(query, (now, queue))]

    def seen(self) -> Iterator[tuple[int, bytes, float]]:
        """Yield the segments of ids appended before: (number, bits, when touched)."""
        yield from self.connection.execute("SELECT segment, bits, touched FROM seen")

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Yield the names that lead to another lane: (name, the lane's key)."""
        yield from self.connection.execute("SELECT name, key FROM alias")

    def _open(self) -> tuple[sqlite3.Connection, int]:
        connection = self._connect(self.path)
        try:
            self._check_identity(connection)
            connection.execute("SELECT value FROM json_each('[1]')")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA wal_autocheckpoint=0")  # the writer does it, and looks at the outcome
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                _create(connection, self._bot)
            for old in range(version or VERSION, VERSION):
                _execute_all(connection, _MIGRATIONS[old])
            connection.execute(f"PRAGMA user_version = {VERSION}")
            epoch = (
                int(connection.execute("SELECT value FROM meta WHERE name = 'owner_epoch'").fetchone()[0]) + 1
            )
            connection.execute("UPDATE meta SET value = ? WHERE name = 'owner_epoch'", (epoch,))
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection, epoch

    def _check_identity(self, connection: sqlite3.Connection) -> None:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            return  # a new file
        if application_id != APPLICATION_ID:
            raise StoreError(f"{self.path} is another program's database: set STORE_URL to a different file")
        if version > VERSION:
            raise StoreError(
                f"{self.path} comes from a newer Chatlane (format {version}, this one knows {VERSION}): "
                "update Chatlane, or set STORE_URL to a different file"
            )
        (bot,) = connection.execute("SELECT value FROM meta WHERE name = 'bot'").fetchone()
        if bot != self._bot:
            raise StoreError(
                f"{self.path} belongs to bot {bot}, not to bot {self._bot}: set STORE_URL to a different file"
            )


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection that leaves transactions to us, for whichever thread."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def renew(log: Path) -> None:
    """Write SQLite's log over itself and sync it, if there is one; OSError if that fails.

    After a failed sync Linux takes what it has cached for written ("fsyncgate"). SQLite would read such a log back
    and write behind it, and with the next power cut everything behind the hole would be gone.
    """
    try:
        fd = os.open(log, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        offset = 0
        while piece := os.pread(fd, 1 << 20, offset):
            offset += os.pwrite(fd, piece, offset)
        os.fsync(fd)
    finally:
        os.close(fd)


def open_file(path: Path, bot: str, connect: Connect, renew: Renew) -> StoreFile:
    """Open or create the file; StoreError says in one line what a person has to do."""
    if not path.parent.is_dir():
        raise StoreError(f"the folder {path.parent} does not exist: create it, or change STORE_URL")
    try:
        return StoreFile(path, bot, connect, renew)
    except sqlite3.Error as error:
        hint = (
            f" (this Python's SQLite is {sqlite3.sqlite_version}, 3.38 is needed)"
            if "json_each" in str(error)
            else ""
        )
        raise StoreError(f"cannot open {path}: {error}{hint}") from None
    except OSError as error:
        raise StoreError(f"cannot open {path}: {error.strerror}") from None


def _create(connection: sqlite3.Connection, bot: str) -> None:
    _execute_all(connection, _SCHEMA)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    rows = [("bot", bot), ("owner_epoch", 0), ("created_at", time.time())]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)


def _execute_all(connection: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";\n"):
        connection.execute(statement)


def _lock(path: Path) -> int:
    """Lock the file for the life of this process: the lease of the whole store. The kernel lets go at its death."""
    lock_path = path.with_name(path.name + "-lock")
    fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise StoreError(
            f"{path} is in use by process {owner}: stop it, or set STORE_URL to a different file"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd
