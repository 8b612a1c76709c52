"""The store's files in the file system: whether they are still there.

SQLite continues with a file that was deleted, replaced or unmounted while it has it open, and what it writes then is lost
with the process. So the store checks the paths: after each transaction with updates, before they count as stored, and once
a second.
"""

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from engine.errors import StoreError, StoreUnavailable

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

_DATABASE_BYTES_MIN: Final = 512  # SQLite, "Database File Format": the smallest page
_PRIVATE: Final = 0o600  # who can read the file can read what people write to the bot


class Seen(NamedTuple):
    """The file at a path: device and inode numbers, size in bytes, and time of the last write."""

    device: int
    inode: int
    size: int
    written_ns: int


def resolved(path: Path) -> Path:
    """Return the path with symbolic links resolved; StoreError if they form a loop."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(f"cannot open {path}: {error}") from None


def open_private(path: Path) -> int:
    """Open a file for reading and writing, created if missing; make it readable by its owner only. Return the descriptor."""
    if fcntl is None:
        raise StoreError("sqlite:FILE needs Linux or macOS; on Windows use WSL")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, _PRIVATE)
    with suppress(OSError):  # another user's file, or a file system without modes
        if stat.S_IMODE(os.fstat(fd).st_mode) & ~_PRIVATE:
            os.fchmod(fd, _PRIVATE)
    return fd


def make_database(path: Path) -> None:
    """Create the file if missing. StoreError for a file too short for a database, which SQLite would treat as empty."""
    fd = open_private(path)
    try:
        if 0 < os.fstat(fd).st_size < _DATABASE_BYTES_MIN:
            raise StoreError(
                f"cannot open {path}: the file is too short, it is not a database: it is damaged"
            )
    finally:
        os.close(fd)


def make_private(path: Path) -> None:
    """Make a file readable by its owner only, if it exists."""
    with suppress(OSError):
        if stat.S_IMODE(path.stat().st_mode) & ~_PRIVATE:
            path.chmod(_PRIVATE)


def check_kinds(*paths: Path) -> None:
    """Raise StoreError for a path to anything but a regular file: opening a pipe or a device may block for ever."""
    for path in paths:
        with suppress(FileNotFoundError):
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
                raise StoreError(f"cannot open {path}: it is {kind}: set STORE_URL to a file")


Connect = Callable[[Path], sqlite3.Connection]
Renew = Callable[[Path], None]
Look = Callable[[Path], Seen | None]
"""Returns the file at a path, None if there is none; OSError if that cannot be determined."""


def look(path: Path) -> Seen | None:
    """Return the file at a path, by `stat`."""
    try:
        status = os.stat(path)  # noqa: PTH116 - faster, and called for every append
    except FileNotFoundError:
        return None
    return Seen(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Watch:
    """The database and its WAL, as they were when SQLite opened them or the store last wrote to the database."""

    def __init__(self, path: Path, log: Path, look: Look) -> None:
        self._path = path
        self._log = log
        self._look = look
        self._database: Seen | None = None
        self._log_inode: tuple[int, int] | None = None

    def log_bytes(self) -> int:
        """Return the size of the WAL on the disk, in bytes."""
        seen = self._look(self._log)
        return 0 if seen is None else seen.size

    def database_bytes(self) -> int | None:
        """Return the recorded size of the database file, in bytes; None if it could not be determined."""
        return None if self._database is None else self._database.size

    def opened(self) -> bool:
        """Record what SQLite has opened; return False if there is no WAL, or that cannot be determined."""
        self._database = self._log_inode = None
        with suppress(OSError):
            log = self._look(self._log)
            self._log_inode = None if log is None else log[:2]
        self.written()
        return self._log_inode is not None

    def written(self) -> None:
        """Record the database file after the store itself has written to it: a checkpoint, or more space.

        A file that has replaced it meanwhile is not recorded, so that the next check finds it.
        """
        was, self._database = self._database, None  # if `look` fails now, the next check raises
        with suppress(OSError):
            seen = self._look(self._path)
            self._database = was if was is not None and seen is not None and seen[:2] != was[:2] else seen

    def has_foreign_log(self) -> bool:
        """Return whether the file at the WAL's path is not the one that SQLite has opened; False if undetermined."""
        with suppress(OSError):
            log = self._look(self._log)
            return log is not None and log[:2] != self._log_inode
        return False

    def has_log(self) -> bool:
        """Return whether the file at the WAL's path is still the one that SQLite has opened."""
        log = self._look(self._log)
        return log is not None and log[:2] == self._log_inode

    def check(self) -> int:
        """Return the size of the WAL in bytes, if both files are unchanged.

        StoreUnavailable for a database or WAL that is gone, StoreError for a database that was replaced or overwritten.
        """
        was = self._database
        if was is None:
            raise StoreUnavailable(f"the store's file {self._path} could not be looked at")
        if (seen := self._look(self._path)) is None:
            raise StoreUnavailable(
                f"the store's file {self._path} is gone (deleted, renamed or unmounted): put it back"
            )
        if seen != was:
            self._explain(was, seen)
        log = self._look(self._log)
        if log is None or log[:2] != self._log_inode:
            raise StoreUnavailable(f"{self._log}, which belongs to the store's file, was deleted or replaced")
        return log.size

    def _explain(self, was: Seen, seen: Seen) -> None:
        if seen.inode != was.inode:
            raise StoreError(
                f"the store's file {self._path} was replaced while the bot ran: nothing is written to the new one; "
                "start the bot again to use it, or put the old one back first"
            )
        if seen.device != was.device:  # mounted again
            raise StoreUnavailable(f"the store's file {self._path} is on another device than before")
        raise StoreError(
            f"the store's file {self._path} was written by another program while the bot ran: if a backup was "
            "restored, restore it once more now that the bot has stopped"
        )


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection without implicit transactions, usable by any thread; it never creates a file."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )


def renew(log: Path) -> None:
    """Rewrite the WAL in place and sync it, if it exists; OSError if that fails.

    After a failed sync Linux marks the cached pages clean ("fsyncgate"). SQLite would read such a WAL from the cache and
    append to it, and with the next power cut everything after the lost pages would be gone.
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


def lock(lock_path: Path, path: Path) -> int:
    """Lock the store for the life of this process and return the descriptor; the kernel unlocks it at its death."""
    fd = open_private(lock_path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        raise StoreError(
            f"{path} is in use by process {owner}: stop it, or set STORE_URL to a different file"
        ) from None
    with suppress(OSError):  # e.g. a full disk: the lock holds all the same
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd
