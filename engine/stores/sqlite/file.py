"""The SQLite file of a store: opening it, its lock, its schema, and reading it at start."""

import os
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.embedded.lane import ParkedLane
from engine.errors import StoreError, StoreUnavailable
from engine.stores.moving import moved
from engine.stores.owned.group import Row
from engine.stores.owned.ids import Count, HighWater, Ids, Kind
from engine.stores.owned.ledger import Granted, damaged
from engine.stores.owned.reads import Read
from engine.stores.sqlite.check import check_contents
from engine.stores.sqlite.disk import (
    Connect,
    Look,
    Renew,
    Watch,
    check_kinds,
    lock,
    make_database,
    make_private,
    resolved,
)
from engine.stores.sqlite.disk import connect as connect  # noqa: PLC0414 - their former place
from engine.stores.sqlite.disk import look as look_at
from engine.stores.sqlite.disk import renew as renew  # noqa: PLC0414
from engine.stores.sqlite.errors import at_opening, is_full, translated
from engine.stores.sqlite.queries import QUERIES
from engine.stores.sqlite.running import RunningFile
from engine.stores.sqlite.schema import APPLICATION_ID, VERSION, create, migrate
from engine.stores.sqlite.space import Allocate, Reserve, Space


class StoreFile:
    """A file owned by this process. All methods are called on one thread.

    `owner_epoch` grows with each opening; it is part of every fence, so that no lease outlives its process. After `open`,
    `reopen` accepts the same file only: the file names its owner by a random text, new in each process.
    """

    shares: Collection[int] | None = None  # one session has all lanes
    granted: Granted | None = None

    def __init__(
        self, path: Path, bot: str, connect: Connect, renew: Renew, look: Look, allocate: Allocate
    ) -> None:
        self.path = resolved(path)  # SQLite puts the WAL beside the resolved path
        self._given = path
        self.connection: sqlite3.Connection
        self.owner_epoch = -1
        self.watch = Watch(self.path, self._beside("-wal"), look)
        self.reserve = Reserve(self._beside("-reserve"))
        self._space = Space(self.path, self._log, self.watch, allocate)
        self._page_bytes = 0
        self._connect = connect
        self._renew = renew
        self._look = look
        self._bot = bot
        self._owner = secrets.token_hex(16)
        self.running = RunningFile(self._beside("-running"), _stamp(self._owner))
        self._lock: int | None = None
        self._is_open = False
        self.may_be_moved = False  # open it also if its work was copied to another store

    def open(self) -> None:
        """Lock and open the file, created if missing; StoreError says in one line what a person has to do."""
        try:
            if not self._given.parent.is_dir():
                raise StoreError(
                    f"the folder {self._given.parent} does not exist: create it, or change STORE_URL"
                )
            endings = ("-lock", "-shm", "-journal")  # the last is looked for by SQLite at each start
            check_kinds(self._given, self._log, *map(self._beside, endings))
            self._lock = lock(self._beside("-lock"), self._given)
            self.running.open()
            make_database(self._given)
            for ending in (
                "-wal",
                "-shm",
                "-reserve",
            ):  # left by an earlier process; new ones get the mode of the file
                make_private(self._beside(ending))
            self._renew(self._log)  # an earlier process may have left it after a failed sync
            self._open_with_room(self._check_identity)
        except (StoreError, StoreUnavailable):
            raise
        except Exception as error:  # noqa: BLE001 - whatever reading a damaged file may raise
            raise at_opening(self._given, error) from None
        self._take_space()

    def reopen(self) -> None:
        """Open the file again after an error that leaves its contents in doubt.

        StoreUnavailable if that fails now; StoreError if it is another file than before. While a deleted file is missing
        the connection stays open: SQLite's open files are then the only copy.
        """
        try:
            self._find_again()
            if self._is_open and not self.watch.has_log():
                self._fold_lost_log()
            else:
                self._renew(self._log)  # before closing, which checkpoints it
            self._let_go()
            self._open_with_room(self._check_owner)
        except (sqlite3.Error, OSError) as error:
            known, _ = translated(error)
            if isinstance(known, StoreError):
                raise known from None
            raise StoreUnavailable(f"cannot reopen {self.path}: {error}") from None
        self._take_space()

    def close(self) -> None:
        """Close the file; SQLite checkpoints the WAL, or leaves it for the next start if it cannot."""
        try:
            self._let_go()
        finally:
            self.running.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def look(self) -> None:
        """Check that the file is there and writable, also while nothing is written; StoreUnavailable or StoreError."""
        self.watch.check()
        if not os.access(self.path, os.W_OK):  # also on a file system mounted read-only
            raise StoreUnavailable(f"the store's file {self.path} cannot be written (any more)")
        self._keep_locked()

    def commit(self, connection: sqlite3.Connection) -> None:
        """Commit the open transaction, which can be checkpointed then whatever happens to the disk; OSError if it is full."""
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        self._space.claim(pages * self._page_bytes)
        connection.execute("COMMIT")

    def fold_log(self) -> bool:
        """Checkpoint the WAL into the database; return whether all of it is there, so that the WAL can start over."""
        try:
            busy, frames, folded = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            self.watch.written()
        return not busy and frames == folded

    def pending(self, queue: str) -> Iterator[tuple[int, str]]:
        """Yield (place, key) of all pending rows, in order. StoreError if places do not increase (a duplicated page)."""
        last = -(2**63) - 1
        for place, key in self.connection.execute(f"SELECT place, key FROM {queue} ORDER BY place"):
            if place <= last:
                raise StoreError(damaged(f"the table {queue} has no order"))
            last = place
            yield place, key

    def parked(self, queue: str, now: float) -> list[ParkedLane]:
        """Return the lanes that were parked or had failed; `now` is Unix time.

        The remaining delay is at most the original one: a clock that was set back must not keep a lane parked for hours.
        """
        query = "SELECT key, place, min(max(0.0, until - ?), delay_s), attempts, reason FROM parked WHERE queue = ?"
        return [ParkedLane(*row) for row in self.connection.execute(query, (now, queue))]

    def seen(self) -> Iterator[tuple[int, bytes, float]]:
        """Yield the segments of ids appended before: (number, bits, Unix time of the last use)."""
        yield from self.connection.execute("SELECT segment, bits, touched FROM seen")

    def states(self) -> int:
        """Return the number of conversation states."""
        return int(self.connection.execute("SELECT count(*) FROM state").fetchone()[0])

    def aliases(self) -> Iterator[tuple[str, str]]:
        """Yield the aliases: (name, key of the lane)."""
        yield from self.connection.execute("SELECT name, key FROM alias")

    def dead(self) -> Iterator[tuple[int, str, str]]:
        """Yield (number, queue, key) of the dead letters, oldest first."""
        yield from self.connection.execute("SELECT number, queue, key FROM dead ORDER BY number")

    def ids(self, kind: Kind) -> Ids:
        """See Source. The numbers of dead letters are SQLite's own (AUTOINCREMENT), without reservation."""
        if kind != "letters":
            return HighWater(kind, int(_meta(self.connection, kind)))
        row = self.connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'dead'").fetchone()
        return Count(0 if row is None else int(row[0]))

    def rows(self, what: Read, values: Row) -> Iterator[Row]:
        """Yield the rows of the answer."""
        yield from self.connection.execute(QUERIES[what], values)

    @property
    def _log(self) -> Path:
        return self._beside("-wal")

    def _beside(self, ending: str) -> Path:
        return self.path.with_name(self.path.name + ending)

    def _take_space(self) -> None:
        self._space.claim_log()
        self.reserve.keep()

    def _open(self, check: Callable[[sqlite3.Connection], None]) -> None:
        connection = self._connect(self.path)
        try:
            self._space.open()
            check(connection)
            (self._page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute("SELECT value FROM json_each('[1]')")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA wal_autocheckpoint=0")  # the writer does it, and checks the outcome
            self._fold_old_log(connection)
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                create(connection, self._bot)
            else:
                migrate(connection, version)
            if self.owner_epoch < 0:
                check_contents(connection, self._given)
            epoch = int(_meta(connection, "owner_epoch")) + 1
            if self.owner_epoch < 0:  # the first opening of this process
                self.running.count_deaths(connection, _stamp(_meta(connection, "owner")))
            connection.execute("UPDATE meta SET value = ? WHERE name = 'owner_epoch'", (epoch,))
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('owner', ?)", (self._owner,))
            if not self.watch.opened():  # switching to WAL can fail without an error
                raise StoreUnavailable(
                    f"SQLite keeps no log (WAL) beside {self.path}: is it on a local disk?"
                )
            self.commit(connection)
        except BaseException:
            connection.close()
            self._space.close()
            self.watch.written()
            raise
        self.connection, self.owner_epoch, self._is_open = connection, epoch, True

    def _open_with_room(self, check: Callable[[sqlite3.Connection], None]) -> None:
        try:
            self._open(check)
        except (sqlite3.Error, OSError):
            if not self.reserve.give_up():
                raise
            self._open(check)

    def _let_go(self) -> None:
        """Close the connection. SQLite then deletes the WAL by path, so another program's file there is moved aside."""
        if not self._is_open:
            return
        self._is_open = False
        aside = self._beside("-wal-aside")
        is_foreign = self.watch.has_foreign_log()
        if is_foreign:
            with suppress(OSError):
                self._log.rename(aside)
        try:
            self.connection.close()
        finally:
            self._space.close()
            self.watch.written()
            if is_foreign:
                with suppress(OSError):
                    aside.rename(self._log)

    def _fold_old_log(self, connection: sqlite3.Connection) -> None:
        """Checkpoint the WAL that a killed process left: without this it would grow with each process."""
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            if not is_full(error) or self.reserve.size:
                raise  # `_open_with_room` tries again without the reserve

    def _find_again(self) -> None:
        seen = self._look(self.path)
        if seen is None:
            raise StoreUnavailable(
                f"the store's file {self.path} is gone (deleted, renamed or unmounted): put it back"
            )
        with suppress(StoreUnavailable):  # WAL missing or mounted again: the contents decide
            self.watch.check()

    def _fold_lost_log(self) -> None:
        """Checkpoint a deleted WAL, which SQLite still has open; StoreUnavailable if not all of it could be."""
        busy, frames, folded = self.connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        self.watch.written()
        if busy or frames != folded:
            raise StoreUnavailable(f"the log of {self.path} was deleted, and another program reads the file")

    def _keep_locked(self) -> None:
        """Lock again if the lock file was deleted or replaced: else another process could lock a new one."""
        if self._lock is None:
            return
        path = self._beside("-lock")
        seen, mine = look_at(path), os.fstat(self._lock)
        if seen is None or seen[:2] != (mine.st_dev, mine.st_ino):
            locked = lock(path, self.path)
            os.close(self._lock)
            self._lock = locked

    def _check_owner(self, connection: sqlite3.Connection) -> None:
        """Raise StoreError unless this is the file that this process has opened before."""
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()
        owner, epoch = (
            (_meta(connection, "owner"), int(_meta(connection, "owner_epoch")))
            if tables == (1,)
            else (None, 0)
        )
        if owner == self._owner and epoch >= self.owner_epoch:
            return
        if epoch > self.owner_epoch:
            raise StoreError("another process has opened the store's file: only one may own it")
        raise StoreError(
            f"the store's file {self.path} was replaced while the bot ran, by another one or an older copy"
        )

    def _check_identity(self, connection: sqlite3.Connection) -> None:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0 and connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            return  # a new file
        if application_id != APPLICATION_ID:
            raise StoreError(
                f"{self._given} is another program's database: set STORE_URL to a different file"
            )
        if version > VERSION:
            raise StoreError(
                f"{self._given} comes from a newer Chatlane (format {version}, this one knows {VERSION}): "
                "update Chatlane, or set STORE_URL to a different file"
            )
        if version <= 0:
            raise StoreError(f"cannot open {self._given}: {damaged(f'format {version}')}")
        bot = _meta(connection, "bot")
        if bot != self._bot:
            raise StoreError(
                f"{self._given} belongs to bot {bot!s:.40}, not to bot {self._bot}: set STORE_URL to a different file"
            )
        if (to := _meta(connection, "moved")) is not None and not self.may_be_moved:
            raise StoreError(moved(str(self._given), to))


def _meta(connection: sqlite3.Connection, name: str) -> Any:
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def _stamp(owner: str | None) -> int:
    """Return the stamp in the notes of the process with this owner name; 0 for none."""
    try:
        return int(owner[:16], 16) if owner else 0
    except (TypeError, ValueError):  # a file edited by hand
        return 0
